"""tls: server CPU for each handshake, by openssl s_time, and for each file, by h2load, beside nginx.

Both keep files open. Certificates are made for the run.
"""
import os
import re
import socket
import subprocess
import tempfile
import time

from . import machine, servers
from .echo import Rows
from .servers import Failed

KEYS = {'ECDSA P-256': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'], 'RSA 2048': ['-newkey', 'rsa:2048']}
CELLS = [('ECDSA P-256', '-tls1_3', '-new'), ('RSA 2048', '-tls1_3', '-new'), ('ECDSA P-256', '-tls1_2', '-new'),
         ('RSA 2048', '-tls1_2', '-new'), ('ECDSA P-256', '-tls1_2', '-reuse'), ('ECDSA P-256', '-tls1_3', '1 KiB'),
         ('ECDSA P-256', '-tls1_3', '64 KiB')]
FILES = {'1 KiB': 1 << 10, '64 KiB': 64 << 10}
NGINX = '''daemon off; master_process off; pid {dir}/{name}.pid; error_log /dev/null crit;
events {{ worker_connections 4096; }}
http {{
	access_log off; keepalive_requests 1000000000; root {dir}/www; open_file_cache max=1000;
	client_body_temp_path {dir}/tmp; proxy_temp_path {dir}/tmp; fastcgi_temp_path {dir}/tmp;
	uwsgi_temp_path {dir}/tmp; scgi_temp_path {dir}/tmp;
	server {{
		listen 127.0.0.1:{port} ssl;
		ssl_certificate {cert}; ssl_certificate_key {key};
		ssl_protocols TLSv1.2 TLSv1.3;
	}}
}}
'''


def certificate(folder, name):
    cert, key = f'{folder}/{name[:3]}.crt', f'{folder}/{name[:3]}.key'
    subprocess.run(['openssl', 'req', '-x509', *KEYS[name], '-nodes', '-days', '2', '-subj', '/CN=localhost', '-keyout', key,
                    '-out', cert], check=True, capture_output=True)
    return cert, key


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def await_port(port, name):
    for _ in range(400):
        try:
            socket.create_connection(('127.0.0.1', port)).close()
            return
        except OSError:
            time.sleep(0.025)
    raise Failed(f'{name} does not listen')


class Pair:
    """Ours and nginx with one certificate."""

    def __init__(self, ctx, folder, key_kind):
        cert, key = certificate(folder, key_kind)
        self.ctx, self.running, self.at = ctx, [], {}
        ours = servers.Server(servers.OURS, ctx.cpus[0], [
            f'{ctx.build}/examples/http/http', '--listen', '127.0.0.1:0', '--pollers', '1', '--steer', 'off', '--folder',
            f'{folder}/www', '--tls', f'{cert},{key}'])
        self.running.append(ours)
        self.at[servers.OURS] = ours.await_address(), ours.pid
        nginx = machine.path_of('nginx')
        if nginx:
            port = free_port()
            conf = f'{folder}/{key_kind[:3]}.conf'
            with open(conf, 'w') as f:
                f.write(NGINX.format(dir=folder, name=key_kind[:3], port=port, cert=cert, key=key))
            server = servers.Server('nginx', ctx.cpus[0], [nginx, '-c', conf])
            self.running.append(server)
            await_port(port, 'nginx')
            self.at['nginx'] = f'127.0.0.1:{port}', server.pid

    def stop(self):
        for server in self.running:
            server.stop()


def handshakes(ctx, at, pid, version, how):
    """ns of server CPU for each; s_time stops by itself after a second."""
    before = servers.cpu_ns(pid)
    r = subprocess.run(['taskset', '-c', str(ctx.cpus[1]), 'openssl', 's_time', '-connect', at, version, how, '-time', '1'],
                       capture_output=True, text=True, timeout=servers.PATIENCE, check=False)
    spent = servers.cpu_ns(pid) - before
    found = re.search(r'^(\d+) connections in \d+ real seconds', r.stdout, re.M)
    if r.returncode or not found or not int(found.group(1)):
        raise Failed((r.stderr or r.stdout).strip()[-200:] or 'no handshake')
    return round(spent / int(found.group(1)))


def files(ctx, at, pid, name):
    """ns of server CPU for each; 20 connections, so that handshakes hardly count."""
    if not machine.path_of('h2load'):
        raise Failed('h2load is not installed')
    before = servers.cpu_ns(pid)
    r = subprocess.run(['taskset', '-c', str(ctx.cpus[1]), 'h2load', '--h1', '-c', '20', '-t', '1', '-n', '4000',
                        f'https://{at}/{FILES[name]}'], capture_output=True, text=True, timeout=servers.PATIENCE, check=False)
    spent = servers.cpu_ns(pid) - before
    found = re.search(r' (\d+) succeeded, 0 failed', r.stdout)
    if r.returncode or not found or not int(found.group(1)):
        raise Failed((r.stderr or r.stdout).strip()[-200:] or 'no answer')
    return round(spent / int(found.group(1)))


def asked(ctx, at, pid, version, how):
    return files(ctx, at, pid, how) if how in FILES else handshakes(ctx, at, pid, version, how)


def tls(ctx, seconds):
    if not machine.path_of('openssl'):
        return {'not_installed': 'openssl'}
    names = [servers.OURS, 'nginx']
    got = Rows(('key', 'version', 'how'), CELLS, names)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f'{folder}/tmp')
        os.mkdir(f'{folder}/www')
        for size in FILES.values():
            with open(f'{folder}/www/{size}', 'wb') as f:
                f.write(os.urandom(size))
        pairs = {}
        try:
            for kind in KEYS:
                pairs[kind] = Pair(ctx, folder, kind)
            for number, cell in servers.turns(ctx.progress, 'tls', seconds, CELLS):
                pair = pairs[cell[0]]
                for name in names if number % 2 else names[::-1]:
                    ctx.progress.say('tls', f'round {number}: {" ".join(cell)}: {name}')
                    if name in pair.at:
                        got.measure(cell, name, lambda: asked(ctx, *pair.at[name], *cell[1:]))
        finally:
            for pair in pairs.values():
                pair.stop()
    return {'unit': 'ns of server CPU for each handshake, or each file', 'rows': got.rows}
