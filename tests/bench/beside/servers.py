"""servers: the peers of a part, each a process of one thread on the server's CPU, and the clients that ask them."""
import contextlib
import glob
import os
import re
import subprocess
import sys
import tempfile
import time

OURS, YARDSTICK, FLOOR = 'ours', 'lean', 'floor'
PATIENCE = 60  # seconds that a client may take


class Failed(Exception):
    """A server that did not start, or a client that met an error: a row says so."""


def echo_servers(build):
    """{name: command}, in the order of the tables; one that was not built is not installed here."""
    peers = {p: [f'{build}/tests/bench/peers/{p}'] for p in ('libev', 'libevent', 'libuv')}
    return {
        YARDSTICK: [f'{build}/tests/bench/lean', '0'],
        OURS: [f'{build}/examples/echo', '--framed', '--listen', '127.0.0.1:0', '--pollers', '1', '--steer', 'off'],
        **peers,
        'Go net': [f'{build}/tests/bench/go/echo'],
        FLOOR: [f'{build}/tests/bench/peers/bare'],
    }


def without_floor(servers):
    return {name: argv for name, argv in servers.items() if name != FLOOR}


def installed(servers):
    return {name: argv for name, argv in servers.items() if os.access(argv[0], os.X_OK)}


def cpu_ns(pid):
    """Run time of all its threads."""
    total = 0
    for path in glob.glob(f'/proc/{pid}/task/*/schedstat'):
        with contextlib.suppress(OSError), open(path) as f:
            total += int(f.read().split()[0])
    return total


class Server:
    def __init__(self, name, cpu, argv):
        self.name = name
        self.out = tempfile.TemporaryFile('w+')
        self.process = subprocess.Popen(['taskset', '-c', str(cpu), *argv], stdin=subprocess.DEVNULL, stdout=self.out,
                                        stderr=subprocess.STDOUT)
        self.pid = str(self.process.pid)

    def await_address(self):
        """Of the line that says the port."""
        for _ in range(400):
            self.out.seek(0)
            found = re.search(r'^listening on (?:127\.0\.0\.1:|port )([0-9]+)', self.out.read(), re.M)
            if found:
                return f'127.0.0.1:{found.group(1)}'
            if self.process.poll() is not None:
                break
            time.sleep(0.025)
        self.out.seek(0)
        raise Failed(f'{self.name} did not start: {self.out.read().strip()[-200:]}')

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.out.close()


@contextlib.contextmanager
def started(servers, cpu):
    """{name: (address, pid)} of those commands, while the block runs."""
    running = []
    try:
        at = {}
        for name, argv in servers.items():
            running.append(Server(name, cpu, argv))
            at[name] = running[-1].await_address(), running[-1].pid
        yield at
    finally:
        for server in running:
            server.stop()


def ask(cpu, *argv):
    """The numbers that a client prints."""
    try:
        r = subprocess.run(['taskset', '-c', str(cpu), *map(str, argv)], capture_output=True, text=True, timeout=PATIENCE,
                           check=False)
    except subprocess.TimeoutExpired as e:
        raise Failed(f'no end within {PATIENCE} s') from e
    if r.returncode:
        raise Failed(r.stderr.strip()[-200:] or f'exit code {r.returncode}')
    return [int(n) for n in r.stdout.split()]


class Progress:
    """A line on standard error: one that is written over on a terminal, one for each round elsewhere."""

    def __init__(self, seconds):
        self.begin, self.seconds = time.monotonic(), seconds

    def spent(self):
        return time.monotonic() - self.begin

    def say(self, part, what, once=False):
        line = f'bench: {self.spent():4.0f} s of about {self.seconds:.0f}: {part}, {what}'
        if sys.stderr.isatty():
            print(f'\r\x1b[K{line}', end='\n' if once else '', file=sys.stderr, flush=True)
        elif once:
            print(line, file=sys.stderr, flush=True)


def turns(progress, part, seconds, cells):
    """(round, cell) for whole rounds over the cells, the first always: those after it end with the time of the part."""
    begin, number = time.monotonic(), 0
    while True:
        number += 1
        progress.say(part, f'round {number}', once=True)
        for cell in cells:
            yield number, cell
        spent = time.monotonic() - begin
        if spent + spent / number > seconds:
            return
