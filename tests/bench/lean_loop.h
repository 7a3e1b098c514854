/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lean_loop: what the yardsticks share: a socket that listens, one epoll loop, and unsent bytes
 *
 * One thread, edge-triggered, IN and OUT from the beginning. No timeouts, no limits, no error
 * reports. All of it is inlined into a yardstick: its functions are called directly.
 */
#ifndef BENCH_LEAN_LOOP_H
#define BENCH_LEAN_LOOP_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LEAN_EVENTS 512

/* What the kernel, or OpenSSL, did not take of the answers. */
struct lean_unsent {
	char *p;
	size_t n, cap;
};

static inline int lean_keep(struct lean_unsent *u, const char *data, size_t n)
{
	if (u->n + n > u->cap) {
		u->cap = (u->n + n) * 2;
		u->p = realloc(u->p, u->cap);
		if (!u->p)
			return -1;
	}
	memcpy(u->p + u->n, data, n);
	u->n += n;
	return 0;
}

static inline void lean_took(struct lean_unsent *u, size_t n)
{
	memmove(u->p, u->p + n, u->n - n);
	u->n -= n;
}

/* What a yardstick does with a peer of its own; a negative result ends it. */
struct lean_peers {
	const char *name;
	void *(*open)(int fd);
	int (*readable)(void *peer), (*writable)(void *peer);
	void (*drop)(void *peer);
};

static inline void lean_accept(const struct lean_peers *ps, int ep, int l)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP };
	int fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	e.data.ptr = ps->open(fd);
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		ps->drop(e.data.ptr);
}

static inline int lean_listen(const struct lean_peers *ps, int ep, uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	struct epoll_event e = { .events = EPOLLIN };
	socklen_t len = sizeof sa;

	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (l < 0 || ep < 0 || bind(l, (struct sockaddr *)&sa, sizeof sa) < 0 ||
	    listen(l, 4096) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l, &e) < 0 ||
	    getsockname(l, (struct sockaddr *)&sa, &len) < 0) {
		perror(ps->name);
		exit(1);
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(sa.sin_port));
	fflush(stdout);
	return l;
}

/* For ever. */
static inline __attribute__((always_inline, noreturn)) void lean_run(const struct lean_peers *ps,
								     uint16_t port)
{
	struct epoll_event ev[LEAN_EVENTS];
	int ep = epoll_create1(EPOLL_CLOEXEC), l;

	signal(SIGPIPE, SIG_IGN);
	l = lean_listen(ps, ep, port);
	for (;;) {
		int n = epoll_wait(ep, ev, LEAN_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			void *p = ev[i].data.ptr;

			if (!p)
				lean_accept(ps, ep, l);
			else if ((ev[i].events & EPOLLIN && ps->readable(p) < 0) ||
				 (ev[i].events & EPOLLOUT && ps->writable(p) < 0) ||
				 ev[i].events & (EPOLLERR | EPOLLHUP))
				ps->drop(p);
		}
	}
}

#endif
