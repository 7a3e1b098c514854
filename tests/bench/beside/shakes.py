"""shakes: what a handshake costs beside its computing: system calls by strace, page faults, switches; beside nginx.

A handshake comes with its connection and the client's close_notify. The switches are of a run without strace.
"""
import collections
import glob
import os
import re
import tempfile

from . import calls, machine, servers, tls
from .echo import Rows

CELLS = [(key, version, kind) for key in tls.KEYS for version in ('1.2', '1.3') for kind in ('full', 'resumed')]
KINDS = {
    'waits': ('epoll_wait', 'epoll_pwait', 'epoll_pwait2'),
    'reads': calls.KINDS['reads'],
    'sends': calls.KINDS['sends'],
    'futex': ('futex',),
    'memory': calls.KINDS['memory'],
    'getpid': ('getpid',),
}
COUNT = 100
ALL = COUNT + COUNT // 10 + 1  # the client's warm-up included


def switched(pid):
    """Switches that its threads have wanted."""
    total = 0
    for path in glob.glob(f'/proc/{pid}/task/*/status'):
        with open(path) as f:
            total += int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)', f.read(), re.M).group(1))
    return total


def shaken(ctx, at, pid, version, kind):
    servers.ask(ctx.cpus[1], f'{ctx.build}/tests/bench/load_tls', 'shake', at, version, kind, COUNT, pid)


def of_handshake(ctx, at, pid, version, kind, path):
    """{kind of call, faults, switches: for each handshake}."""
    before = calls.faults(pid), switched(pid)
    shaken(ctx, at, pid, version, kind)
    got = {'faults': calls.faults(pid) - before[0], 'switches': switched(pid) - before[1]}
    with calls.Strace(pid, path):
        shaken(ctx, at, pid, version, kind)
    every = collections.Counter(calls.counted(path))
    got |= {name: sum(every[c] for c in group) for name, group in KINDS.items()}
    got['others'] = sum(every.values()) - sum(got[name] for name in KINDS)
    return {name: n / ALL for name, n in got.items()}


def shakes(ctx, seconds):
    if not machine.path_of('strace'):
        return {'not_installed': 'strace'}
    names = [servers.OURS, 'nginx']
    got = Rows(('key', 'version', 'kind'), CELLS, names)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f'{folder}/tmp')
        os.mkdir(f'{folder}/www')
        pairs = {}
        try:
            for key in tls.KEYS:
                pairs[key] = tls.Pair(ctx, folder, key)
            for cell in CELLS:
                for name in names:
                    ctx.progress.say('shakes', f'{" ".join(cell)}: {name}')
                    if name in pairs[cell[0]].at:
                        at, pid = pairs[cell[0]].at[name]
                        got.measure(cell, name, lambda: of_handshake(ctx, at, pid, *cell[1:], f'{folder}/calls'))
        finally:
            for pair in pairs.values():
                pair.stop()
    return {'unit': 'for each handshake', 'rows': got.rows}
