/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_wait: a fiber parked in a verb, and what ends its wait
 *
 * The wait lies on the parked fiber's stack and is reachable through io->reader or io->writer
 * until it is ended, once. Waking only queues the fiber: it runs later in this turn.
 */
#include <errno.h>
#include <string.h>

#include "conn/conn.h"
#include "fiber/fiber.h"
#include "netpoll/linkbuf.h"

static bool wait_reader_has_it(const struct np_conn *c)
{
	return conn_len(c) >= c->io->reader->n;
}

/*
 * The bytes may have come with the last edge, or while the thread was kept: one real read before it
 * is called late. A cancel does not look.
 */
static bool wait_end_read(struct park *k, int *why)
{
	struct conn_wait *w = container_of(k, struct conn_wait, park);
	struct np_conn *c = w->c;

	if (*why == -ETIMEDOUT && conn_life(c) == CONN_OPEN && !conn_is_aside(c))
		conn_pump(c, PUMP_IN);
	if (c->io->reader != w)
		return false;
	if (wait_reader_has_it(c))
		*why = 0;
	else if (conn_read_end(c))
		*why = conn_read_end(c);
	else if (*why == -ETIMEDOUT && !k->by_deadline)
		/* the fiber's deadline keeps its own name, and so does an idle connection's end */
		*why = -NP_EREADTIMEOUT;
	c->io->reader = NULL;
	return true;
}

/*
 * A write timeout of the connection's own: part of a message may be on the wire and nothing
 * sensible can follow it, so the error sticks.
 */
static int wait_write_timeout(struct np_conn *c)
{
	return conn_out_fails(c, -NP_EWRITETIMEOUT);
}

/*
 * The write timeout bounds the time in which the peer takes nothing; a deadline, of either kind,
 * the whole.
 */
static bool wait_write_goes_on(struct np_conn *c, struct conn_wait *w)
{
	uint64_t deadline;
	bool owes;

	if (w->park.by_deadline || ((c->flags & CONN_EXTRA) && conn_extra_of(c)->write_deadline_ms))
		return false;
	if (!c->set->write_timeout_ms) { /* it was taken back meanwhile */
		park_set_until(&w->park, 0);
		return true;
	}
	deadline = conn_ack_deadline(c, w->since_ms, c->set->write_timeout_ms, &owes);
	if (deadline <= poller_now_ms(conn_poller(c)))
		return false;
	park_set_until(&w->park, conn_ack_look_at(c, deadline));
	return true;
}

static bool wait_end_write(struct park *k, int *why)
{
	struct conn_wait *w = container_of(k, struct conn_wait, park);
	struct np_conn *c = w->c;
	int r = *why == -ETIMEDOUT ? conn_pump(c, PUMP_OUT) : 0;

	if (c->io->writer != w)
		return false; /* that very attempt made room, or failed */
	if (r >= 0 && *why == -ETIMEDOUT && wait_write_goes_on(c, w))
		return false;
	c->io->writer = NULL;
	if (r < 0)
		*why = r;
	else if (*why == -ETIMEDOUT && !k->by_deadline)
		*why = wait_write_timeout(c);
	return true;
}

static uint64_t wait_limit(struct np_conn *c, int timeout_ms, uint64_t deadline_ms)
{
	if (deadline_ms)
		return deadline_ms;
	return timeout_ms ? poller_after_ms(conn_poller(c), timeout_ms) : 0;
}

/* A deadline may be set while the verb waits; the timeout counts from the verb's first wait. */
static uint64_t wait_read_limit(struct np_conn *c, struct conn_limit *l)
{
	if ((c->flags & CONN_EXTRA) && conn_extra_of(c)->read_deadline_ms)
		return conn_extra_of(c)->read_deadline_ms;
	if (!l->ms)
		l->ms = wait_limit(c, c->set->read_timeout_ms, 0);
	return l->ms;
}

static int wait_park(struct np_conn *c, struct conn_wait **slot, struct conn_wait *w,
		     enum conn_owned owned, uint64_t until_ms, park_end_fn end)
{
	int r = park_init(&w->park, end, end == wait_end_read ? "read" : "write");

	if (r < 0)
		return r;
	w->c = c;
	w->since_ms = poller_now_ms(conn_poller(c));
	*slot = w;
	/* also between its wake and its run: what it was woken for is its own */
	c->owned |= (uint8_t)owned;
	conn_pump(c, PUMP_ROOM); /* a reader may have raised the limit */
	c->inside++;
	r = park_wait(&w->park, until_ms);
	c->owned &= (uint8_t)~owned;
	conn_leave(c);
	return r;
}

/* 0, or why the input cannot come to hold @n bytes more than were read and not released. */
static int wait_fits(const struct np_conn *c, size_t n)
{
	size_t in_max = c->set->limits.in_max;

	if (n > in_max)
		return -NP_ETOOLONG;
	return stream_unreleased(&c->io->stream) + n > in_max ? -ENOBUFS : 0;
}

/* One wait of a reader. */
static int wait_input_once(struct np_conn *c, size_t n, size_t room, struct conn_limit *l)
{
	struct conn_io *io = c->io;
	struct conn_wait w = { .n = n, .room = room };
	int r;

	io->stream.need = n;
	r = wait_park(c, &io->reader, &w, CONN_IN_WAIT, wait_read_limit(c, l), wait_end_read);
	io->stream.need = 0;
	if (io->on_request && io->handler != fiber_self())
		conn_later(c); /* what this fiber leaves is the handler's */
	return r;
}

/*
 * conn_wait_input() - park until @n bytes are buffered
 *
 * Does not read the socket: the poller's next dispatch of this connection does, within its
 * budget, so a handler that reads a fast peer in a loop cannot starve the others.
 */
int conn_wait_input(struct np_conn *c, size_t n, size_t room, struct conn_limit *l)
{
	struct conn_io *io;
	int r;

	r = conn_io_get(c, &io);
	if (r < 0)
		return r;
	if (c->owned & CONN_IN_OWNED)
		return -NP_ECONCURRENT;
	if (room > c->set->limits.in_max)
		room = c->set->limits.in_max;
	while (conn_len(c) < n) {
		r = wait_fits(c, n);
		if (r != -NP_ETOOLONG && conn_read_end(c)) {
			conn_let_go(c); /* what it was kept for may have been read */
			r = conn_read_end(c);
		}
		if (r < 0)
			return r;
		conn_pump(c, PUMP_FLUSH); /* a deferred flush: the dispatch ends here */
		r = conn_life(c) == CONN_OPEN ? wait_input_once(c, n, room, l) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int conn_wait_output(struct np_conn *c, size_t at_most)
{
	struct conn_io *io = c->io;
	struct conn_wait w = { .n = at_most };
	struct conn_extra *x = conn_extra_of(c);
	uint64_t until;

	if (c->owned & CONN_OUT_OWNED)
		return -NP_ECONCURRENT;
	until = wait_limit(c, c->set->write_timeout_ms, x ? x->write_deadline_ms : 0);
	return conn_verb_ends(c,
			      wait_park(c, &io->writer, &w, CONN_OUT_WAIT, until, wait_end_write));
}
