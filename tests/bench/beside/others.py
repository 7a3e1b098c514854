"""others: benches that are programs of their own; each writes its own table, which is linked, and its lost rows are named."""
import os
import re
import signal
import subprocess

from . import machine
from .servers import Failed

LEAST_PATIENCE = 150  # seconds
FORMS = { # part: (needs, command for a short form, file, title)
    'http': (('nginx', 'wrk'), ['scripts/bench-http', '{build}', '1', '1'], 'http-figures.md', None),
    'kv': (('redis-server', 'redis-benchmark'), ['scripts/bench-kv', '{build}', '1', '0.1'], 'kv-figures.md',
           'The example kv beside redis-server'),
    'proxy': (('haproxy',), ['scripts/bench-proxy', '{build}', '5'], 'proxy-figures.md', 'The example proxy beside haproxy'),
    'handoff': ((), ['{build}/tests/bench/handoff', '{build}/tests/bench/go/stall'], 'handoff-figures.md', None),
}


def lost_http(text):
    """(rows, lost) of its table: the ratio is the fifth column, above 1 for ours; "itself" is no peer."""
    rows = [[c.strip() for c in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('| ')]
    rows = [r for r in rows if len(r) > 5 and re.fullmatch(r'[\d.]+', r[4]) and r[1] != 'itself']
    return len(rows), [f'{r[0]} ({r[4]})' for r in rows if float(r[4]) < 1]


def lost_kv(text):
    rows = re.findall(r'^(\w+) +(\d+) +\d+ +\d+ +([\d.]+) \[', text, re.M)
    return len(rows), [f'{test} -P {depth} ({ratio})' for test, depth, ratio in rows if float(ratio) < 1]


def lost_proxy(text):
    rows = re.findall(r'^ *(\d+) +(\d+) +(\d+) +\d+ +\d+ +\d+ +([\d.]+) \[', text, re.M)
    return len(rows), [f'{conns} x {size} bytes, {deep} deep ({ratio})' for conns, size, deep, ratio in rows if float(ratio) < 1]


LOST = {'http': lost_http, 'kv': lost_kv, 'proxy': lost_proxy}


def interrupt(child):
    """As Ctrl-C does: it stops its servers itself."""
    os.killpg(child.pid, signal.SIGINT)
    child.communicate()


def run(ctx, part, seconds):
    needs, argv, name, title = FORMS[part]
    absent = [n for n in needs if not machine.path_of(n)]
    if absent:
        return {'not_installed': ', '.join(absent)}
    argv = [a.format(build=ctx.build) for a in argv]
    argv = argv[:1] + [a for a in argv[1:] if not a.startswith(f'{ctx.build}/') or os.path.exists(a)]
    ctx.progress.say(part, argv[0], once=True)
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    most = max(3 * seconds, LEAST_PATIENCE)
    try:
        out, err = child.communicate(timeout=most)
    except BaseException as e:
        interrupt(child)
        if isinstance(e, subprocess.TimeoutExpired):
            raise Failed(f'no end within {most:.0f} s') from e
        raise
    if child.returncode:
        raise Failed(err.strip()[-300:] or f'exit code {child.returncode}')
    with open(f'{ctx.folder}/{name}', 'w') as f:
        f.write(f'# {title}\n\nMade by `make bench` ({argv[0]}).\n\n```\n{out}```\n' if title else out)
    rows, lost = LOST[part](out) if part in LOST else (0, [])
    return {'figures': name, 'rows': rows, 'lost': lost}
