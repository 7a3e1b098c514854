/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_wait: a fiber parked in a verb, and who wakes it
 *
 * The wait lies on the parked fiber's stack and is reachable through io->reader or io->writer
 * until somebody wakes it, exactly once. Waking only queues the fiber: it runs later in this turn.
 */
#include <errno.h>
#include <string.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"

static void wake(struct conn_wait **slot, int result)
{
	struct conn_wait *w = *slot;

	if (!w)
		return;
	*slot = NULL;
	w->result = result;
	timer_disarm(&w->timer);
	poller_ready(conn_poller(w->c), w->fiber);
}

void conn_wake_reader(struct np_conn *c, int result)
{
	if (c->io)
		wake(&c->io->reader, result);
}

void conn_wake_writer(struct np_conn *c, int result)
{
	if (c->io)
		wake(&c->io->writer, result);
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

/* The bytes may have come with the last edge: try once more before calling it late. */
static void read_expired(struct timer *t)
{
	struct conn_wait *w = container_of(t, struct conn_wait, timer);
	struct np_conn *c = w->c;

	if (conn_state(c) == CONN_OPEN && !(c->flags & (CONN_PAUSED | CONN_RX_END)))
		conn_fill(c, POLLER_BUDGET);
	if (reader_has_it(c))
		conn_wake_reader(c, 0);
	else
		conn_wake_reader(c, conn_read_end(c) ? conn_read_end(c) : -NP_EREADTIMEOUT);
}

/* Part of a message may be on the wire: nothing sensible can follow it, so the error sticks. */
static void write_expired(struct timer *t)
{
	struct conn_wait *w = container_of(t, struct conn_wait, timer);
	struct np_conn *c = w->c;
	int r = conn_tx(c);

	if (!c->io->writer)
		return; /* that very attempt made room */
	if (r >= 0) {
		c->tx_err = -NP_EWRITETIMEOUT;
		conn_drop_output(c);
		watch_stop(&c->watch, WATCH_OUT);
	}
	conn_wake_writer(c, c->tx_err);
	conn_later(c);
}

static uint64_t limit_ms(struct np_conn *c, int timeout_ms, uint64_t deadline_ms)
{
	if (deadline_ms)
		return deadline_ms;
	return timeout_ms ? poller_refresh_now(conn_poller(c)) + (uint64_t)timeout_ms : 0;
}

static int park(struct np_conn *c, struct conn_wait **slot, size_t n, uint64_t until_ms,
		void (*expired)(struct timer *))
{
	struct conn_wait w = { .fiber = fiber_self(), .c = c, .n = n };

	if (!w.fiber)
		return -NP_ENOTFIBER;
	timer_init(&w.timer, expired);
	if (until_ms)
		timer_arm(conn_poller(c), &w.timer, until_ms);
	*slot = &w;
	conn_rx_resume(c); /* a reader may have raised the limit */
	conn_enter(c);
	poller_park(conn_poller(c));
	conn_leave(c);
	return w.result;
}

/*
 * conn_wait_input() - park until @n bytes are buffered
 *
 * Does not read the socket: the poller's next dispatch of this connection does, within its
 * budget, so a handler that reads a fast peer in a loop cannot starve the others.
 */
int conn_wait_input(struct np_conn *c, size_t n)
{
	struct conn_io *io;
	int r;

	r = conn_io_get(c, &io);
	if (r < 0)
		return r;
	if (io->reader)
		return -NP_ECONCURRENT;
	while (linkbuf_len(&io->in) < n) {
		if (n > conn_limits(c)->in_max)
			return -NP_ETOOLONG;
		r = conn_read_end(c);
		if (r < 0)
			return r;
		if (io->held - linkbuf_len(&io->in) + n > conn_limits(c)->in_max)
			return -ENOBUFS;
		if (conn_unsent(c) && !(c->watch.want & WATCH_OUT)) {
			r = conn_tx(c); /* what a deferred flush left: the dispatch ends here */
			if (r < 0 && conn_state(c) != CONN_OPEN)
				continue;
		}
		r = park(c, &io->reader, n,
			 limit_ms(c, c->read_timeout_ms, c->extra ? c->extra->read_deadline_ms : 0), read_expired);
		if (r < 0)
			return r;
	}
	return 0;
}

int conn_wait_output(struct np_conn *c, size_t at_most)
{
	struct conn_io *io = c->io;

	if (io->writer)
		return -NP_ECONCURRENT;
	return park(c, &io->writer, at_most,
		    limit_ms(c, c->write_timeout_ms, c->extra ? c->extra->write_deadline_ms : 0), write_expired);
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
