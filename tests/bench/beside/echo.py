"""echo: parts that ask framed echo servers: the matrix, short lives, idle memory, latency at a fixed rate."""
import resource

from . import servers
from .servers import Failed

MATRIX = [(conns, size, depth) for depth in (1, 16) for size in (64, 1024, 16384, 1 << 20) for conns in (1, 100, 1000)]
MANY = (10000, 1024, 1)
IN_FLIGHT_MAX = 128 << 20  # bytes; more is a measure of memory, not of a server
CELL_MS = 250
NO_END = 10**12  # requests: the time ends it
CHURN_MS, CHURN_BYTES = 500, 64
IDLE_CONNS, IDLE_BYTES = 5000, (64, 16384)
RATES = [(100, 1024, 5000), (100, 1024, 20000)]
RATE_MS = 1500


def in_turn(at, number):
    """The servers, each round from another one on."""
    names = list(at)
    first = number % len(names)
    return names[first:] + names[:first]


class Rows:
    """Samples of each peer in each cell; a peer that failed once in a cell has the reason instead."""

    def __init__(self, keys, cells, names):
        self.rows = [dict(zip(keys, cell), peers={n: {'samples': []} for n in names}) for cell in cells]
        self.of = dict(zip(cells, self.rows))

    def measure(self, cell, name, take):
        peer = self.of[cell]['peers'][name]
        if 'failed' in peer:
            return
        try:
            peer['samples'].append(take())
        except Failed as e:
            peer['failed'] = str(e)


def per_request(numbers):
    if not numbers[0]:
        raise Failed('no answer in time')
    return round(numbers[-1] / numbers[0])


def left_out(cell):
    conns, size, depth = cell
    if conns * size * depth > IN_FLIGHT_MAX:
        return f'{conns * size * depth >> 20} MiB would be in flight'
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if conns + 100 > limit:
        return f'a process has {limit} descriptors'
    return None


def matrix(ctx, seconds):
    every = MATRIX + [MANY]
    cells = [c for c in every if not left_out(c)]
    got = Rows(('conns', 'bytes', 'depth'), every, ctx.echo)
    for cell in every:
        if left_out(cell):
            got.of[cell]['left_out'] = left_out(cell)
    with servers.started(ctx.echo, ctx.cpus[0]) as at:
        for number, cell in servers.turns(ctx.progress, 'echo', seconds, cells):
            conns, size, depth = cell
            ms = CELL_MS * (3 if conns * size * depth > 8 << 20 or conns > 1000 else 1)
            for name in in_turn(at if conns == 1 else servers.without_floor(at), number):
                ctx.progress.say('echo', f'round {number}: {conns} connections, {size} bytes, {depth} deep: {name}')
                address, pid = at[name]
                got.measure(cell, name, lambda: per_request(servers.ask(
                    ctx.cpus[1], f'{ctx.build}/tests/bench/load', address, *cell, NO_END, pid, ms)))
    return {'unit': 'ns of server CPU for each request', 'rows': got.rows}


def churn(ctx, seconds):
    cell = (CHURN_BYTES,)
    peers = servers.without_floor(ctx.echo)
    got = Rows(('bytes',), [cell], peers)
    with servers.started(peers, ctx.cpus[0]) as at:
        for number, _ in servers.turns(ctx.progress, 'churn', seconds, [cell]):
            for name in in_turn(at, number):
                address, pid = at[name]
                got.measure(cell, name, lambda: per_request(servers.ask(
                    ctx.cpus[1], f'{ctx.build}/tests/bench/churn', address, CHURN_BYTES, CHURN_MS, pid)))
    return {'unit': 'ns of server CPU for each life', 'rows': got.rows}


def idle(ctx, seconds):
    cells = [(IDLE_CONNS, size) for size in IDLE_BYTES]
    peers = servers.without_floor(ctx.echo)
    got = Rows(('conns', 'bytes'), cells, peers)

    def held(cell, name):
        with servers.started({name: ctx.echo[name]}, ctx.cpus[0]) as at:
            before, after = servers.ask(ctx.cpus[1], f'{ctx.build}/tests/bench/hold', at[name][0], *cell, at[name][1])
        return round((after - before) / cell[0])

    ctx.progress.say('idle', 'one round', once=True)
    why = left_out((IDLE_CONNS, 0, 0))
    if why:
        for row in got.rows:
            row['left_out'] = why
        cells = []
    for cell in cells:
        for name in peers:
            ctx.progress.say('idle', f'{cell[1]} bytes: {name}')
            got.measure(cell, name, lambda: held(cell, name))
    return {'unit': 'bytes of server memory for each idle connection', 'rows': got.rows}


def latency(ctx, seconds):
    got = Rows(('conns', 'bytes', 'rate'), RATES, ctx.echo)

    def paced(cell, address, pid):
        total, p50, p99, p999, most, _, cpu = servers.ask(ctx.cpus[1], f'{ctx.build}/tests/bench/paced', address, *cell,
                                                          RATE_MS, pid)
        return {'p50': p50, 'p99': p99, 'p999': p999, 'max': most, 'cpu': round(cpu / total)}

    with servers.started(ctx.echo, ctx.cpus[0]) as at:
        for number, cell in servers.turns(ctx.progress, 'latency', seconds, RATES):
            for name in in_turn(at, number):
                ctx.progress.say('latency', f'round {number}: {cell[2]} a second: {name}')
                got.measure(cell, name, lambda: paced(cell, *at[name]))
    return {'unit': 'ns from the moment at which a request was due to its answer', 'rows': got.rows}
