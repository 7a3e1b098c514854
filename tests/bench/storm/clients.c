/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clients: ask, verify, dial anew; and the watch: what is not answered is a fault
 *
 * Not what is late: on a busy machine a thread may wait seconds for its slice. An answer that is
 * overdue is lost if, for the patience of a storm, nothing of the process runs or waits to run.
 * Beside others that go on that shows at the end of a round, when they have ended.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storm.h"

#define DEPTH_MAX     8u
#define STREAM_ROUNDS 200u
#define WATCH_US      50000u

_Atomic(unsigned long) storm_dials;

/* One thread with one connection at a time. */
struct client {
	pthread_t thread;
	unsigned i, seed;
	int fd;
	enum storm_server server;
	/* what the watch looks at; 0: it waits for no answer */
	_Atomic(uint64_t) due_ns;
	_Atomic(unsigned) op;
	/* the watch's */
	uint64_t overdue_ns; /* due then, */
	unsigned waits;      /* and all slept at so many looks since */
};

struct request {
	struct storm_head head;
	unsigned char payload[STORM_PAYLOAD_MAX];
};

static struct client clients[STORM_CONNS_MAX];
static pthread_t watch;
static _Atomic(bool) watch_over;

static unsigned draw(struct client *c, unsigned below)
{
	return (unsigned)rand_r(&c->seed) % below;
}

/* ------------------------------------------------------------------ the connection */

static bool try_dial(struct client *c)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, port = storm_port(c->server);

	a.sin_port = htons((uint16_t)port);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		storm_fail("socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (port && connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0)
		return true;
	if (port && c->server != STORM_MORTAL)
		storm_fail("connect: %s", strerror(errno));
	close(c->fd);
	c->fd = -1;
	return false;
}

/* Mostly to those that may block. */
static void dial(struct client *c)
{
	static const enum storm_server from[] = { STORM_PLAIN, STORM_FLAGGED, STORM_FLAGGED,
						  STORM_MORTAL };

	c->server = from[draw(c, 4)];
	while (!try_dial(c)) {
		storm_sleep_us(1000);
		if (storm_over)
			c->server = STORM_PLAIN;
	}
	atomic_fetch_add(&storm_dials, 1);
}

static void hang_up(struct client *c)
{
	struct linger reset = { 1, 0 };

	if (draw(c, 4) == 0)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(c->fd);
	c->fd = -1;
}

/* False: the server has ended the connection, as one that is being stopped may. */
static bool ended(struct client *c, const char *what)
{
	if (c->server != STORM_MORTAL)
		storm_fail("client %u: %s: %s, in '%s'", c->i, what,
			   errno ? strerror(errno) : "EOF", storm_ops[c->op].name);
	return false;
}

static bool send_all(struct client *c, const void *p, size_t n)
{
	while (n) {
		ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL);

		if (k < 0)
			return ended(c, "send");
		p = (const char *)p + k;
		n -= (size_t)k;
	}
	return true;
}

static bool recv_all(struct client *c, void *p, size_t n)
{
	while (n) {
		ssize_t k;

		errno = 0;
		k = recv(c->fd, p, n, 0);
		if (k <= 0)
			return ended(c, "recv");
		p = (char *)p + k;
		n -= (size_t)k;
	}
	return true;
}

static void wait_from_now(struct client *c, unsigned op, uint64_t takes_us)
{
	c->op = op;
	c->due_ns = storm_now_ns() + takes_us * 1000;
}

/* ------------------------------------------------------------------ requests */

static bool may_be_inside(unsigned op)
{
	return op != STORM_STREAM && op != STORM_CLOSE;
}

static unsigned draw_op(struct client *c, bool last)
{
	unsigned op;

	do
		op = draw(c, STORM_OP_COUNT);
	while ((!last && !may_be_inside(op)) || (c->server == STORM_PLAIN && storm_ops[op].blocks));
	return op;
}

/* Many are quick, so that there is something to be held up; few stall for long. */
static void draw_request(struct client *c, struct request *q, bool last)
{
	unsigned dice = draw(c, 1000);
	struct storm_head *h = &q->head;

	*h = (struct storm_head){ .len = draw(c, STORM_PAYLOAD_MAX + 1) };
	if (dice < storm.stalls) {
		h->op = draw_op(c, last);
		h->us = 1000 + draw(c, storm.stall_ms * 1000);
	} else if (dice < storm.stalls + 60) {
		h->op = draw_op(c, last);
		h->us = draw(c, 300);
	}
	/* What holds up its poller is not for one that is not to. */
	if (c->server == STORM_PLAIN && (h->op == STORM_POST || h->op == STORM_TIMER))
		h->us = 0;
	if (h->op == STORM_STREAM) {
		h->us = draw(c, STREAM_ROUNDS);
		h->len = 0;
	}
	for (unsigned i = 0, at = draw(c, 256); i < h->len; i++)
		q->payload[i] = (unsigned char)(at + i * 7);
	h->sum = storm_sum(q->payload, h->len);
}

static bool send_request(struct client *c, const struct request *q)
{
	size_t half = q->head.len / 2;

	if (!send_all(c, &q->head, sizeof q->head) || !send_all(c, q->payload, half))
		return false;
	if (half && draw(c, 16) == 0)
		storm_sleep_us(draw(c, 1000));
	return send_all(c, q->payload + half, q->head.len - half);
}

