"""calls: the system calls that an echo server makes for a request, by strace, and its page faults; a busy machine hardly changes them."""
import collections
import os
import signal
import subprocess
import tempfile
import time

from . import machine, servers
from .echo import Rows
from .servers import Failed

CELLS = [ # connections, bytes, depth, requests: some rounds, so that what a connection takes to begin hardly counts
    (100, 1024, 1, 3000), (1000, 16384, 1, 8000), (1, 1 << 20, 1, 100), (100, 1 << 20, 1, 400), (1000, 64, 16, 96000),
    (100, 1024, 16, 32000), (1000, 1024, 16, 96000), (1, 16384, 16, 3200),
]
KINDS = {
    'reads': ('read', 'readv', 'recvfrom', 'recvmsg'),
    'sends': ('write', 'writev', 'sendto', 'sendmsg'),
    'waits': ('epoll_wait', 'epoll_pwait', 'epoll_pwait2', 'futex'),
    'memory': ('mmap', 'munmap', 'madvise', 'brk', 'mremap'),
}


def counted(path):
    """{call: how often}, of strace -c: per cent, seconds, us of a call, calls, errors if there were any, name."""
    calls = collections.Counter()
    with open(path) as f:
        for words in map(str.split, f):
            if len(words) in (5, 6) and words[3].isdigit() and words[-1] != 'total':
                calls[words[-1]] += int(words[3])
    return calls


class Strace:
    """Counts the calls of a process, while the block runs."""

    def __init__(self, pid, path):
        self.argv, self.path = [machine.path_of('strace'), '-f', '-c', '-o', path, '-p', pid], path
        self.pid = pid

    def is_traced(self):
        for task in os.listdir(f'/proc/{self.pid}/task'):
            with open(f'/proc/{self.pid}/task/{task}/status') as f:
                if 'TracerPid:\t0\n' in f.read():
                    return False
        return True

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(400):
            if self.is_traced():
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.025)
        self.__exit__()
        raise Failed('strace may not attach')

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(servers.PATIENCE)


def faults(pid):
    """Minor ones, of all its threads, since it began."""
    with open(f'/proc/{pid}/stat') as f:
        return int(f.read().rsplit(')', 1)[1].split()[7])


def of_request(ctx, name, cell, path):
    """{kind: calls for each request}: a tenth more of them than the client counts are its warm-up."""
    with servers.started({name: ctx.echo[name]}, ctx.cpus[0]) as at:
        address, pid = at[name]
        before = faults(pid)
        with Strace(pid, path):
            done = servers.ask(ctx.cpus[1], f'{ctx.build}/tests/bench/load', address, *cell, pid)[0]
        taken = faults(pid) - before
    calls, all_of_them = counted(path), done + cell[-1] / 10
    return {kind: sum(calls[c] for c in group) / all_of_them for kind, group in KINDS.items()} | {'faults': taken / all_of_them}


def calls(ctx, seconds):
    if not machine.path_of('strace'):
        return {'not_installed': 'strace'}
    peers = servers.without_floor(ctx.echo)
    got = Rows(('conns', 'bytes', 'depth', 'requests'), CELLS, peers)
    with tempfile.TemporaryDirectory() as folder:
        for cell in CELLS:
            for name in peers:
                ctx.progress.say('calls', f'{cell[0]} connections, {cell[1]} bytes, {cell[2]} deep: {name}')
                got.measure(cell, name, lambda: of_request(ctx, name, cell, f'{folder}/calls'))
    return {'unit': 'system calls, and page faults, for each request', 'rows': got.rows}
