/* SPDX-License-Identifier: BSD-2-Clause */
/* keeper: one epoll loop; a descriptor's number says what is known of it. */
#include "support/keeper.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/steer.h"
#include "support/test.h"
#include "sys/addr.h"

#define KEEPER_FDS  65536
#define KEEPER_CREW 8

enum { KEEPER_NONE, KEEPER_LIVE, KEEPER_SHUT };

static __thread struct loop {
	const char *address;
	int sock, ep, listener;
	struct keeper_count count;
	unsigned char *state;
} loop;

static void keeper_watch(int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(loop.ep, EPOLL_CTL_ADD, fd, &e) < 0)
		child_fail("epoll_ctl: %s", strerror(errno));
}

static int keeper_listen(void)
{
	char full[64];
	struct addr a;
	int one = 1, fd;

	snprintf(full, sizeof full, "%s:%d", loop.address, KEEPER_PORT);
	if (addr_parse("tcp", full, &a) < 0)
		child_fail("no address: %s", full);
	fd = socket(a.ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&a.ss, a.len) < 0 || listen(fd, 4096) < 0)
		child_fail("%s: %s", full, strerror(errno));
	return fd;
}

static void keeper_leave(int fd)
{
	loop.count.live -= loop.state[fd] == KEEPER_LIVE;
	loop.state[fd] = KEEPER_SHUT;
}

static void keeper_close(int fd, int reset)
{
	struct linger l = { .l_onoff = 1 };

	if (reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	keeper_leave(fd);
	loop.state[fd] = KEEPER_NONE;
	close(fd);
}

static void keeper_accept(void)
{
	int fd;

	while ((fd = accept4(loop.listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		if (fd >= KEEPER_FDS)
			child_fail("too many connections");
		loop.state[fd] = KEEPER_LIVE;
		loop.count.accepted++;
		loop.count.live++;
		keeper_watch(fd);
	}
}

static void keeper_serve(int fd)
{
	char what;

	if (recv(fd, &what, 1, 0) != 1)
		keeper_close(fd, 0);
	else if (what == 'c' || what == 'r')
		keeper_close(fd, what == 'r');
	else if (what == 's' && shutdown(fd, SHUT_WR) == 0)
		keeper_leave(fd);
}

static void keeper_obey(char what)
{
	int old = loop.listener;

	switch (what) {
	case 'q':
		child_send(loop.sock, &loop.count, sizeof loop.count);
		return;
	case 'p':
		epoll_ctl(loop.ep, EPOLL_CTL_DEL, loop.listener, NULL);
		break;
	case 'g':
		keeper_watch(loop.listener);
		break;
	case 'm':
		epoll_ctl(loop.ep, EPOLL_CTL_DEL, old, NULL);
		loop.listener = keeper_listen(); /* first: one that is alone resets its queue */
		close(old);
		keeper_watch(loop.listener);
		break;
	default:
		_exit(0);
	}
	child_send(loop.sock, &loop.listener, sizeof loop.listener);
}

static void keeper_turn(int fd)
{
	if (fd == loop.listener)
		keeper_accept();
	else if (fd == loop.sock)
		keeper_obey(child_hear(fd));
	else if (loop.state[fd] != KEEPER_NONE)
		keeper_serve(fd);
}

static void keeper_run(int sock, void *arg)
{
	struct rlimit all = { KEEPER_FDS, KEEPER_FDS };
	struct epoll_event e[64];
	int n;

	setrlimit(RLIMIT_NOFILE, &all);
	loop.state = calloc(KEEPER_FDS, 1);
	loop.address = arg;
	loop.sock = sock;
	loop.ep = epoll_create1(0);
	loop.listener = keeper_listen();
	keeper_watch(loop.listener);
	keeper_watch(sock);
	child_send(sock, &loop.listener, sizeof loop.listener);
	for (;;) {
		n = epoll_wait(loop.ep, e, 64, -1);
		for (int i = 0; i < n; i++)
			keeper_turn(e[i].data.fd);
	}
}

void keeper_start(struct keeper *k, const char *address)
{
	child_start(&k->child, keeper_run, (void *)address);
	child_recv(k->child.sock, &k->listener, sizeof k->listener);
}

/* ------------------------------------------------------------------ threads of one process */

struct crew {
	const char *address;
	unsigned n;
	int sock[KEEPER_CREW][2];
	unsigned next; /* of them to begin */
};

static void *keeper_thread(void *arg)
{
	struct crew *c = arg;

	keeper_run(c->sock[__atomic_fetch_add(&c->next, 1, __ATOMIC_SEQ_CST)][1],
		   (void *)c->address);
	return NULL;
}

static void keeper_crew(int sock, void *arg)
{
	struct crew *c = arg;
	pthread_t t;

	for (unsigned i = 0; i < c->n; i++)
		if (pthread_create(&t, NULL, keeper_thread, c) != 0)
			child_fail("no thread");
	for (;;)
		pause();
}

void keeper_start_threads(struct keeper *k, unsigned n, const char *address)
{
	struct crew c = { .address = address, .n = n };
	struct child all;

	ck_assert_uint_le(n, KEEPER_CREW);
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c.sock[i]), 0);
	child_start(&all, keeper_crew, &c);
	close(all.sock);
	for (unsigned i = 0; i < n; i++) {
		close(c.sock[i][1]);
		k[i].child = (struct child){ all.pid, c.sock[i][0] };
		child_recv(k[i].child.sock, &k[i].listener, sizeof k[i].listener);
	}
}

void keeper_end_threads(struct keeper *k, unsigned n)
{
	keeper_end(&k[0]);
	for (unsigned i = 1; i < n; i++)
		close(k[i].child.sock);
}

void keeper_end(struct keeper *k)
{
	child_say(k->child.sock, 'x');
	child_join(&k->child);
}

struct keeper_count keeper_ask(struct keeper *k)
{
	struct keeper_count n;

	child_say(k->child.sock, 'q');
	child_recv(k->child.sock, &n, sizeof n);
	return n;
}

static void keeper_tell(struct keeper *k, char what)
{
	child_say(k->child.sock, what);
	child_recv(k->child.sock, &k->listener, sizeof k->listener);
}

void keeper_pause(struct keeper *k)
{
	keeper_tell(k, 'p');
}

void keeper_go_on(struct keeper *k)
{
	keeper_tell(k, 'g');
}

void keeper_listen_anew(struct keeper *k)
{
	keeper_tell(k, 'm');
}

/* ------------------------------------------------------------------ its clients */

int keeper_client(const char *address, char what)
{
	int fd = client_connect(address);

	ck_assert_msg(fd >= 0, "%s", strerror(-fd));
	ck_assert_int_eq(send(fd, &what, 1, MSG_NOSIGNAL), 1);
	return fd;
}

void keeper_await_end(int client)
{
	char none;

	await_fd(client, POLLIN);
	ck_assert_int_le(recv(client, &none, 1, 0), 0);
}