static bool recv_answer(struct client *c, const struct request *q)
{
	struct request a;

	if (!recv_all(c, &a.head, sizeof a.head) || !recv_all(c, a.payload, q->head.len))
		return false;
	if (memcmp(&a.head, &q->head, sizeof a.head) || memcmp(a.payload, q->payload, q->head.len))
		storm_fail("client %u: not the answer to '%s'", c->i, storm_ops[q->head.op].name);
	return true;
}

static bool stream(struct client *c, const struct request *q)
{
	unsigned char out[8], in[8];

	if (!recv_all(c, in, sizeof in))
		return false;
	for (uint32_t i = 0; i < q->head.us; i++) {
		memset(out, (int)i, sizeof out);
		if (i % 16 == 0)
			storm_sleep_us(draw(c, 2000));
		wait_from_now(c, STORM_STREAM, 0);
		if (!send_all(c, out, sizeof out) || !recv_all(c, in, sizeof in))
			return false;
		if (memcmp(in, out, sizeof in))
			storm_fail("client %u: a stream's bytes differ", c->i);
	}
	return true;
}

static bool recv_batch(struct client *c, const struct request *q, unsigned n)
{
	uint64_t takes_us = 0;

	for (unsigned i = 0; i < n; i++)
		takes_us += q[i].head.op == STORM_STREAM ? 0 : q[i].head.us;
	for (unsigned i = 0; i < n; i++) {
		wait_from_now(c, q[i].head.op, takes_us);
		if (q[i].head.op == STORM_STREAM && !stream(c, &q[i]))
			return false;
		if (!recv_answer(c, &q[i]))
			return false;
		atomic_fetch_add(&storm_answered, 1);
	}
	return true;
}

/* False: the connection is not to be used any more. */
static bool batch(struct client *c)
{
	struct request q[DEPTH_MAX];
	unsigned n = 1 + draw(c, storm.depth);
	bool well;

	for (unsigned i = 0; i < n; i++) {
		draw_request(c, &q[i], i == n - 1);
		wait_from_now(c, q[i].head.op, 0);
		if (!send_request(c, &q[i]))
			return false;
		/* What follows arrives in the middle of it. */
		if (i < n - 1 && q[i].head.us && draw(c, 2))
			storm_sleep_us(q[i].head.us / 2);
	}
	well = recv_batch(c, q, n);
	c->due_ns = 0;
	return well && q[n - 1].head.op != STORM_CLOSE && draw(c, 200);
}

static void *client(void *arg)
{
	struct client *c = arg;

	dial(c);
	while (!storm_over) {
		if (!batch(c)) {
			c->due_ns = 0;
			hang_up(c);
			dial(c);
		}
		if (storm.gap_us)
			storm_sleep_us(draw(c, storm.gap_us));
	}
	hang_up(c);
	return NULL;
}

/* ------------------------------------------------------------------ the watch */

static bool thread_runs(const char *id)
{
	char path[300], state = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%s/stat", id);
	f = fopen(path, "r");
	if (!f)
		return false; /* . and .., or gone meanwhile */
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'R';
	fclose(f);
	return state == 'R' && atoi(id) != gettid();
}

/* Whether a thread other than this one runs, or waits for a CPU. */
static bool others_run(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	bool run = !d;

	while (!run && (e = readdir(d)))
		run = thread_runs(e->d_name);
	if (d)
		closedir(d);
	return run;
}

bool storm_goes_on(void)
{
	for (unsigned us = 0; us < storm.patience_ms * 1000u; us += WATCH_US) {
		if (others_run())
			return true;
		storm_sleep_us(WATCH_US);
	}
	return false;
}

static void watch_overdue(struct client *c, uint64_t due)
{
	if (c->overdue_ns != due)
		c->waits = 0;
	c->overdue_ns = due;
	c->waits += !others_run();
	if (c->waits > storm.patience_ms * 1000u / WATCH_US)
		storm_fail("client %u has had no answer to '%s', and nothing runs", c->i,
			   storm_ops[c->op].name);
}

static void *watch_clients(void *arg)
{
	while (!watch_over) {
		uint64_t now = storm_now_ns();

		for (unsigned i = 0; i < storm.conns; i++) {
			uint64_t due = clients[i].due_ns;

			if (due && due < now)
				watch_overdue(&clients[i], due);
		}
		storm_sleep_us(WATCH_US);
	}
	return NULL;
}

void storm_clients_start(void)
{
	static unsigned round;

	watch_over = false;
	round++;
	for (unsigned i = 0; i < storm.conns; i++) {
		clients[i] = (struct client){ .i = i,
					      .fd = -1,
					      .seed = storm.seed + round * 7919 + i * 31 };
		storm_must("a thread",
			   -pthread_create(&clients[i].thread, NULL, client, &clients[i]));
	}
	storm_must("a thread", -pthread_create(&watch, NULL, watch_clients, NULL));
}

void storm_clients_join(void)
{
	for (unsigned i = 0; i < storm.conns; i++)
		pthread_join(clients[i].thread, NULL);
	watch_over = true;
	pthread_join(watch, NULL);
}
