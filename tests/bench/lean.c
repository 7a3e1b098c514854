/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lean: the yardstick of bench-echo: framed echo over epoll, read and write, and nothing else
 *
 *   lean PORT        one thread, edge-triggered, one read and one write for each wake-up
 *
 * It has no timeouts, no limits, no error reports and no buffers beyond one of 64 KiB that all
 * connections share. A partial frame stays at the front of a per-connection buffer that only exists
 * while there is one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"

#define BUF (64u * 1024)

struct peer {
	int fd;
	struct frames frames;
	char *out; /* what the kernel did not take */
	size_t out_len, out_cap;
};

static char buf[BUF];
static int ep;

static void drop(struct peer *p)
{
	close(p->fd);
	free(p->out);
	free(p);
}

static int keep(struct peer *p, const char *data, size_t n)
{
	if (p->out_len + n > p->out_cap) {
		p->out_cap = (p->out_len + n) * 2;
		p->out = realloc(p->out, p->out_cap);
		if (!p->out)
			return -1;
	}
	memcpy(p->out + p->out_len, data, n);
	p->out_len += n;
	return 0;
}

static int answer(struct peer *p, const char *b, size_t n)
{
	ssize_t w;

	if (p->out_len)
		return keep(p, b, n);
	w = write(p->fd, b, n);
	if (w < 0 && errno != EAGAIN)
		return -1;
	if (w < 0)
		w = 0;
	return (size_t)w < n ? keep(p, b + w, n - (size_t)w) : 0;
}

static int readable(struct peer *p)
{
	ssize_t n;

	do {
		n = read(p->fd, buf, BUF);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		if (n == 0 || frames_pass(&p->frames, buf, (size_t)n) < 0 ||
		    answer(p, buf, (size_t)n) < 0)
			return -1;
	} while (n == BUF);
	return 0;
}

static int writable(struct peer *p)
{
	ssize_t w;

	if (!p->out_len)
		return 0;
	w = write(p->fd, p->out, p->out_len);
	if (w < 0)
		return errno == EAGAIN ? 0 : -1;
	memmove(p->out, p->out + w, p->out_len - (size_t)w);
	p->out_len -= (size_t)w;
	return 0;
}

static void accept_one(int l)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP };
	struct peer *p = calloc(1, sizeof *p);

	if (!p)
		abort();
	p->fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (p->fd < 0) {
		free(p);
		return;
	}
	e.data.ptr = p;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, p->fd, &e) < 0)
		drop(p);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event ev[512], e = { .events = EPOLLIN };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = sizeof sa;

	signal(SIGPIPE, SIG_IGN);
	sa.sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (l < 0 || ep < 0 || bind(l, (struct sockaddr *)&sa, sizeof sa) < 0 ||
	    listen(l, 4096) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l, &e) < 0 ||
	    getsockname(l, (struct sockaddr *)&sa, &len) < 0) {
		perror("lean");
		return 1;
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(sa.sin_port));
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, ev, 512, -1);

		for (int i = 0; i < n; i++) {
			struct peer *p = ev[i].data.ptr;

			if (!p)
				accept_one(l);
			else if ((ev[i].events & EPOLLIN && readable(p) < 0) ||
				 (ev[i].events & EPOLLOUT && writable(p) < 0) ||
				 ev[i].events & (EPOLLERR | EPOLLHUP))
				drop(p);
		}
	}
}
