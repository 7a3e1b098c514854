/* SPDX-License-Identifier: BSD-2-Clause */
/* handlers: what a request makes a handler do, and who is beside whom meanwhile. */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "storm.h"

const struct storm_op_info storm_ops[STORM_OP_COUNT] = {
#define STORM_OP(op, name, blocks) { name, blocks },
	STORM_OPS(STORM_OP)
#undef STORM_OP
};

/*
 * What has not given up being alone on its poller touches this without a lock: handlers without
 * NP_MAY_BLOCK between two waits, callbacks. Plain variables, so that TSan sees a second one, too.
 */
static struct canary {
	uint64_t n, same;
} canaries[STORM_POLLERS_MAX] __attribute__((aligned(64)));

/* Whose handler was the last to begin on a poller. */
static _Atomic(pid_t) began[STORM_POLLERS_MAX];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void canary_touch(void)
{
	struct canary *k = &canaries[np_poller_self()];

	if (k->n != k->same)
		storm_fail("two at once on poller %d", np_poller_self());
	k->n++;
	__asm__ volatile("" ::: "memory");
	k->same++;
}

static void compute_us(unsigned us)
{
	uint64_t end = storm_now_ns() + us * 1000ull;

	while (storm_now_ns() < end)
		;
}

static int op_echo(struct np_conn *c, const struct storm_head *h)
{
	return 0;
}

static int op_sleep(struct np_conn *c, const struct storm_head *h)
{
	storm_sleep_us(h->us);
	return 0;
}

static int op_compute(struct np_conn *c, const struct storm_head *h)
{
	compute_us(h->us);
	return 0;
}

/* The verb has to get its turn although others wait for the mutex. */
static int op_hold(struct np_conn *c, const struct storm_head *h)
{
	pthread_mutex_lock(&mutex);
	storm_sleep_us(h->us);
	np_conn_len(c);
	pthread_mutex_unlock(&mutex);
	return 0;
}

static int op_take(struct np_conn *c, const struct storm_head *h)
{
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	return 0;
}

/* More input arrives meanwhile; nobody may put it there while this looks. */
static int op_look(struct np_conn *c, const struct storm_head *h)
{
	struct np_linkbuf *in = np_conn_in(c);
	const void *p;
	size_t n;

	if (!in)
		return -ENOMEM;
	for (int i = 0; i < 20; i++) {
		storm_sleep_us(h->us / 20);
		n = np_linkbuf_len(in);
		if (n && np_linkbuf_peek(in, n < 8 ? n : 8, &p) == 0)
			storm_sum(p, n < 8 ? n : 8);
	}
	return 0;
}

/*
 * What was flushed before it is on its way meanwhile; nobody may send or take away what is built
 * here, from block to block, nor be disturbed by that.
 */
static int op_build(struct np_conn *c, const struct storm_head *h)
{
	static const char bytes[STORM_PAYLOAD_MAX];
	struct np_linkbuf *out = np_conn_out(c);
	int r = out ? 0 : -ENOMEM;

	for (int i = 0; i < 20 && r == 0; i++) {
		storm_sleep_us(h->us / 20);
		r = np_linkbuf_write(out, bytes, i % 4 ? sizeof bytes : 1);
		if (r == 0 && i % 3 == 0)
			r = np_linkbuf_trim(out, np_linkbuf_pending(out) / 2);
	}
	return r < 0 ? r : np_linkbuf_trim(out, 0);
}

struct blocking {
	struct np_conn *c;
	unsigned us;
};

static void block(void *arg)
{
	struct blocking *b = arg;

	storm_sleep_us(b->us / 2);
	np_conn_len(b->c);
	storm_sleep_us(b->us / 2);
}

static int op_blocking(struct np_conn *c, const struct storm_head *h)
{
	return np_blocking(block, &(struct blocking){ c, h->us });
}

static void offloaded(void *arg)
{
	storm_sleep_us(*(unsigned *)arg);
}

static int op_offload(struct np_conn *c, const struct storm_head *h)
{
	unsigned us = h->us;
	int r = np_offload(offloaded, &us);

	return r == -EAGAIN ? 0 : r; /* its queue is full */
}

static int op_park(struct np_conn *c, const struct storm_head *h)
{
	return np_sleep((int)(h->us / 1000));
}

/* Held by the handler and by what is to call back. */
struct told {
	struct np_event *event;
	_Atomic(int) holders;
};

static void told_put(struct told *t)
{
	if (atomic_fetch_sub(&t->holders, 1) > 1)
		return;
	storm_must("np_event_free", np_event_free(&t->event));
	free(t);
}

static void told(void *arg)
{
	struct told *t = arg;

	canary_touch();
	np_event_set(t->event);
	told_put(t);
}

static int told_by_post(struct told *t)
{
	return np_post(NULL, NP_HERE, told, t);
}

static int told_by_timer(struct told *t)
{
	return np_timer_start(1, told, t, NULL);
}

/*
 * Leaves work for the poller, and blocks: the poller may be asleep on another thread then. Without
 * NP_MAY_BLOCK it does not block.
 */
static int tell(struct np_conn *c, const struct storm_head *h, int (*by)(struct told *))
{
	struct told *t = malloc(sizeof *t);
	int r;

	if (!t || np_event_new(&t->event) < 0)
		storm_fail("no memory");
	t->holders = 2;
	storm_sleep_us(h->us / 2);
	r = by(t);
	if (r < 0)
		storm_fail("work for its own poller: %s", np_strerror(r));
	storm_sleep_us(h->us / 2);
	r = np_event_wait(t->event, 0);
	told_put(t);
	return r;
}

