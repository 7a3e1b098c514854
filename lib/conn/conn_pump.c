/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_pump: what follows from what a stream did
 *
 * The only place that turns results into interest, wake-ups, sticky errors and states.
 *
 *   stream_read()     while OPEN
 *   AGAIN             an edge will tell
 *   MORE              the watch stays ready: next turn
 *   FULL              in -> FULL, nothing is read until there is room
 *   END               in -> ENDED, the peer has left
 *   -errno            in -> FAILED, the peer has left
 *
 *   stream_write()
 *   DRAINED           the watch is done; FIN follows where it is due
 *   AGAIN             an edge will tell
 *   MORE              the watch stays ready: next turn
 *   -errno            out -> FAILED, what is left is dropped
 *
 *   stream_discard()  while CLOSING                   while LINGERING
 *   AGAIN             an edge will tell               an edge will tell
 *   MORE              next turn                       next turn
 *   END               in -> ENDED                     life -> ENDED
 *   -errno            life -> ENDED; what is unsent is lost
 */
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "sys/sock.h"

#define PUMP_WRITE_BUDGET ((size_t)POLLER_BUDGET * 4)
#define slow_path         __attribute__((noinline))

/* ------------------------------------------------------------------ input */

/*
 * A parked reader, or a handler that said np_conn_want(), may need more than in_high. Bytes read
 * and not released count, but a length that was read just before must not make its own body
 * impossible: they come on top of what is waited for, and conn_wait_input() bounds the sum.
 */
static slow_path size_t pump_limit_wanted(const struct conn_io *io, size_t limit)
{
	size_t room = io->reader ? io->reader->room : io->call_at;
	size_t wanted = stream_unreleased(&io->stream) + room;

	return wanted > limit ? wanted : limit;
}

/* How many more bytes may be buffered. */
static inline size_t pump_room(const struct np_conn *c)
{
	const struct conn_io *io = c->io;
	size_t limit = conn_limits(c)->in_high;

	if (io->reader || io->wanted)
		limit = pump_limit_wanted(io, limit);
	return io->stream.held < limit ? limit - io->stream.held : 0;
}

static slow_path void pump_in_ends(struct np_conn *c, int err)
{
	c->in = err ? CONN_IN_FAILED : CONN_IN_ENDED;
	c->flags |= CONN_LEFT;
	if (err && !c->rx_err)
		c->rx_err = (int16_t)err;
	if (err && !c->why)
		c->why = err;
	watch_stop(&c->watch, WATCH_IN);
	conn_cancel_left(c);
	conn_later(c); /* on_disconnect, and perhaps the end */
}

/* Who waits for input learns of it: a parked reader, or the handler. */
static void pump_tell(struct np_conn *c)
{
	struct conn_io *io = c->io;
	int end;

	if (!io)
		return;
	if (!io->reader) {
		if (conn_has_request(c))
			conn_serve(c);
		return;
	}
	end = conn_read_end(c);
	if (linkbuf_len(&io->stream.in) >= io->reader->n)
		conn_wake(&io->reader, 0);
	else if (end)
		conn_wake(&io->reader, end);
}

static void pump_read(struct np_conn *c)
{
	size_t budget = POLLER_BUDGET, before;
	struct stream *s;
	int r;

	if (c->group->memory.max && !(budget = conn_memory_budget(c, budget))) {
		conn_touch(c); /* it is not the peer that is idle; the watch stays ready */
		return;
	}
	if (!c->io && conn_io_attach(c) < 0)
		return; /* the bytes wait in the kernel until memory is to be had again */
	s = &c->io->stream;
	/*
	 * The last bytes and the FIN can arrive in one edge, and urgent data cuts reads short: then
	 * only 0 or EAGAIN says that nothing is left.
	 */
	s->trusted = s->transport->short_is_all && !c->watch.flags;
	before = s->rx_total;
	r = stream_read(s, pump_room(c), budget);
	if (s->rx_total != before) {
		conn_request_came(c);
		conn_moved(c, CONN_IN);
	}
	if (r == STREAM_AGAIN) {
		watch_cant(&c->watch, WATCH_IN);
		c->watch.flags &= (uint8_t)~WATCH_PRI; /* the mark is behind us: not before */
	} else if (r == STREAM_FULL) {
		c->in = CONN_IN_FULL;
		watch_stop(&c->watch, WATCH_IN);
	} else if (r != STREAM_MORE) {
		pump_in_ends(c, r == STREAM_END ? 0 : r);
	}
}

