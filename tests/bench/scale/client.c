/* SPDX-License-Identifier: BSD-2-Clause */
/* client: every answer is compared with what was asked. */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "child.h"
#include "server.h"

static char message[MESSAGE];

static int dial(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		die("socket");
	if (connect(fd, (const struct sockaddr *)at, sizeof *at) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static void ask(int fd)
{
	if (send(fd, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
		die("send");
}

static void hear(int fd)
{
	char answer[MESSAGE];

	if (recv(fd, answer, MESSAGE, MSG_WAITALL) != MESSAGE || memcmp(answer, message, MESSAGE))
		die("an answer differs from what was asked");
}

void client_hold(int sock, const void *arg)
{
	int have = 0, wanted;

	for (;;) {
		struct latency l = { 0 };

		child_hear(sock, &wanted, sizeof wanted);
		for (; have < wanted; have++) {
			uint64_t began = now_ns();
			int fd = dial(arg);

			ask(fd);
			hear(fd);
			latency_add(&l, now_ns() - began);
		}
		child_tell(sock, &l, sizeof l);
	}
}

struct flow {
	int fd;
	uint64_t began;
};

static void flow_ask(struct flow *f)
{
	f->began = now_ns();
	ask(f->fd);
}

static void flows_run(int ep, struct flow *flows, int n, int ms, struct latency *l)
{
	uint64_t end = now_ns() + (uint64_t)ms * 1000000;
	struct epoll_event e[64];
	int waits = n;

	for (int i = 0; i < n; i++)
		flow_ask(&flows[i]);
	while (waits) {
		int got = epoll_wait(ep, e, 64, -1);

		for (int i = 0; i < got; i++) {
			struct flow *f = e[i].data.ptr;

			hear(f->fd);
			latency_add(l, now_ns() - f->began);
			if (now_ns() < end)
				flow_ask(f);
			else
				waits--;
		}
	}
}

void client_ask(int sock, const void *arg)
{
	const struct active *a = arg;
	struct flow *flows = calloc((size_t)a->n, sizeof *flows);
	int ep = epoll_create1(EPOLL_CLOEXEC), ms;

	if (!flows || ep < 0)
		die("clients");
	for (int i = 0; i < a->n; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &flows[i] };

		flows[i].fd = dial(&a->at[i % a->servers]);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, flows[i].fd, &e) < 0)
			die("epoll_ctl");
	}
	for (;;) {
		struct latency l = { 0 };

		child_hear(sock, &ms, sizeof ms);
		flows_run(ep, flows, a->n, ms, &l);
		child_tell(sock, &l, sizeof l);
	}
}
