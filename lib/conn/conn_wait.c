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

static void conn_wait_wake(struct conn_wait **slot, int result)
{
	struct conn_wait *w = *slot;

	*slot = NULL;
	if (w)
		park_wake(&w->park, result);
}

void conn_wake_reader(struct np_conn *c, int result)
{
	if (c->io)
		conn_wait_wake(&c->io->reader, result);
}

void conn_wake_writer(struct np_conn *c, int result)
{
	if (c->io)
		conn_wait_wake(&c->io->writer, result);
}

int conn_read_end(const struct np_conn *c)
{
	if (conn_state(c) != CONN_OPEN)
		return c->why && c->why != c->rx_err ? c->why : c->rx_err ? c->rx_err : -NP_ECLOSED;
	if (c->rx_err)
		return c->rx_err;
	return c->flags & CONN_RX_END ? -NP_EEOF : 0;
}

static bool reader_has_it(const struct np_conn *c)
{
	return linkbuf_len(&c->io->in) >= c->io->reader->n;
}

/*
 * The bytes may have come with the last edge, or while the thread was kept: one real read before it
 * is called late. A cancel does not look.
 */
static bool conn_wait_end_read(struct park *k, int *why)
{
	struct conn_wait *w = container_of(k, struct conn_wait, park);
	struct np_conn *c = w->c;

	if (*why == -ETIMEDOUT && conn_state(c) == CONN_OPEN &&
	    !(c->flags & (CONN_PAUSED | CONN_RX_END)))
		conn_fill(c, POLLER_BUDGET);
	if (c->io->reader != w)
		return false;
	if (reader_has_it(c))
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
static int conn_wait_write_timeout(struct np_conn *c)
{
	c->tx_err = -NP_EWRITETIMEOUT;
	conn_drop_output(c);
	watch_stop(&c->watch, WATCH_OUT);
	conn_later(c);
	return c->tx_err;
}

/*
 * The write timeout bounds the time in which the peer takes nothing; a deadline, of either kind,
 * the whole.
 */
static bool conn_wait_write_goes_on(struct np_conn *c, struct conn_wait *w)
{
	uint64_t deadline;
	bool owes;

	if (w->park.by_deadline || (c->extra && c->extra->write_deadline_ms) ||
	    !c->write_timeout_ms)
		return false;
	deadline = conn_ack_deadline(c, w->since_ms, c->write_timeout_ms, &owes);
	if (deadline <= poller_now_ms(conn_poller(c)))
		return false;
	park_set_until(&w->park, conn_ack_look_at(c, deadline));
	return true;
}

static bool conn_wait_end_write(struct park *k, int *why)
{
	struct conn_wait *w = container_of(k, struct conn_wait, park);
	struct np_conn *c = w->c;
	int r = *why == -ETIMEDOUT ? conn_tx(c) : 0;

	if (c->io->writer != w)
		return false; /* that very attempt made room, or failed */
	if (r >= 0 && *why == -ETIMEDOUT && conn_wait_write_goes_on(c, w))
		return false;
	c->io->writer = NULL;
	if (r < 0)
		*why = r;
	else if (*why == -ETIMEDOUT && !k->by_deadline)
		*why = conn_wait_write_timeout(c);
	return true;
}

static uint64_t conn_wait_limit(struct np_conn *c, int timeout_ms, uint64_t deadline_ms)
{
	if (deadline_ms)
		return deadline_ms;
	return timeout_ms ? poller_after_ms(conn_poller(c), timeout_ms) : 0;
}

/* A deadline may be set while the verb waits; the timeout counts from the verb's first wait. */
static uint64_t conn_wait_read_limit(struct np_conn *c, struct conn_limit *l)
{
	if (c->extra && c->extra->read_deadline_ms)
		return c->extra->read_deadline_ms;
	if (!l->ms)
		l->ms = conn_wait_limit(c, c->read_timeout_ms, 0);
	return l->ms;
}

static int conn_wait_park(struct np_conn *c, struct conn_wait **slot, bool *owned, size_t n,
			  size_t room, uint64_t until_ms, park_end_fn end)
{
	struct conn_wait w = {
		.c = c, .n = n, .room = room, .since_ms = poller_now_ms(conn_poller(c))
	};
	int r = park_init(&w.park, end);

	if (r < 0)
		return r;
	*slot = &w;
	*owned = true;     /* also between its wake and its run: what it was woken for is its own */
	conn_rx_resume(c); /* a reader may have raised the limit */
	conn_enter(c);
	r = park_wait(&w.park, until_ms);
	*owned = false;
	conn_leave(c);
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
	if (io->reading)
		return -NP_ECONCURRENT;
	while (linkbuf_len(&io->in) < n) {
		if (n > conn_limits(c)->in_max)
			return -NP_ETOOLONG;
		r = conn_read_end(c);
		if (r < 0)
			return r;
		if (room > conn_limits(c)->in_max)
			room = conn_limits(c)->in_max;
		if (io->held - linkbuf_len(&io->in) + n > conn_limits(c)->in_max)
			return -ENOBUFS;
		if (conn_unsent(c) && !(c->watch.want & WATCH_OUT)) {
			r = conn_tx(c); /* what a deferred flush left: the dispatch ends here */
			if (r < 0 && conn_state(c) != CONN_OPEN)
				continue;
		}
		r = conn_wait_park(c, &io->reader, &io->reading, n, room,
				   conn_wait_read_limit(c, l), conn_wait_end_read);
		if (r < 0)
			return r;
	}
	return 0;
}

int conn_wait_output(struct np_conn *c, size_t at_most)
{
	struct conn_io *io = c->io;

	if (io->writing)
		return -NP_ECONCURRENT;
	return conn_verb_ends(
		c, conn_wait_park(c, &io->writer, &io->writing, at_most, 0,
				  conn_wait_limit(c, c->write_timeout_ms,
						  c->extra ? c->extra->write_deadline_ms : 0),
				  conn_wait_end_write));
}

void conn_deliver(struct np_conn *c)
{
	struct conn_io *io = c->io;

	if (!io)
		return;
	if (io->reader) {
		if (reader_has_it(c))
			conn_wake_reader(c, 0);
		else if (conn_read_end(c))
			conn_wake_reader(c, conn_read_end(c));
		return;
	}
	if (conn_has_request(c))
		conn_serve(c);
}
