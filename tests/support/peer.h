/* SPDX-License-Identifier: BSD-2-Clause */
/* peer: plain blocking sockets for the other side of a test; every failure fails the test. */
#ifndef SUPPORT_PEER_H
#define SUPPORT_PEER_H

#include <stddef.h>
#include <sys/socket.h>

struct np_server;

/* Listens on a port of loopback; its address goes to @text: "127.0.0.1:PORT". */
int peer_listen(char *text, size_t cap);
/* Connected to @ss, with a deadline of AWAIT_MS on every later read and write. */
int peer_connect(const struct sockaddr_storage *ss, socklen_t len);
/* Likewise, to the @i-th address of @s. */
int peer_of(struct np_server *s, int i);
void peer_send(int fd, const void *p, size_t n);
/* Exactly @n bytes. */
void peer_recv(int fd, void *p, size_t n);
/* One byte goes and comes back. */
void peer_echo(int fd, char c);
/* The next read says EOF. */
void peer_expect_eof(int fd);
/* Reads on until EOF or reset; how many bytes came. */
size_t peer_drain(int fd);
/* RST instead of FIN. */
void peer_reset(int *fd);
void peer_close(int *fd);

/* A header of PROXY v2, followed by @len bytes of 1; how long it is. */
size_t peer_proxy_v2(char *dst, int command, int kind, size_t len);

#endif
