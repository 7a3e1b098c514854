"""machine: what the figures were measured on, and with what."""
import os
import platform
import re
import shutil
import subprocess

PACKAGES = ['gcc', 'libev4', 'libevent-core-2.1-7', 'libuv1', 'golang-go', 'nginx-light', 'haproxy', 'redis-server', 'openssl',
            'wrk']


def said(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ''


def of_lscpu(text, name):
    found = re.search(rf'^{name}:\s*(.*)$', text, re.M)
    return found.group(1) if found else None


def memory_mib():
    with open('/proc/meminfo') as f:
        return int(f.readline().split()[1]) // 1024


def versions():
    """{package: version, or None}."""
    lines = said('dpkg-query', '-W', '-f', '${db:Status-Status} ${Package} ${Version}\n', *PACKAGES).splitlines()
    have = dict(line.split()[1:3] for line in lines if line.startswith('installed '))
    return {p: have.get(p) for p in PACKAGES}


def floor(build, server_cpu, client_cpu):
    """{name: number} of tests/bench/floor.c, or {} where it was not built."""
    words = [line.split() for line in said(f'{build}/tests/bench/floor', str(server_cpu), str(client_cpu)).splitlines()]
    return {name: float(number) for name, number in words}


def congestion():
    """How TCP decides when to send, of this network namespace."""
    with open('/proc/sys/net/ipv4/tcp_congestion_control') as f:
        return f.read().strip()


def floor_in_words(f, tcp):
    if not f:
        return f'What the machine itself takes is not known: tests/bench/floor was not built. TCP: {tcp}.'
    us = {name: f'{f[name] / 1000:.1f}' for name in f if name.endswith('_ns')}
    return (f'The machine itself: a system call {f["syscall_ns"]:.0f} ns; a thread wakes another one within {us["wake_same_p50_ns"]} us '
            f'on its CPU (p99 {us["wake_same_p99_ns"]}), {us["wake_other_p50_ns"]} us on the other (p99 {us["wake_other_p99_ns"]});\n'
            f'64 bytes and back between two threads that block, over loopback: {us["tcp_p50_ns"]} us (p99 {us["tcp_p99_ns"]}), '
            f'{us["tcp_cpu_ns"]} us of CPU; memcpy {f["copy_gbs"]:.1f} GB/s, {f["copy_cached_gbs"]:.1f} in the cache. '
            f'TCP: {tcp}.')


def commit():
    """Of this tree, with a + where it has changes."""
    at = said('git', 'rev-parse', '--short', 'HEAD').strip()
    return at + ('+' if at and said('git', 'status', '--porcelain', '--untracked-files=no', '--', ':!doc').strip() else '')


def describe(build, cpus):
    lscpu = said('lscpu')
    return {
        'commit': commit(),
        'congestion': congestion(),
        'floor': floor(build, *cpus[:2]),
        'kernel': f'{platform.system()} {platform.release()} {platform.machine()}',
        'cpu': of_lscpu(lscpu, 'Model name') or platform.machine(),
        'cpus': os.cpu_count(),
        'hypervisor': of_lscpu(lscpu, 'Hypervisor vendor'),
        'memory_mib': memory_mib(),
        'server_cpu': cpus[0],
        'client_cpu': cpus[1],
        'versions': versions(),
    }


def path_of(program):
    return shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin')
