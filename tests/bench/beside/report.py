"""report: doc/benchmarks.md and its plots, of the results as benchmarks.json has them."""
import statistics
import subprocess

from . import machine
from .servers import FLOOR, OURS, YARDSTICK

NOISE = 0.03  # a ratio nearer to 1 than this is not resolved
MISSING = 'not installed'


# What the counts above do not say by themselves. Each can be looked up at the place it names.
WHY_LOST = """\
What is behind the lost rows of the matrix, as far as it is known:

- A peer sends on what it has read out of one buffer of 64 KiB that all connections share. Ours reads into blocks, up to 272 KiB at
  once, and gives them back when they are sent: with large messages that is fewer calls, and four times as many bytes of cache.
- A peer only finds where frames end. Ours is a handler that is called for each, takes its frame and writes the answer: below 16 KiB
  that is a copy from input to output, and of a batch of them each costs its verbs.
- 256 connections of a poller keep their streams while nothing is to do (`CONN_IO_WARM`, lib/conn/conn_io.h); the others give them
  back, for memory's sake, and borrow one for each request: about 290 instructions more."""


def median(samples, key=None):
    return statistics.median(s[key] if key else s for s in samples)


def ratios(row, name, to, key=None):
    """Of neighbours in time, one for each round in which both answered."""
    mine, theirs = row['peers'].get(name, {}).get('samples', []), row['peers'].get(to, {}).get('samples', [])
    if key:
        mine, theirs = [s[key] for s in mine], [s[key] for s in theirs]
    return [a / b for a, b in zip(mine, theirs) if b]


def spread(numbers):
    return f'{statistics.median(numbers):.2f} [{min(numbers):.2f} .. {max(numbers):.2f}]' if numbers else ''


def best_peer(row, key=None):
    measured = {n: median(p['samples'], key) for n, p in row['peers'].items()
                if n not in (OURS, YARDSTICK, FLOOR) and p['samples'] and 'failed' not in p}
    return min(measured, key=measured.get) if measured else None


def verdict(row, key=None):
    """Ours beside the best of the peers: (text, 'ahead' | 'level' | 'lost' | None)."""
    best = best_peer(row, key)
    r = ratios(row, OURS, best, key) if best else []
    if not r:
        return '', None
    ratio = statistics.median(r)
    word = 'lost' if ratio > 1 + NOISE else 'ahead' if ratio < 1 - NOISE else 'level'
    return f'{ratio:.2f} of {best}, {"**lost**" if word == "lost" else word}', word


def tally(rows, name, key=None):
    """A sentence with every lost row named."""
    words = [(verdict(row, key), row) for row in rows if 'left_out' not in row]
    count = {w: sum(1 for v, _ in words if v[1] == w) for w in ('ahead', 'level', 'lost')}
    lost = [f'{name(row)} ({v[0].replace(", **lost**", "")})' for v, row in words if v[1] == 'lost']
    return (f'Ours beside the best peer of each row: ahead in {count["ahead"]}, level (within {NOISE:.0%}) in {count["level"]}, '
            f'lost in {count["lost"]}' + (': ' + '; '.join(lost) if lost else '') + '.')


def no_floor(names):
    return [n for n in names if n != FLOOR]