/*
 * After a close what still comes is read and thrown away, so that close(2) sends no RST. The peer's
 * FIN ends that, and nothing else: a reply may still be on its way to a peer that has only stopped
 * sending.
 */
static void pump_discard(struct np_conn *c)
{
	int r;

	if (conn_in_is_over(c) || (!c->io && conn_io_attach(c) < 0))
		return;
	r = stream_discard(&c->io->stream, POLLER_BUDGET);
	if (r == STREAM_AGAIN) {
		watch_cant(&c->watch, WATCH_IN);
	} else if (r == STREAM_END && conn_life(c) == CONN_CLOSING) {
		c->in = CONN_IN_ENDED;
		watch_stop(&c->watch, WATCH_IN);
		conn_later(c);
	} else if (r == STREAM_END || r < 0) {
		if (r < 0 && conn_unsent(c))
			conn_lost(c, r);
		conn_end(c, 0);
	}
}

static inline void pump_in(struct np_conn *c)
{
	if (conn_life(c) == CONN_OPEN) {
		if (c->in <= CONN_IN_FULL)
			pump_read(c);
		pump_tell(c);
	} else if (conn_life(c) == CONN_CLOSING || conn_life(c) == CONN_LINGERING) {
		pump_discard(c);
	} else {
		watch_stop(&c->watch, WATCH_IN | WATCH_OUT | WATCH_GONE);
	}
}

/* Interest in input, by the states. */
static void pump_interest(struct np_conn *c)
{
	bool wanted = !conn_in_is_over(c);

	if (conn_life(c) == CONN_NEW || conn_life(c) > CONN_LINGERING)
		return;
	if (conn_life(c) == CONN_OPEN) {
		if (c->in == CONN_IN_FULL && (!c->io || pump_room(c)))
			c->in = CONN_IN_OPEN;
		wanted = c->in == CONN_IN_OPEN;
	}
	if (wanted)
		watch_want(&c->watch, WATCH_IN);
	else
		watch_stop(&c->watch, WATCH_IN);
}

/*
 * The peer left while nothing is read, because the input is full or paused: what it sent before
 * its FIN may still be wanted, but nobody waits for the bytes of a connection that was reset.
 */
static slow_path void pump_left(struct np_conn *c)
{
	int err = 0;

	watch_cant(&c->watch, WATCH_GONE);
	if (!(c->watch.want & WATCH_IN) && conn_life(c) == CONN_OPEN && !conn_in_is_over(c)) {
		if (c->watch.flags & WATCH_ERR) {
			sys_getsockopt_int(c->watch.fd, SOL_SOCKET, SO_ERROR, &err);
			pump_in_ends(c, err ? -err : -ECONNRESET);
		}
		c->flags |= CONN_LEFT;
		pump_tell(c); /* with the input full, this is the handler's last call */
		conn_later(c);
	}
	conn_cancel_left(c);
}

/* ------------------------------------------------------------------ output */

static void pump_drop_output(struct np_conn *c)
{
	struct stream *s = &c->io->stream;

	atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)linkbuf_len(&s->sends),
				  memory_order_relaxed);
	if (stream_drop_output(s))
		c->flags |= CONN_CUT;
}

int conn_out_fails(struct np_conn *c, int err)
{
	c->out = CONN_OUT_FAILED;
	c->tx_err = (int16_t)err;
	if (!c->why)
		c->why = err;
	watch_stop(&c->watch, WATCH_OUT);
	if (c->io) {
		pump_drop_output(c);
		conn_wake(&c->io->writer, err);
	}
	conn_later(c);
	return err;
}

