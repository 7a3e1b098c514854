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


def describe(cpus):
    lscpu = said('lscpu')
    return {
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
