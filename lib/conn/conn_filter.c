/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_filter: a connection whose bytes go through a filter: its handshake, and its last word
 *
 * The filter lies below the stream (filter.h). What is here is about time, fibers and interest. The
 * steps of a handshake are made by reads, on the poller's own stack; a step that takes long is made
 * by a worker, for which no fiber waits. on_connect comes when the handshake is over.
 */
#include <errno.h>
#include <stdlib.h>

#include "conn/conn.h"
#include "fiber/fiber.h"
#include "netpoll/linkbuf.h"
#include "poll/baton.h"
#include "poll/offload.h"

#define HANDSHAKE_MS 10000

struct filter_wait {
	struct park park;
	struct np_conn *c;
};

/* ------------------------------------------------------------------ how it comes and goes */

/* What was read and not consumed is the filter's: it came behind the last plain byte. */
static void filter_take_input(struct filter *f, struct stream *s)
{
	stream_release(s);
	f->below.early = s->in;
	linkbuf_init(&s->in);
	s->held = 0;
	stream_set_filter(s, f);
}

/* Puts one below @c, NEW or OPEN. Return: 0; -EALREADY, -NP_EUNSUPPORTED, -ENOMEM; what it says. */
static int conn_filter_attach(struct np_conn *c, const struct np_filter_maker *m, const char *host)
{
	struct conn_extra *x;
	struct conn_filter *f;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	if (x->filter)
		return -EALREADY;
	if (c->transport == TRANSPORT_FILE)
		return -NP_EUNSUPPORTED;
	f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	r = filter_init(&f->filter, m, c->watch.fd, c->transport == TRANSPORT_TCP, host);
	if (r < 0) {
		free(f);
		return r;
	}
	f->speaks_first = r > 0;
	f->handshake_ms = m->handshake_ms ? m->handshake_ms : HANDSHAKE_MS;
	f->awaits = true;
	x->filter = f;
	c->watch.shallow = false;
	conn_filter_count(c, conn_poller(c));
	return 0;
}

void conn_filter_count(struct np_conn *c, struct poller *p)
{
	struct conn_filter *f = conn_filter_of(c);

	if (f)
		filter_count_in(&f->filter, p ? conn_home_filters(p) : NULL);
}

int conn_filter_prepare(struct np_conn *c)
{
	const struct conn_group *g = c->group;

	if (!g->filter || conn_filter_of(c))
		return 0;
	return conn_filter_attach(c, g->filter, g->filter_host);
}

void conn_filter_free(struct conn_extra *x)
{
	if (!x->filter)
		return;
	filter_fini(&x->filter->filter);
	free(x->filter);
	x->filter = NULL;
}

void *np_conn_filter(const struct np_conn *c, const struct np_filter_ops *ops)
{
	NP_GATE(np_conn_filter(c, ops));

	const struct conn_filter *f = conn_filter_of(c);

	return f && f->filter.ops == ops ? f->filter.it : NULL;
}

/* ------------------------------------------------------------------ the handshake */

/*
 * The next dispatch reads, whether or not the socket has more. An edge that came meanwhile was not
 * looked at: the mark of urgent data may be in front, where a short read does not tell.
 */
static void filter_read_again(struct np_conn *c)
{
	c->watch.ready |= WATCH_IN;
	c->watch.flags |= WATCH_PRI;
	conn_pump(c, PUMP_ROOM);
}

void conn_filter_begin(struct np_conn *c)
{
	struct conn_filter *f = conn_filter_of(c);

	f->awaits = false;
	if (c->io) {
		c->io->forwards = false;           /* the kernel's bytes are the filter's */
		c->io->wanted = conn_is_served(c); /* by its handler: for the first plain byte */
		c->io->call_at = 1;
		filter_take_input(&f->filter, &c->io->stream);
		conn_find_handler(c);
	}
	if (conn_life(c) != CONN_OPEN)
		return;
	if (f->handshake_ms > 0)
		f->until_ms = poller_after_ms(conn_poller(c), f->handshake_ms);
	conn_arm_clock(c);
	if (f->speaks_first || linkbuf_len(&f->filter.below.early))
		filter_read_again(c);
}

/* On the worker. */
static void filter_job_run(void *arg)
{
	struct conn_filter *f = arg;

	f->step = f->filter.ops->handshake(f->filter.it);
}

static void filter_job_over(struct np_conn *c, struct conn_filter *f, int r)
{
	f->working = NULL;
	filter_worked(&f->filter, r);
	conn_later(c);
	if ((r != -EAGAIN || f->filter.asked) && conn_life(c) < CONN_ENDED)
		filter_read_again(c);
	conn_leave(c);
	poller_unhold(conn_poller(c));
	conn_put(c);
}

static void filter_job_done(struct mail *m)
{
	struct conn_filter *f = container_of(m, struct conn_filter, job.done);

	filter_job_over(f->working, f, f->step);
}

/*
 * Nothing here touches the filter until the job has returned. No fiber waits for that, for a fiber
 * stays on its thread, which a handler may keep. Where no worker is to be had the handshake has
 * failed: this thread serves others.
 */
static void filter_ask_worker(struct np_conn *c, struct conn_filter *f)
{
	struct poller *p = conn_poller(c);

	f->filter.state = FILTER_WORKING;
	watch_cant(&c->watch, WATCH_IN);
	f->working = np_conn_ref(c);
	f->job = (struct offload_job){
		.fn = filter_job_run, .arg = f, .done.fn = filter_job_done, .poller = p
	};
	c->inside++;
	poller_hold(p);
	if (offload_begin(poller_offload(p), &f->job) < 0)
		filter_job_over(c, f, -ENOBUFS);
}