static slow_path int pump_write_later(struct np_conn *c, int r)
{
	if (r == STREAM_AGAIN)
		watch_cant(&c->watch, WATCH_OUT);
	else
		c->watch.ready |= WATCH_OUT;
	r = watch_want(&c->watch, WATCH_OUT);
	return r < 0 ? conn_out_fails(c, r) : 0;
}

/* A parked writer waits for room, or for the end of the file behind the output. */
static slow_path void pump_wake_writer(struct conn_io *io)
{
	if (!io->stream.file && stream_unsent(&io->stream) <= io->writer->n)
		conn_wake(&io->writer, 0);
}

static int pump_write(struct np_conn *c)
{
	struct stream *s = &c->io->stream;
	size_t sends = linkbuf_len(&s->sends);
	uint64_t before = s->tx_total;
	int r = stream_write(s, PUMP_WRITE_BUDGET);

	if (sends)
		atomic_fetch_sub_explicit(&c->sendq_bytes,
					  (uint32_t)(sends - linkbuf_len(&s->sends)),
					  memory_order_relaxed);
	if (s->tx_total != before)
		conn_moved(c, CONN_OUT);
	if (r < 0)
		return conn_out_fails(c, r);
	if (c->io->writer)
		pump_wake_writer(c->io);
	if (r != STREAM_DRAINED)
		return pump_write_later(c, r);
	if (c->watch.want & WATCH_OUT)
		watch_stop(&c->watch, WATCH_OUT);
	return 0;
}

/* What the kernel is known not to take has to wait for its edge. */
static inline int pump_flush(struct np_conn *c)
{
	if (!c->io || c->out == CONN_OUT_FAILED || (c->watch.want & WATCH_OUT))
		return c->tx_err;
	return stream_is_drained(&c->io->stream) ? 0 : pump_write(c);
}

static slow_path void pump_out(struct np_conn *c)
{
	if (conn_life(c) > CONN_CLOSING)
		return;
	if (c->io && c->out != CONN_OUT_FAILED)
		pump_write(c);
	if (conn_life(c) == CONN_CLOSING || conn_in_is_over(c) || c->out == CONN_OUT_DRAINING)
		conn_later(c);
	else if (!conn_unsent(c))
		conn_io_shrink(c);
}

static void pump_send_fin(struct np_conn *c)
{
	c->out = CONN_OUT_SHUT;
	if (c->transport == TRANSPORT_FILE)
		conn_end(c, 0);
	else if (sys_shutdown(c->watch.fd, SHUT_WR) < 0 && conn_life(c) > CONN_OPEN)
		conn_end(c, 0); /* ENOTCONN: the peer's RST was first */
}

/* ------------------------------------------------------------------ the end of a turn */

/* The peer has left behind a full input of which the handler takes nothing, though it was called
 * once more. */
static bool pump_input_is_refused(const struct np_conn *c)
{
	return (c->flags & CONN_LEFT) && c->in == CONN_IN_FULL && c->io && c->io->end_handled;
}

/* What follows from the peer's leaving, and from shutdown_write, while the connection is open. */
static void pump_settle_open(struct np_conn *c)
{
	conn_take_sends(c);
	pump_flush(c);
	/* After a failed send a FIN would tell the peer that it has everything. */
	if (c->out == CONN_OUT_DRAINING && !conn_unsent(c))
		pump_send_fin(c);
	if (conn_life(c) != CONN_OPEN || conn_is_served(c) || c->inside || conn_has_request(c))
		return;
	if (!conn_in_is_over(c)) {
		if ((c->group->retiring || pump_input_is_refused(c)) && !c->holds)
			conn_close(c, 0);
		return;
	}
	if (c->rx_err || c->tx_err)
		conn_end(c, c->why);
	else if (!conn_unsent(c) && !c->holds &&
		 (!(c->flags & CONN_HALF_OPEN) || c->out == CONN_OUT_SHUT))
		conn_end(c, -NP_EEOF);
}

/* NP_NOW: what the kernel has not taken by now is lost; what it has, it delivers. */
static void pump_end_now(struct np_conn *c)
{
	if (conn_unsent(c))
		conn_lost(c, -NP_EWRITETIMEOUT);
	else
		pump_discard(c);
	conn_end(c, 0);
}