static int op_post(struct np_conn *c, const struct storm_head *h)
{
	return tell(c, h, told_by_post);
}

static int op_timer(struct np_conn *c, const struct storm_head *h)
{
	return tell(c, h, told_by_timer);
}

static int task(void *arg)
{
	canary_touch();
	return np_yield();
}

static int op_task(struct np_conn *c, const struct storm_head *h)
{
	struct np_task *t = NULL;
	int r = np_go(NULL, (int)(h->us % storm.pollers), task, NULL, &t);

	return r < 0 ? r : np_join(&t, NULL);
}

static int op_move(struct np_conn *c, const struct storm_head *h)
{
	int r = np_conn_move(c, (int)(h->us % storm.pollers));

	if (r == -EINVAL || r == -NP_EUNSUPPORTED)
		storm_fail("np_conn_move: %s", np_strerror(r));
	return 0;
}

static int op_stream(struct np_conn *c, const struct storm_head *h)
{
	const void *p;
	int r = np_conn_write(c, STORM_BEGUN, 8);

	if (r == 0)
		r = np_conn_flush(c);
	for (uint32_t i = 0; r == 0 && i < h->us; i++) {
		r = np_conn_next(c, 8, &p);
		if (r == 0)
			r = np_conn_write(c, p, 8);
		if (r == 0)
			r = np_conn_flush(c);
		np_conn_release(c);
	}
	return r;
}

static int (*const op_fns[STORM_OP_COUNT])(struct np_conn *, const struct storm_head *) = {
	[STORM_ECHO] = op_echo,   [STORM_SLEEP] = op_sleep,       [STORM_COMPUTE] = op_compute,
	[STORM_HOLD] = op_hold,   [STORM_TAKE] = op_take,         [STORM_LOOK] = op_look,
	[STORM_BUILD] = op_build, [STORM_BLOCKING] = op_blocking, [STORM_OFFLOAD] = op_offload,
	[STORM_PARK] = op_park,   [STORM_POST] = op_post,         [STORM_TIMER] = op_timer,
	[STORM_TASK] = op_task,   [STORM_MOVE] = op_move,         [STORM_STREAM] = op_stream,
	[STORM_CLOSE] = op_echo,
};

static int take(struct np_conn *c, struct storm_head *h, const char **ret_payload)
{
	const void *p;
	int r = np_conn_peek(c, sizeof *h, &p);

	if (r < 0)
		return r;
	memcpy(h, p, sizeof *h);
	if (h->len > STORM_PAYLOAD_MAX || h->op >= STORM_OP_COUNT)
		storm_fail("a head that nobody sent: %u bytes, op %u", h->len, h->op);
	r = np_conn_next(c, sizeof *h + h->len, &p);
	if (r < 0)
		return r;
	*ret_payload = (const char *)p + sizeof *h;
	if (storm_sum(*ret_payload, h->len) != h->sum)
		storm_fail("bytes that nobody sent");
	return 0;
}

static int answer(struct np_conn *c, const struct storm_head *h, const char *payload)
{
	int r = np_conn_write(c, h, sizeof *h);

	if (r == 0 && h->len)
		r = np_conn_write(c, payload, h->len);
	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0 && h->op == STORM_CLOSE)
		r = np_conn_close(c);
	return r;
}

/* glibc says of pthread_self() that it never changes, so a compiler need not ask twice. */
static int handle(struct np_conn *c, bool alone)
{
	struct storm_head h;
	const char *payload;
	pid_t thread = gettid();
	int r = take(c, &h, &payload);

	if (r < 0)
		return r == -NP_EEOF ? 0 : r;
	began[np_poller_self()] = thread;
	if (alone)
		canary_touch();
	atomic_fetch_add(&storm_counts->handled[h.op], 1);
	r = op_fns[h.op](c, &h);
	if (gettid() != thread)
		storm_fail("a fiber has changed its thread");
	if (alone)
		canary_touch();
	if (began[np_poller_self()] != thread)
		atomic_fetch_add(&storm_counts->beside, 1);
	return r < 0 ? r : answer(c, &h, payload);
}

static int plain_request(struct np_conn *c, void *arg)
{
	return handle(c, true);
}

static int flagged_request(struct np_conn *c, void *arg)
{
	return handle(c, false);
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	canary_touch();
	if (arrived)
		atomic_fetch_add(&storm_counts->moves, 1);
}

static void on_close(struct np_conn *c, void *arg)
{
	canary_touch();
}

const struct np_handlers storm_handlers[STORM_SERVERS] = {
	[STORM_PLAIN] = { .sz = sizeof(struct np_handlers),
			  .on_request = plain_request,
			  .on_move = on_move,
			  .on_close = on_close },
	[STORM_FLAGGED] = { .sz = sizeof(struct np_handlers),
			    .on_request = flagged_request,
			    .on_move = on_move,
			    .on_close = on_close,
			    .flags = NP_MAY_BLOCK },
	[STORM_MORTAL] = { .sz = sizeof(struct np_handlers),
			   .on_request = flagged_request,
			   .on_move = on_move,
			   .on_close = on_close,
			   .flags = NP_MAY_BLOCK },
};