static void filter_wake(struct conn_filter *f, int result)
{
	struct filter_wait *w = f->waiter;

	f->waiter = NULL;
	if (w)
		park_wake(&w->park, result);
}

/*
 * A request that came with the peer's last step is here, and no edge will tell. What the step has
 * read said that the socket has no more.
 */
static void filter_read_on(struct np_conn *c, struct conn_filter *f)
{
	if (f->filter.below.odd == FILTER_DRY && !f->filter.asked)
		c->watch.flags |= FILTER_DRY;
	conn_pump(c, PUMP_IN);
	c->watch.flags &= (uint8_t)~FILTER_DRY;
}

/* Output has waited for this; so have on_connect, and a fiber. */
static void filter_is_open(struct np_conn *c, struct conn_filter *f)
{
	f->filter.state = FILTER_OPEN;
	f->until_ms = 0;
	conn_touch(c);
	conn_arm_clock(c);
	filter_wake(f, 0);
	conn_pump(c, PUMP_OUT);
	if (!(c->flags & CONN_CONNECTED) && !conn_is_served(c))
		conn_begin_handlers(c);
	filter_read_on(c, f);
}

void conn_filter_settle(struct np_conn *c)
{
	struct conn_filter *f = conn_filter_of(c);
	bool open = conn_life(c) == CONN_OPEN;

	if (open && f->filter.state == FILTER_WORK)
		filter_ask_worker(c, f);
	else if (open && f->filter.state == FILTER_OPENED)
		filter_is_open(c, f);
	if (f->waiter && conn_read_end(c))
		filter_wake(f, conn_read_end(c));
}

/* ------------------------------------------------------------------ waiting for it */

static bool filter_end_wait(struct park *k, int *why)
{
	struct filter_wait *w = container_of(k, struct filter_wait, park);
	struct conn_filter *f = conn_filter_of(w->c);

	if (*why == -ETIMEDOUT && conn_life(w->c) == CONN_OPEN && !fiber_self())
		conn_pump(w->c, PUMP_IN);
	if (f->waiter != w)
		return false;
	if (f->filter.state == FILTER_OPENED)
		*why = 0;
	else if (conn_read_end(w->c))
		*why = conn_read_end(w->c);
	f->waiter = NULL;
	return true;
}

static int filter_park(struct np_conn *c, struct conn_filter *f, uint64_t until_ms)
{
	struct filter_wait w = { .c = c };
	int r = park_init(&w.park, filter_end_wait, "handshake");

	if (r < 0)
		return r;
	f->waiter = &w;
	return park_wait(&w.park, until_ms);
}

/* A caller that waits no longer ends the handshake: it would go on behind a verb that failed. */
int conn_filter_wait(struct np_conn *c, uint64_t until_ms)
{
	struct conn_filter *f = conn_filter_of(c);
	int r = conn_not_open(c);

	if (r < 0 || f->filter.state == FILTER_OPEN)
		return r;
	c->inside++;
	r = filter_park(c, f, until_ms);
	if (r < 0 && filter_is_new(&f->filter))
		conn_close(c, r);
	conn_leave(c);
	return r;
}

/* It is open, and nobody else reads or waits for output. */
static int filter_is_alone(const struct np_conn *c)
{
	int r = conn_not_open(c);

	if (r == 0 && (c->flags & CONN_PROXIED))
		r = -NP_ENOTOPEN;
	if (r == 0 && (c->owned & (CONN_IN_OWNED | CONN_OUT_OWNED)))
		r = -NP_ECONCURRENT;
	return r;
}

/*
 * Everything plain is out. Others run while that goes out: what they have written since goes out in
 * the clear, too; and one may have begun to read, or this very thing.
 */
static int filter_may_begin(struct np_conn *c)
{
	int r = filter_is_alone(c);

	if (r == 0 && !fiber_self())
		r = -NP_ENOTFIBER;
	if (r < 0)
		return r;
	do {
		r = np_conn_sync(c);
		if (r == 0)
			r = filter_is_alone(c);
	} while (r == 0 && c->io && !stream_is_sent(&c->io->stream));
	return r;
}

int np_conn_start_tls(struct np_conn *c, struct np_tls *tls, const char *host)
{
	NP_GATE(np_conn_start_tls(c, tls, host));

	const struct np_filter_maker *m = (const struct np_filter_maker *)tls;
	int r;

	if (!m)
		return -EINVAL;
	if (conn_filter_of(c))
		return -EALREADY;
	if (conn_life(c) == CONN_NEW)
		return conn_filter_attach(c, m, host);
	r = filter_may_begin(c);
	if (r == 0)
		r = conn_filter_attach(c, m, host);
	if (r < 0)
		return r;
	conn_filter_begin(c);
	conn_pump(c, PUMP_ROOM);
	return conn_filter_wait(c, 0);
}

/* ------------------------------------------------------------------ how it ends */

bool conn_filter_ends(struct np_conn *c)
{
	struct conn_filter *f = conn_filter_of(c);

	if (c->tx_err || filter_shutdown(&f->filter) != -EAGAIN)
		return true;
	watch_cant(&c->watch, WATCH_OUT);
	return watch_want(&c->watch, WATCH_OUT) < 0;
}

/* What the socket says is not the filter's: nothing that is sent then arrives. */
bool conn_filter_has_failed(const struct np_conn *c)
{
	const struct conn_filter *f = conn_filter_of(c);

	return f && f->filter.state == FILTER_FAILED && f->filter.error <= -NP_ECLOSED;
}
