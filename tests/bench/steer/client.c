/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client: connections that come at random, whatever became of those before
 *
 * A reader would get wrong: a request's clock starts when it is due, not when it is sent: a client
 * that is late is no excuse. There is one request under way on a connection at a time: one that is
 * due before the last answer waits for that, and its clock runs.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "steer.h"

#define CONNS    20000 /* descriptors */
#define SHORT_MS 5
#define LATE_MS  300
#define LOST_MS  4000

/* By descriptor. */
static struct conn {
	uint64_t began_ns; /* connect() was called; 0: closed */
	uint64_t due_ns;   /* of the request under way or to come */
	unsigned worker;
	bool greeted, heavy, asked, ending;
} conns[CONNS];

/*
 * Things that come to pass in the order in which they were arranged: each equally long after that.
 */
struct line {
	uint64_t after_ns;
	struct turn {
		int fd;
		uint64_t began_ns; /* the connection that was meant */
		uint64_t at_ns;
	} q[1 << 16];
	unsigned head, tail;
};

static struct line short_ones, long_ones, requests;

static void arrange(struct line *l, int fd, uint64_t now)
{
	l->q[l->tail++ % (1 << 16)] = (struct turn){ fd, conns[fd].began_ns, now + l->after_ns };
}

static bool next_due(struct line *l, uint64_t now, struct turn *ret)
{
	while (l->head != l->tail && l->q[l->head % (1 << 16)].at_ns <= now) {
		*ret = l->q[l->head++ % (1 << 16)];
		if (conns[ret->fd].began_ns == ret->began_ns)
			return true;
	}
	return false;
}

static void note(struct sample *s, double ms)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 4096;
		s->v = realloc(s->v, s->cap * sizeof *s->v);
		if (!s->v)
			die("memory");
	}
	s->v[s->n++] = (float)ms;
}

static float imbalance(void)
{
	unsigned most = 0, sum = 0, n;

	for (unsigned i = 0; i < workers; i++) {
		n = worker[i].live;
		sum += n;
		most = n > most ? n : most;
	}
	return sum ? (float)most * (float)workers / (float)sum : 1;
}

/* ------------------------------------------------------------------ a connection */

static bool chance(double part)
{
	return drand48() < part;
}

static int begin(int ep)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || fd >= CONNS)
		die("too many at once");
	conns[fd] = (struct conn){ .began_ns = now_ns() };
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
		die("connect");
	watch(ep, fd, EPOLLIN | EPOLLET);
	return fd;
}

/* With an RST: nothing stays in TIME_WAIT. */
static void finish(int fd)
{
	struct linger l = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(fd);
	conns[fd].began_ns = 0;
}

static void ask(struct outcome *o, int fd)
{
	struct conn *c = &conns[fd];

	c->asked = true;
	if (send(fd, c->heavy ? "h" : "l", 1, MSG_NOSIGNAL) == 1)
		return;
	o->failed++;
	finish(fd);
}

/* Not with a question open: whom a stall has cut off would not be counted. */
static void end_politely(int fd)
{
	if (conns[fd].asked)
		conns[fd].ending = true;
	else
		finish(fd);
}

static void is_greeted(struct outcome *o, int fd, uint64_t start_ns, uint64_t now)
{
	struct conn *c = &conns[fd];

	c->greeted = true;
	if (c->began_ns >= start_ns) {
		note(&o->accepted, (double)(now - c->began_ns) / 1e6);
		o->connections++;
	}
	if (!chance(mix->long_part)) {
		arrange(&short_ones, fd, now);
		return;
	}
	c->heavy = chance(mix->heavy_part);
	arrange(&long_ones, fd, now);
	if (!mix->request_ms)
		return;
	c->due_ns = now + requests.after_ns;
	arrange(&requests, fd, now);
}

static void is_answered(struct outcome *o, int fd, uint64_t start_ns, uint64_t now)
{
	struct conn *c = &conns[fd];

	if (c->due_ns >= start_ns)
		note(mix->stall_ms && !c->worker ? &o->on_stalled : &o->elsewhere,
		     (double)(now - c->due_ns) / 1e6);
	c->asked = false;
	c->due_ns += requests.after_ns;
	if (c->ending)
		finish(fd);
	else if (c->due_ns <= now)
		ask(o, fd);
}

