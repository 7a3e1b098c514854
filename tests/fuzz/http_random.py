"""Random and mutated requests to an HTTP server: http_random.py PORT COUNT [SEED]

Each goes out on a connection of its own or behind others of it. Whatever is sent, what comes back is a row of whole
answers with a status that the server has; nothing hangs, and a good request on another connection is answered all the
while. Ends with the number of answers by status.
"""
import collections
import random
import re
import select
import socket
import sys
import time

GOOD = [
    b'GET /hello HTTP/1.1\r\nHost: a\r\n\r\n',
    b'HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET /ten.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2,4-5\r\nIf-Range: "x"\r\n\r\n',
    b'GET /ten.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: W/"x", "y"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n',
    b'GET http://a:80/big.bin?x#y HTTP/1.1\r\nHost: a\r\nRange: bytes=-5\r\n\r\n',
    b'GET /sub/../%2e%2e/%00/ten.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789',
    b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n01234\r\n5\r\n56789\r\n0\r\nT: u\r\n\r\n',
    b'POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc',
    b'PUT /upload HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc',
    b'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET /metrics HTTP/1.1\r\nHost: a\r\nReferer: "\x1b\r\nUser-Agent: \\\r\n\r\n',
]
WORDS = [b'\r\n', b'\n', b'\r', b'\0', b' ', b'\t', b':', b'%', b'%00', b'..', b'/', b'Host: a\r\n', b'Content-Length: 1\r\n',
         b'Transfer-Encoding: chunked\r\n', b'HTTP/1.9', b'HTTP/1.0', b'HTTP/1.1', b'Expect: 100-continue\r\n', b'\r\n\r\n',
         b'0\r\n\r\n', b'ffffffffffffffff\r\n', b'99999999999999999999', b'-1', b',', b';', b'"', b'bytes=', b'x' * 9000, b'\xff',
         b'Connection: close\r\n', b'Upgrade: x\r\nConnection: upgrade\r\n', b'CONNECT ', b'GET ']
STATUSES = {100, 200, 204, 206, 301, 304, 400, 404, 405, 408, 412, 413, 414, 416, 417, 431, 501, 505}


def mutate(r, text):
    for _ in range(r.choice((0, 1, 1, 2, 3, 8))):
        at = r.randrange(len(text) + 1)
        kind = r.randrange(5)
        if kind == 0:
            text = text[:at] + bytes([r.randrange(256)]) + text[at + 1:]
        elif kind == 1:
            text = text[:at] + r.choice(WORDS) + text[at:]
        elif kind == 2:
            text = text[:at] + text[at + r.randrange(1, 20):]
        elif kind == 3:
            text = text[:at]
        else:
            other = r.choice(GOOD)
            text = text[:at] + other[r.randrange(len(other)):]
    return text


def check(sent, got, counts):
    """Heads one after another; what lies between is not looked at, for whose body it is only the request can say."""
    at = 0
    for m in re.finditer(rb'HTTP/1\.1 (\d\d\d) [^\r\n]+\r\n(?:[!-9;-~]+: [ -~]*\r\n)*\r\n', got):
        if at == 0 and m.start():
            sys.exit(f'http_random: no answer: {got[:200]!r}\n to {sent!r}')
        at = m.end()
        status = int(m[1])
        counts[status] += 1
        if status not in STATUSES:
            sys.exit(f'http_random: {status} to {sent!r}')
    if got and not at:
        sys.exit(f'http_random: no answer: {got[:200]!r}\n to {sent!r}')


def finish(socks, counts):
    """All have sent their FIN: each is answered and closed, within a deadline."""
    end = time.monotonic() + 30
    while socks:
        left = end - time.monotonic()
        ready = select.select(list(socks), [], [], max(left, 0))[0]
        if not ready and left <= 0:
            sys.exit(f'http_random: no end after {next(iter(socks.values()))[0]!r}')
        for s in ready:
            try:
                data = s.recv(262144)
            except ConnectionResetError:
                data = b''
            if data:
                socks[s][1] += data
                continue
            check(socks[s][0], bytes(socks[s][1]), counts)
            s.close()
            del socks[s]


def must_be_alive(port):
    with socket.create_connection(('127.0.0.1', port), 10) as s:
        s.sendall(GOOD[0])
        got = s.recv(4096)
    if not got.startswith(b'HTTP/1.1 200 '):
        sys.exit(f'http_random: /hello: {got!r}')


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    r = random.Random(seed)
    counts, done = collections.Counter(), 0
    print(f'seed {seed}')
    while done < count:
        socks = {}
        for _ in range(50):
            text = b''.join(mutate(r, r.choice(GOOD)) for _ in range(r.choice((1, 1, 1, 2, 5))))
            done += 1
            s = socket.create_connection(('127.0.0.1', port))
            try:
                cut = r.randrange(len(text) + 1)
                s.sendall(text[:cut])
                s.sendall(text[cut:])
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            socks[s] = [text, bytearray()]
        finish(socks, counts)
        must_be_alive(port)
    print(f'{done} requests; answers:', ' '.join(f'{k}: {v}' for k, v in sorted(counts.items())))


main()
