# SPDX-License-Identifier: BSD-2-Clause
"""An echo server over ctypes, and its client: dlopen_echo.py LIBRARY. Exit 0: the bytes came back."""
import ctypes as C
import socket
import sys

lib = C.CDLL(sys.argv[1])
HANDLER = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_void_p)


class Handlers(C.Structure):
    _fields_ = [("sz", C.c_size_t)] + [
        (name, C.c_void_p)
        for name in ("on_prepare", "on_connect", "on_request", "on_disconnect", "on_close")
    ]


class Pollers(C.Structure):
    _fields_ = [("sz", C.c_size_t), ("count", C.c_int), ("cpus", C.c_void_p), ("n_cpus", C.c_int),
                ("pin", C.c_int), ("stack_size", C.c_size_t)]


for name in ("np_conn_len",):
    getattr(lib, name).argtypes = [C.c_void_p]
    getattr(lib, name).restype = C.c_size_t
lib.np_conn_next.argtypes = [C.c_void_p, C.c_size_t, C.POINTER(C.c_void_p)]
lib.np_conn_write.argtypes = [C.c_void_p, C.c_void_p, C.c_size_t]
lib.np_conn_flush.argtypes = [C.c_void_p]
lib.np_server_stop.argtypes = [C.c_void_p, C.c_int, C.c_void_p]
lib.np_pollers_stop.argtypes = [C.c_void_p, C.c_int]
for name in ("np_server_start", "np_server_free", "np_pollers_free"):
    getattr(lib, name).argtypes = [C.c_void_p]
lib.np_strerror.restype = C.c_char_p


def must(what, r):
    if r < 0:
        sys.exit("%s: %s" % (what, lib.np_strerror(r).decode()))


@HANDLER
def on_request(c, arg):
    p = C.c_void_p()
    n = lib.np_conn_len(c)
    return lib.np_conn_next(c, n, C.byref(p)) or lib.np_conn_write(c, p, n) or lib.np_conn_flush(c)


# The interpreter wants more stack than the 64 KiB of a handler in C.
NP_OFF = 2
opts = Pollers(C.sizeof(Pollers), 1, None, 0, NP_OFF, 1 << 20)
handlers = Handlers(C.sizeof(Handlers), on_request=C.cast(on_request, C.c_void_p))
pollers, server = C.c_void_p(), C.c_void_p()
must("pollers", lib.np_pollers_start(C.byref(opts), C.byref(pollers)))
must("server", lib.np_server_new(pollers, C.byref(handlers), None, None, C.byref(server)))
must("listen", lib.np_server_listen(server, b"tcp", b"127.0.0.1:0"))
must("start", lib.np_server_start(server))
at, size = C.create_string_buffer(128), C.c_uint(128)
must("addr", lib.np_server_addr(server, 0, at, C.byref(size)))

with socket.create_connection(("127.0.0.1", int.from_bytes(at.raw[2:4], "big")), timeout=20) as s:
    for text in (b"hello", b"x" * 10000):
        s.sendall(text)
        got = b""
        while len(got) < len(text):
            some = s.recv(65536)
            if not some:
                sys.exit("the connection ended")
            got += some
        if got != text:
            sys.exit("other bytes came back")

must("stop", lib.np_server_stop(server, 5000, None))
must("server free", lib.np_server_free(C.byref(server)))
must("pollers stop", lib.np_pollers_stop(pollers, 5000))
must("pollers free", lib.np_pollers_free(C.byref(pollers)))