static void hear(struct outcome *o, int fd, uint64_t start_ns)
{
	struct conn *c = &conns[fd];
	uint64_t now = now_ns();
	char text[8];
	ssize_t n = read(fd, text, sizeof text);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n != 1) {
		o->failed++;
		finish(fd);
		return;
	}
	c->worker = (unsigned)(text[0] - 'A');
	if (!c->greeted)
		is_greeted(o, fd, start_ns, now);
	else
		is_answered(o, fd, start_ns, now);
}

/* ------------------------------------------------------------------ arrivals */

static void what_is_due(struct outcome *o, uint64_t now)
{
	struct turn t;

	while (next_due(&short_ones, now, &t) || next_due(&long_ones, now, &t))
		end_politely(t.fd);
	while (next_due(&requests, now, &t)) {
		if (!conns[t.fd].asked && conns[t.fd].due_ns <= now)
			ask(o, t.fd);
		arrange(&requests, t.fd, t.at_ns);
	}
}

static void lines_init(void)
{
	short_ones.after_ns = SHORT_MS * 1000000ull;
	long_ones.after_ns = mix->long_ms * 1000000ull;
	requests.after_ns = mix->request_ms * 1000000ull;
}

/* After the last arrival those go on who still wait: a tail that is cut off is no tail. */
#define DRAIN_NS 500000000ull

void client_arrivals(struct outcome *o, double rate, double seconds)
{
	uint64_t start_ns = now_ns() + mix->warm_ms * 1000000ull,
		 end_ns = start_ns + (uint64_t)(seconds * 1e9);
	uint64_t next = now_ns(), sample = start_ns, now;
	int ep = epoll_create1(EPOLL_CLOEXEC), n;
	struct epoll_event ev[256];

	lines_init();
	while ((now = now_ns()) < end_ns + DRAIN_NS) {
		for (; next <= now && now < end_ns;
		     next += (uint64_t)(-log(1 - drand48()) / rate * 1e9))
			begin(ep);
		what_is_due(o, now);
		if (now >= sample && now < end_ns) {
			note(&o->ratio, imbalance());
			sample = now + 10000000;
		}
		n = epoll_wait(ep, ev, 256, 0);
		for (int i = 0; i < n; i++)
			hear(o, (int)ev[i].data.u64, start_ns);
	}
	close(ep);
}

/* ------------------------------------------------------------------ bursts */

static bool is_connected(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && !(p.revents & (POLLERR | POLLHUP));
}

/* What has no SYN-ACK by then has lost its SYN, and comes again in a second. */
static void wait_for_late_ones(struct outcome *o, const int *fds)
{
	uint64_t until = now_ns() + LATE_MS * 1000000ull;
	unsigned late;

	do {
		late = 0;
		for (unsigned i = 0; i < mix->burst; i++)
			late += !is_connected(fds[i]);
	} while (late && now_ns() < until);
	note(&o->late, late);
}

/*
 * Who hears nothing for LOST_MS never will: with SYN cookies the kernel drops the ACK when the
 * queue is full, and the client takes itself for connected.
 */
static void hear_from_all(struct outcome *o, int ep, uint64_t start_ns)
{
	struct epoll_event ev[256];
	size_t want = o->connections + o->failed + mix->burst;
	int n;

	while (o->connections + o->failed < want) {
		n = epoll_wait(ep, ev, 256, LOST_MS);
		if (n < 0)
			die("epoll_wait");
		if (n == 0)
			o->failed = want - o->connections;
		for (int i = 0; i < n; i++)
			hear(o, (int)ev[i].data.u64, start_ns);
	}
}

static bool are_all_gone(void)
{
	for (unsigned i = 0; i < workers; i++)
		if (worker[i].live)
			return false;
	return true;
}

void client_bursts(struct outcome *o, unsigned times)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), *fds = calloc(mix->burst, sizeof *fds);

	if (!fds)
		die("memory");
	lines_init();
	while (times--) {
		uint64_t start_ns = now_ns();

		gate_shut();
		for (unsigned i = 0; i < mix->burst; i++)
			fds[i] = begin(ep);
		wait_for_late_ones(o, fds);
		gate_open();
		hear_from_all(o, ep, start_ns);
		note(&o->ratio, imbalance());
		for (unsigned i = 0; i < mix->burst; i++)
			if (conns[fds[i]].began_ns >= start_ns)
				finish(fds[i]);
		while (!are_all_gone())
			poll(NULL, 0, 1);
	}
	free(fds);
	close(ep);
}
