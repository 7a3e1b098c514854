#!/usr/bin/env python3
"""A server that forks: each worker has a listener with SO_REUSEPORT and answers with its number.

  pages.py PORT WORKERS PIDFILE [PROG ARGS...]

PROG: each worker becomes that program, whose listener is descriptor 3.
SIGTERM to the first process ends all: each closes its listener, answers those that it has accepted, and goes.
"""
import os
import selectors
import signal
import socket
import sys
import time

LEAVE_S = 2  # for those that never ask


def own_listener(port):
    return socket.create_server(('127.0.0.1', port), backlog=511, reuse_port=True)


def become(prog, port):
    listener = own_listener(port)
    if os.dup2(listener.fileno(), 3) == listener.fileno():
        listener.set_inheritable(True)
    os.execvp(prog[0], prog)


def serve(port):
    page = b'%d\n' % os.getpid()
    page = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(page), page)
    listener = own_listener(port)
    listener.setblocking(False)
    sel = selectors.DefaultSelector()
    sel.register(listener, selectors.EVENT_READ)
    waiting = set()  # accepted, and not answered yet
    going = []
    signal.signal(signal.SIGTERM, lambda *_: going.append(time.monotonic() + LEAVE_S))
    while not going or waiting and time.monotonic() < going[0]:
        if going and listener.fileno() >= 0:
            sel.unregister(listener)
            listener.close()
        for key, _ in sel.select(0.02):
            if key.fileobj is listener:
                accept(sel, listener, waiting)
            else:
                waiting.discard(key.fileobj)
                answer(sel, key.fileobj, page)


def accept(sel, listener, waiting):
    try:
        while True:
            conn, _ = listener.accept()
            conn.setblocking(False)
            sel.register(conn, selectors.EVENT_READ)
            waiting.add(conn)
    except BlockingIOError:
        pass


def answer(sel, conn, page):
    try:
        if conn.recv(4096):
            conn.send(page)
            return
    except OSError:
        pass
    sel.unregister(conn)
    conn.close()


def main():
    port, workers, pidfile, prog = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    children = []
    for _ in range(workers):
        pid = os.fork()
        if pid == 0 and prog:
            become(prog, port)
        if pid == 0:
            serve(port)
            os._exit(0)
        children.append(pid)
    signal.signal(signal.SIGTERM, lambda *_: [os.kill(pid, signal.SIGTERM) for pid in children])
    with open(pidfile, 'w') as f:
        f.write(f'{os.getpid()}\n')
    for pid in children:
        os.waitpid(pid, 0)


main()