def table(head, lines):
    return '\n'.join(['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head), *('| ' + ' | '.join(cells) + ' |' for cells in lines)])


def cell(row, name, to):
    peer = row['peers'].get(name)
    if peer is None:
        return '' if name == FLOOR else MISSING
    if 'failed' in peer:
        return 'failed: ' + peer['failed'].replace('|', '/').replace('\n', ' ')[-60:]
    return spread(ratios(row, name, to))


def to_yardstick(rows, names, labels, digits):
    """The yardstick in its unit, all others as ratios to it."""
    lines = []
    for row in rows:
        label = [str(row[k]) for k in labels]
        if 'left_out' in row:
            lines.append(label + [f'left out: {row["left_out"]}'] + [''] * len(names))
            continue
        base = row['peers'].get(YARDSTICK, {}).get('samples')
        lines.append(label + [f'{median(base):.{digits}f}' if base else 'failed']
                     + [cell(row, n, YARDSTICK) for n in names if n != YARDSTICK] + [verdict(row)[0]])
    return lines


FLOOR_IS = '`floor` is a thread for each connection that blocks in read and write (tests/bench/peers/bare.c): {so}.'


def echo(part, names):
    label = lambda r: f'{r["conns"]} x {r["bytes"]} bytes, {r["depth"]} deep'
    head = ['connections', 'bytes', 'deep', 'lean, ns'] + [n for n in names if n != YARDSTICK] + ['ours beside the best peer']
    return (f'Framed echo; {part["unit"]}, `lean`\'s in ns, all others as ratios to it: median [least .. most] of the rounds, each '
            'of neighbours in time. Lower is better.\n' + FLOOR_IS.format(so='with one connection no library can beat it') + '\n'
            f'{tally(part["rows"], label)}\n\n![one deep](bench-echo-1.svg)\n![sixteen deep](bench-echo-16.svg)\n\n'
            + table(head, to_yardstick(part['rows'], names, ('conns', 'bytes', 'depth'), 0)))


def calls(part, names):
    names = no_floor(names)

    def shown(row, name):
        peer = row['peers'].get(name)
        if peer is None or not peer['samples']:
            return MISSING if peer is None else 'failed: ' + peer.get('failed', '')[-60:]
        return ' / '.join(f'{median(peer["samples"], k):.2f}' for k in ('reads', 'sends', 'memory', 'faults') if k in peer['samples'][0])

    lines = [[str(row[k]) for k in ('conns', 'bytes', 'depth')] + [shown(row, n) for n in names] for row in part['rows']]
    return ('Of rows of the matrix, by strace: reads / sends / calls for memory, for each request, and minor page faults behind them. They '
            'hardly depend on the machine\'s load.\n\n' + table(['connections', 'bytes', 'deep'] + names, lines) + '\n\n' + WHY_LOST)


def shakes(part, names):
    columns = ('waits', 'reads', 'sends', 'futex', 'memory', 'others', 'getpid', 'faults', 'switches')
    lines = []
    for row in part['rows']:
        for name, peer in row['peers'].items():
            shown = [f'{median(peer["samples"], k):.2f}' for k in columns] if peer['samples'] else [MISSING] * len(columns)
            lines.append([row['key'], f'TLS {row["version"]}', row['kind'], name] + shown)
    return ('With the connection and close_notify, `examples/http --tls` and nginx; by strace, page faults and voluntary switches without '
            'it. They hardly\ndepend on the machine\'s load. `getpid` is OpenSSL\'s look whether it was forked.\n\n'
            + table(['key', 'version', 'handshake', 'server'] + list(columns), lines))


def churn(part, names):
    names = no_floor(names)
    head = ['bytes', 'lean, ns'] + [n for n in names if n != YARDSTICK] + ['ours beside the best peer']
    return (f'Connect, one request, close; {part["unit"]}, as above.\n{tally(part["rows"], lambda r: "churn")}\n\n'
            + table(head, to_yardstick(part['rows'], names, ('bytes',), 0)))


def idle(part, names):
    names = no_floor(names)

    def shown(row, name):
        peer = row['peers'].get(name)
        if peer is None:
            return MISSING
        if 'left_out' in row:
            return f'left out: {row["left_out"]}'
        return f'{median(peer["samples"]):.0f}' if peer['samples'] else 'failed: ' + peer.get('failed', '')[-60:]

    lines = [[str(row['conns']), str(row['bytes'])] + [shown(row, n) for n in names] + [verdict(row)[0]] for row in part['rows']]
    return (f'{part["unit"].capitalize()} (anonymous memory of the process), after one request of so many bytes on each; '
            f'each server as it comes.\n{tally(part["rows"], lambda r: "%d bytes" % r["bytes"])}\n\n'
            + table(['connections', 'bytes'] + names + ['ours beside the best peer'], lines))


def latency(part, names):
    lines = []
    for row in part['rows']:
        for name in names:
            peer, label = row['peers'].get(name), [str(row['rate']), name]
            if peer is None and name == FLOOR:
                continue
            if peer is None or not peer['samples']:
                why = MISSING if peer is None else f'failed: {peer.get("failed", "")[-60:]}'
                lines.append(label + [why] + [''] * 4)
                continue
            us = [f'{median(peer["samples"], k) / 1000:.1f}' for k in ('p50', 'p99', 'p999', 'max', 'cpu')]
            lines.append(label + us)
    row = part['rows'][0]
    tallies = '\n'.join(f'At {word}: ' + tally(part['rows'], lambda r: '%d a second' % r['rate'], key)
                        for key, word in (('p50', 'the median'), ('p99', 'p99')))
    return (f'{row["conns"]} connections, {row["bytes"]} bytes: requests are sent on a schedule, whatever the answers do, and a '
            'latency counts from the moment at which\nthe request was due. Microseconds, medians of the rounds.\n'
            + FLOOR_IS.format(so='what it takes beyond its median is the machine\'s doing') + '\n'
            f'{tallies}\n\n![latency](bench-latency.svg)\n\n'
            + table(['requests/s', 'server', 'p50', 'p99', 'p99.9', 'worst', 'server CPU'], lines))


def tls(part, _):
    what, lines = {'-new': 'full handshake', '-reuse': 'resumption'}, []
    for row in part['rows']:
        us = [f'{median(row["peers"][n]["samples"]) / 1000:.1f}' if row['peers'][n]['samples'] else
              row['peers'][n].get('failed', MISSING)[-60:] for n in (OURS, 'nginx')]
        lines.append([row['key'], row['version'][1:].replace('_', '.').upper().replace('TLS', 'TLS '),
                      what.get(row['how'], f'file of {row["how"]}')] + us + [spread(ratios(row, OURS, 'nginx')), verdict(row)[0]])
    label = lambda r: f'{r["key"]}, {r["version"][1:]}, {r["how"].strip("-")}'
    return ('`examples/http --tls` and nginx: microseconds of server CPU for each handshake, by `openssl s_time`, and for each file, by '
            '`h2load --h1` with 20 connections; both keep files open.\ns_time does not wait for tickets, so there is no row for resumption of TLS 1.3.\n'
            f'{tally(part["rows"], label)}\n\n'
            + table(['key', 'version', 'what', 'ours', 'nginx', 'ours to nginx', ''], lines))


def linked(part, _):
    text = f'[{part["figures"]}]({part["figures"]})'
    if part['rows']:
        text += f': {part["rows"] - len(part["lost"])} of {part["rows"]} rows at 1.00 or better'
        text += '; lost: ' + ', '.join(part['lost']) if part['lost'] else ''
    return text + '.'


PARTS = { # in the order of the document: title, what writes it, how it is measured at length
    'echo': ('Echo', echo, '`make bench-echo`'),
    'calls': ('System calls of a request', calls, None),
    'churn': ('Short lives', churn, None),
    'idle': ('Idle connections', idle, '`make bench-idle`, with timeouts and after a burst; 100 000 of them: [scale-figures.md](scale-figures.md)'),
    'latency': ('Latency at a fixed rate', latency, None),
    'tls': ('TLS', tls, None),
    'shakes': ('System calls of a handshake', shakes, None),
    'http': ('HTTP beside nginx', linked, '`make bench-http`'),
    'kv': ('Redis\' protocol beside redis-server', linked, '`make bench-kv`'),
    'proxy': ('A proxy beside haproxy', linked, '`make bench-proxy`'),
    'handoff': ('Requests beside a handler that blocks', linked, '`make bench-handoff`'),
}


HOW = """\
Made by `make bench`; `BENCH=echo,churn` measures those parts anew. The peers are small programs over the libraries that Debian has
(tests/bench/peers, tests/bench/go) and servers as Debian has them; the yardstick, `lean`, is tests/bench/lean.c: epoll, read, write
and nothing else; ours is `examples/echo --framed`. They take turns in each round, each round from another one on. CPU is the run time
of all threads of a server by the kernel's scheduler statistics. The best peer of a row is chosen after the fact, so that noise speaks
against ours. Samples of all rounds: [benchmarks.json](benchmarks.json). As root it is a network namespace of its own, where TCP does
not pace what it sends (scripts/bench-net): with BBR's timers large messages are a measure of those."""


def described(m):
    have = ', '.join(f'{p} {v or MISSING}' for p, v in m['versions'].items())
    return (f'{m["kernel"]}, {m["cpus"]} CPUs ({m["cpu"]}{", under " + m["hypervisor"] if m["hypervisor"] else ""}), '
            f'{m["memory_mib"]} MiB. Servers have one thread, on CPU {m["server_cpu"]};\nclients are on CPU {m["client_cpu"]}; all of it '
            f'is loopback.\n{machine.floor_in_words(m.get("floor"), m.get("congestion", "not noted"))}\n\n{have}.')


def measured_at(part):
    """Of which commit a part is, and what the machine was then."""
    floor, text = part.get('floor'), part['date']
    text += f', commit {part["commit"]}' if part.get('commit') else ''
    text += f', {part["seconds"]:.0f} s; load average at its beginning {part["load"]:.1f}'
    text += f'; TCP: {part["congestion"]}' if part.get('congestion') else ''
    if floor:
        text += (f'; a wake-up of the other CPU {floor["wake_other_p50_ns"] / 1000:.1f} us, 64 bytes and back '
                 f'{floor["tcp_p50_ns"] / 1000:.1f} us (p99 {floor["tcp_p99_ns"] / 1000:.1f})')
    return text + '.'


def write(results, names, folder):
    m = results['machine']
    text = ['# Beside the peers', HOW, described(m)]
    for key, (title, form, longer) in PARTS.items():
        part = results['parts'].get(key)
        text.append(f'## {title}')
        if part is None:
            text.append(f'Not measured here{": " + longer if longer else ""}.')
            continue
        if 'failed' in part:
            text.append(f'Failed: {part["failed"]}')
        elif 'not_installed' in part:
            text.append(f'{MISSING.capitalize()}: {part["not_installed"]} (`scripts/deps --all`).')
        else:
            text.append(form(part, names))
        text.append(measured_at(part) + (f' At length: {longer}.' if longer else ''))
    with open(f'{folder}/benchmarks.md', 'w') as f:
        f.write('\n\n'.join(text) + '\n')


# ------------------------------------------------------------------ plots

HEAD = '''set terminal svg size 960,380 font "sans,11" background "white"
set output "{out}"
set title "{title}"
set style data histograms
set style fill solid 0.85 noborder
set key outside right top
set grid ytics
set ylabel "{ylabel}"
set logscale y {base}
set xtics rotate by -30
'''


def plot(out, title, ylabel, base, groups, series):
    """Bars: @series is {name: [a number or None for each of @groups]}."""
    series = {name: v for name, v in series.items() if any(x is not None for x in v)}
    rows = ['"{}" {}'.format(g, ' '.join('?' if v[i] is None else f'{v[i]:.4g}' for v in series.values()))
            for i, g in enumerate(groups)]
    bars = ', '.join(f'$d using {i + 2}:xtic(1) title "{name}"' for i, name in enumerate(series))
    script = 'set datafile missing "?"\n$d << EOD\n' + '\n'.join(rows) + '\nEOD\n' + HEAD.format(
        out=out, title=title, ylabel=ylabel, base=base) + f'plot {bars}\n'
    subprocess.run([machine.path_of('gnuplot')], input=script, text=True, check=True)


def size_of(n):
    return f'{n >> 20} MiB' if n >> 20 else f'{n >> 10} KiB' if n >> 10 else f'{n} B'


def plot_echo(part, names, folder, depth):
    rows = [r for r in part['rows'] if r['depth'] == depth and 'left_out' not in r]
    series = {n: [statistics.median(x) if (x := ratios(r, n, YARDSTICK)) else None for r in rows] for n in names}
    plot(f'{folder}/bench-echo-{depth}.svg', f'server CPU for each request, {depth} deep: ratio to lean; lower is better', 'ratio to lean',
         2, [f'{r["conns"]} x {size_of(r["bytes"])}' for r in rows], series)


def plot_latency(part, names, folder):
    keys = ('p50', 'p99', 'p999')
    groups = [f'{r["rate"]}/s {k}' for r in part['rows'] for k in keys]
    series = {n: [median(r['peers'][n]['samples'], k) / 1000 if r['peers'].get(n, {}).get('samples') else None
                  for r in part['rows'] for k in keys] for n in names}
    plot(f'{folder}/bench-latency.svg', 'latency at a fixed rate, from the moment at which a request was due', 'us', 10, groups, series)


def plots(results, names, folder):
    """Return: None, or why there are none."""
    if not machine.path_of('gnuplot'):
        return 'gnuplot is not installed (scripts/deps --all)'
    parts = {k: p for k, p in results['parts'].items() if 'failed' not in p}
    if 'echo' in parts:
        for depth in (1, 16):
            plot_echo(parts['echo'], names, folder, depth)
    if 'latency' in parts:
        plot_latency(parts['latency'], names, folder)
    return None