static void pump_settle_closing(struct np_conn *c)
{
	bool now = c->set->linger_ms == NP_NOW;

	/*
	 * From here on input is thrown away, paused or full as it may have been: a peer that cannot
	 * send may not read either, and what is unread at close(2) makes the kernel send RST.
	 */
	pump_interest(c);
	if (conn_unsent(c))
		pump_write(c);
	if (conn_unsent(c)) { /* the watch goes on, the linger runs */
		if (now)
			pump_end_now(c);
		return;
	}
	if (c->tx_err || conn_in_is_over(c)) {
		conn_end(c, 0);
		return;
	}
	if (c->out != CONN_OUT_SHUT)
		pump_send_fin(c);
	if (conn_life(c) != CONN_CLOSING)
		return;
	conn_set_life(c, CONN_LINGERING);
	if (now) {
		pump_end_now(c);
		return;
	}
	conn_arm_linger(c);
}

static slow_path void pump_settle(struct np_conn *c)
{
	if (conn_life(c) == CONN_OPEN)
		pump_settle_open(c);
	if (conn_life(c) == CONN_CLOSING)
		pump_settle_closing(c);
	else if (conn_life(c) == CONN_LINGERING && c->set->linger_ms == NP_NOW)
		conn_end(c, 0); /* set while it lingered */
}

/* ------------------------------------------------------------------ the pump */

/* Debug builds assert that it is never entered twice: what follows is queued, not called. */
static inline void pump_begins(struct np_conn *c)
{
#ifdef NP_DEBUG
	assert(!c->pumping);
	c->pumping = true;
#endif
}

static inline void pump_ends(struct np_conn *c)
{
#ifdef NP_DEBUG
	c->pumping = false;
#endif
}

int conn_pump(struct np_conn *c, unsigned why)
{
	conn_assert_owner(c);
	pump_begins(c);
	if (why & PUMP_LEFT)
		pump_left(c);
	if (why & PUMP_OUT)
		pump_out(c);
	if (why & PUMP_IN)
		pump_in(c);
	if (why & PUMP_FLUSH)
		pump_flush(c);
	if (why & PUMP_ROOM)
		pump_interest(c);
	if (why & PUMP_TELL)
		pump_tell(c);
	if (why & PUMP_SETTLE)
		pump_settle(c);
	pump_ends(c);
	return c->tx_err;
}

/* The queue holds a reference: whatever happens until then, conn_settle() finds the memory. */
void conn_later(struct np_conn *c)
{
	conn_assert_owner(c);
	if (c->flags & CONN_LATER)
		return;
	c->flags |= CONN_LATER;
	np_conn_ref(c);
	poller_defer(conn_poller(c), &c->later);
}

void conn_leave(struct np_conn *c)
{
	c->inside--;
	if (!c->inside && conn_life(c) == CONN_ENDED)
		conn_later(c);
}

/* ------------------------------------------------------------------ what verbs return */

int conn_read_end(const struct np_conn *c)
{
	if (conn_life(c) != CONN_OPEN)
		return c->why && c->why != c->rx_err ? c->why : c->rx_err ? c->rx_err : -NP_ECLOSED;
	if (c->rx_err)
		return c->rx_err;
	return conn_in_is_over(c) ? -NP_EEOF : 0;
}

int conn_not_open(const struct np_conn *c)
{
	if (conn_life(c) == CONN_OPEN)
		return 0;
	return conn_life(c) == CONN_NEW ? -NP_ENOTOPEN : conn_read_end(c);
}

int conn_unwritable(const struct np_conn *c)
{
	if (conn_life(c) != CONN_OPEN)
		return conn_life(c) == CONN_NEW ? -NP_ENOTOPEN : -NP_ECLOSED;
	if (c->tx_err)
		return c->tx_err;
	if (c->out != CONN_OUT_OPEN)
		return -EPIPE;
	return c->io && c->io->writing ? -NP_ECONCURRENT : 0;
}
