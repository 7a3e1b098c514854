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

#define STREAM_ROUNDS 100u
#define WATCH_US      50000u
#define BATCH_MAX     (STORM_DEPTH_MAX * (sizeof(struct storm_head) + STORM_PAYLOAD_MAX))
#define PATTERN       256u /* after so many bytes a payload repeats itself */

/* One thread with one connection at a time. */
struct client {
	pthread_t thread;
	unsigned i, seed;
	int fd;
	enum storm_server server;
	/* of this connection */
	unsigned char out[BATCH_MAX], in[BATCH_MAX];
	size_t out_n, in_at, in_n;
	/* what the watch looks at; 0: it waits for no answer */
	_Atomic(uint64_t) due_ns;
	_Atomic(unsigned) op;
	/* the watch's */
	uint64_t overdue_ns; /* due then, */
	unsigned waits;      /* and all slept at so many looks since */
};

struct request {
	struct storm_head head;
	const unsigned char *payload;
};

static struct client clients[STORM_CONNS_MAX];
static unsigned char pattern[PATTERN + STORM_PAYLOAD_MAX];
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

	if (!port)
		return false;
	a.sin_port = htons((uint16_t)port);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		storm_fail("socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0)
		return true;
	if (c->server != STORM_MORTAL)
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
		storm_sleep_us(5000);
		if (storm_over)
			c->server = STORM_PLAIN;
	}
	atomic_fetch_add(&storm_counts->dials, 1);
}

static void hang_up(struct client *c)
{
	struct linger reset = { 1, 0 };

	if (draw(c, 4) == 0)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(c->fd);
	c->fd = -1;
	c->out_n = c->in_at = c->in_n = 0;
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

/* What goes out in one piece, with whatever is behind it. */
static void put(struct client *c, const void *p, size_t n)
{
	memcpy(c->out + c->out_n, p, n);
	c->out_n += n;
}

static bool send_put(struct client *c)
{
	size_t n = c->out_n;

	c->out_n = 0;
	return send_all(c, c->out, n);
}

static bool recv_some(struct client *c)
{
	ssize_t k;

	errno = 0;
	k = recv(c->fd, c->in, sizeof c->in, 0);
	if (k <= 0)
		return ended(c, "recv");
	c->in_at = 0;
	c->in_n = (size_t)k;
	return true;
}

/* Return: whether @n bytes came, and are those at @p; *ret_same. */
static bool recv_same(struct client *c, const void *p, size_t n, bool *ret_same)
{
	*ret_same = true;
	while (n) {
		size_t k = c->in_n - c->in_at < n ? c->in_n - c->in_at : n;

		if (!k && !recv_some(c))
			return false;
		*ret_same = *ret_same && memcmp(c->in + c->in_at, p, k) == 0;
		c->in_at += k;
		p = (const char *)p + k;
		n -= k;
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

	q->payload = pattern + draw(c, PATTERN);

	*h = (struct storm_head){ .len = draw(c, STORM_PAYLOAD_MAX + 1) };
	if (dice < storm.stalls) {
		h->op = draw_op(c, last);
		h->us = 1000 + draw(c, storm.stall_ms * 1000);
	} else if (dice < storm.stalls + storm.pauses) {
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
	h->sum = storm_sum(q->payload, h->len);
}

/* Half of it first, and the rest later. */
static bool send_halves(struct client *c, const struct request *q)
{
	size_t half = q->head.len / 2;

	put(c, q->payload, half);
	if (!send_put(c))
		return false;
	storm_sleep_us(draw(c, 1000));
	put(c, q->payload + half, q->head.len - half);
	return true;
}

/* Return: as send_put(); @piecemeal: its head arrives alone, if the server is quick. */
static bool send_request(struct client *c, const struct request *q, bool piecemeal)
{
	put(c, &q->head, sizeof q->head);
	if (piecemeal && !send_put(c))
		return false;
	if (q->head.len > 1 && draw(c, 16) == 0)
		return send_halves(c, q);
	put(c, q->payload, q->head.len);
	return !piecemeal || send_put(c);
}

static bool recv_answer(struct client *c, const struct request *q)
{
	bool head, payload;

	if (!recv_same(c, &q->head, sizeof q->head, &head) ||
	    !recv_same(c, q->payload, q->head.len, &payload))
		return false;
	if (!head || !payload)
		storm_fail("client %u: not the answer to '%s'", c->i, storm_ops[q->head.op].name);
	return true;
}

static bool stream(struct client *c, const struct request *q)
{
	unsigned char bytes[8];
	bool same;

	if (!recv_same(c, STORM_BEGUN, sizeof bytes, &same))
		return false;
	for (uint32_t i = 0; same && i < q->head.us; i++) {
		memset(bytes, (int)i, sizeof bytes);
		if (i % 16 == 0)
			storm_sleep_us(draw(c, 2000));
		wait_from_now(c, STORM_STREAM, 0);
		put(c, bytes, sizeof bytes);
		if (!send_put(c) || !recv_same(c, bytes, sizeof bytes, &same))
			return false;
	}
	if (!same)
		storm_fail("client %u: a stream's bytes differ", c->i);
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
		atomic_fetch_add(&storm_counts->answered, 1);
	}
	return true;
}

static bool send_batch(struct client *c, struct request *q, unsigned n)
{
	bool piecemeal = draw(c, 8) == 0;

	for (unsigned i = 0; i < n; i++) {
		draw_request(c, &q[i], i == n - 1);
		wait_from_now(c, q[i].head.op, 0);
		if (!send_request(c, &q[i], piecemeal))
			return false;
		/* What follows arrives in the middle of it. */
		if (i < n - 1 && q[i].head.us && draw(c, 2)) {
			if (!send_put(c))
				return false;
			storm_sleep_us(q[i].head.us / 2);
		}
	}
	return send_put(c);
}

/* False: the connection is not to be used any more. */
static bool batch(struct client *c)
{
	struct request q[STORM_DEPTH_MAX];
	unsigned n = 1 + draw(c, storm.depth);
	bool well = send_batch(c, q, n) && recv_batch(c, q, n);

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

static void watch_overdue(struct client *c, uint64_t due, bool asleep)
{
	if (c->overdue_ns != due)
		c->waits = 0;
	c->overdue_ns = due;
	c->waits += asleep;
	if (c->waits > storm.patience_ms * 1000u / WATCH_US)
		storm_fail("client %u has had no answer to '%s', and nothing runs", c->i,
			   storm_ops[c->op].name);
}

/* Between two answers somebody has run; and to look at each thread costs more than to answer. */
static bool all_sleep(unsigned long *answered)
{
	unsigned long before = *answered;

	*answered = storm_counts->answered;
	return *answered == before && !others_run();
}

static void *watch_clients(void *arg)
{
	unsigned long answered = 0;

	while (!watch_over) {
		uint64_t now = storm_now_ns();
		bool asleep = all_sleep(&answered);

		for (unsigned i = 0; i < storm.conns; i++) {
			uint64_t due = clients[i].due_ns;

			if (due && due < now)
				watch_overdue(&clients[i], due, asleep);
		}
		storm_sleep_us(WATCH_US);
	}
	return NULL;
}

void storm_clients_start(void)
{
	static unsigned round;

	for (unsigned i = 0; i < sizeof pattern; i++)
		pattern[i] = (unsigned char)(i * 7);
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
