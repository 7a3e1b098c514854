/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_pump: what follows from what a stream did
 *
 * The only place that turns results into interest, wake-ups, sticky errors and states.
 *
 *   stream_read()     while OPEN
 *   AGAIN             an edge will tell
 *   MORE              once more, until the budget is spent: then the watch stays ready, next turn
 *   FULL              in -> FULL: it stands at its limit, or a handler that forwards is at work
 *   LATER             next turn
 *   END               in -> ENDED, the peer has left
 *   NEWS              conn_filter_settle() at the end of the turn, and once more there
 *   BLOCKED           once more when there is room for output
 *   -errno            in -> FAILED, the peer has left
 *
 *   stream_write()
 *   DRAINED           nothing is waited for
 *   SENDS_GONE        likewise, and there is more room for np_conn_send()
 *   AGAIN             an edge will tell
 *   MORE, LATER       next turn
 *   -errno            out -> FAILED, what is left is dropped
 *
 *   stream_discard()  while CLOSING                   while LINGERING
 *   AGAIN             an edge will tell               an edge will tell
 *   MORE, LATER       next turn                       next turn
 *   END               in -> ENDED                     life -> ENDED
 *   -errno            life -> ENDED; what is unsent is lost
 */
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "sys/sock.h"

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

/* How many more bytes may be buffered, where @limit is in_high. */
static inline size_t pump_room(const struct conn_io *io, size_t limit)
{
	if (unlikely(io->reader || io->wanted))
		limit = pump_limit_wanted(io, limit);
	return io->stream.held < limit ? limit - io->stream.held : 0;
}

/* The end is a whole one, though a FIN in front of it was seen before: settle_end_of(). */
static void pump_reads_end(struct np_conn *c)
{
	const struct conn_filter *f = conn_filter_of(c);

	if (f && !filter_takes_nothing(&f->filter) && c->why == -NP_ECUT && !c->rx_err)
		c->why = -NP_EEOF;
}

static slow_path void pump_in_ends(struct np_conn *c, int err)
{
	if (!err)
		pump_reads_end(c);
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

/*
 * A handler that left its input alone is called when more has come. Others may have taken of it
 * since: so the count of what is buffered does not tell.
 */
static slow_path bool pump_tell_passed(struct conn_io *io)
{
	if (io->wanted || io->stream.rx_total == io->passed_at)
		return false;
	io->call_at = 1;
	return true;
}

/* A parked reader learns of its input, or the handler does. */
static void pump_tell(struct np_conn *c)
{
	struct conn_io *io = c->io;
	int end;

	if (!io)
		return;
	if (likely(!io->reader)) {
		if (conn_has_request(c, io) ||
		    (unlikely(io->call_at > 1) && pump_tell_passed(io) && conn_has_request(c, io)))
			conn_serve(c, io);
		return;
	}
	end = conn_read_end(c);
	if (linkbuf_len(&io->stream.in) >= io->reader->n)
		conn_wake(&io->reader, 0);
	else if (end)
		conn_wake(&io->reader, end);
}

/*
 * Input is not read for a while. An edge that said that the peer has left was for pump_read(), as
 * long as that went on; what it leaves unread is for pump_left() now.
 */
static slow_path void pump_reading_stops(struct np_conn *c)
{
	bool was_read = c->watch.want & WATCH_IN;

	watch_stop(&c->watch, WATCH_IN);
	if (was_read && (c->watch.flags & (WATCH_RDHUP | WATCH_HUP | WATCH_ERR))) {
		c->watch.ready |= WATCH_GONE;
		watch_want(&c->watch, WATCH_GONE);
	}
}

/*
 * Input for a handler that forwards stays in the kernel until the handler is called, and then goes
 * into its pipe.
 */
static slow_path int pump_forwards(struct conn_io *io)
{
	if (io->into)
		return stream_fill(&io->stream, io->into);
	if (io->service != CONN_UNSERVED)
		return STREAM_FULL;
	io->call_at = 0;
	return STREAM_LATER;
}

/* What ends the reading. */
static slow_path void pump_read_stopped(struct np_conn *c, int r)
{
	if (r == STREAM_AGAIN) {
		watch_cant(&c->watch, WATCH_IN);
		c->watch.flags &= (uint8_t)~WATCH_PRI; /* the mark is behind us: not before */
	} else if (r == STREAM_FULL) {
		c->in = CONN_IN_FULL;
		pump_reading_stops(c);
	} else if (r == STREAM_NEWS) {
		conn_later(c);
	} else if (r == STREAM_BLOCKED) {
		watch_stop(&c->watch, WATCH_IN); /* pump_out() tries again */
		watch_cant(&c->watch, WATCH_OUT);
		r = watch_want(&c->watch, WATCH_OUT);
		if (r < 0)
			pump_in_ends(c, r);
	} else if (r != STREAM_MORE && r != STREAM_LATER) {
		pump_in_ends(c, r == STREAM_END ? 0 : r);
	}
}

/*
 * One read, where memory_max and the memory there is allow it. Nothing changes where they do not:
 * the watch stays ready, and it is tried again next turn.
 */
static inline int pump_read_once(struct conn_io *io, size_t in_high, size_t budget)
{
	size_t room = pump_room(io, in_high);

	if (unlikely(!room))
		return STREAM_FULL;
	return stream_read(&io->stream, room < budget ? room : budget);
}

/* A handler that waits for bytes gets them, also where it has forwarded others. */
static inline bool pump_is_forwarded(const struct conn_io *io)
{
	return unlikely(io->forwards) && !io->reader;
}

/*
 * What follows where the first read was not all that there is, or somebody minds that bytes came.
 * One fast peer is not to starve the others. What is forwarded has had its one read into the pipe,
 * and what is behind that must not overtake it.
 */
static slow_path int pump_read_on(struct np_conn *c, size_t budget, int r)
{
	struct conn_io *io = c->io;
	bool forwarded = pump_is_forwarded(io);
	size_t came;

	while (r == STREAM_MORE && !forwarded &&
	       (came = io->stream.rx_total - io->read_from) < budget)
		r = pump_read_once(io, c->set->limits.in_high, budget - came);
	if ((c->flags & CONN_MINDED) && io->stream.rx_total != io->read_from) {
		conn_request_came(c);
		conn_moved(c, CONN_IN);
	}
	return r;
}

static void pump_read(struct np_conn *c)
{
	size_t budget = c->group->memory.max ? conn_memory_budget(c, POLLER_BUDGET) : POLLER_BUDGET;
	struct conn_io *io;
	int r;

	if (!budget || (!c->io && conn_io_attach(c) < 0))
		return;
	io = c->io;
	io->stream.odd = c->watch.flags;
	io->read_from = io->stream.rx_total;
	r = pump_is_forwarded(io) ? pump_forwards(io) :
				    pump_read_once(io, c->set->limits.in_high, budget);
	pump_read_stopped(c, pump_read_on(c, budget, r));
}

/*
 * After a close what still comes is read and thrown away, so that close(2) sends no RST. The peer's
 * FIN ends that, and nothing else: a reply may still be on its way to a peer that has only stopped
 * sending.
 */
static slow_path void pump_discard(struct np_conn *c)
{
	size_t n;
	int r;

	if (conn_in_is_over(c) || (!c->io && conn_io_attach(c) < 0))
		return;
	r = stream_discard(&c->io->stream, POLLER_BUDGET, &n);
	if (n)
		conn_retire_raced(c);
	if (r == STREAM_END)
		pump_reads_end(c);
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

static void pump_in(struct np_conn *c)
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

/*
 * Input of a connection whose watch runs, where nothing is out of the ordinary: pump_in() looks at
 * each of these by itself. Return: whether that is so.
 */
static inline bool pump_in_plainly(struct np_conn *c)
{
	struct conn_io *io = c->io;
	int r;

	if (unlikely(!conn_is_plain(c, 0, CONN_MINDED) || io->unusual || c->watch.flags ||
		     c->group->memory.max || io->stream.held))
		return false;
	io->stream.odd = 0;
	io->read_from = io->stream.rx_total;
	r = stream_read(&io->stream, c->set->limits.in_high);
	if (unlikely(r != STREAM_AGAIN))
		pump_read_stopped(c, pump_read_on(c, POLLER_BUDGET, r));
	else
		c->watch.ready &= (uint8_t)~WATCH_IN; /* in no list while its function runs */
	if (likely(r == STREAM_AGAIN && conn_has_enough(io)))
		conn_serve(c, io);
	else
		pump_tell(c);
	return true;
}

/* Interest in input, by the states. */
static void pump_interest(struct np_conn *c)
{
	bool wanted = !conn_in_is_over(c);

	if (conn_life(c) == CONN_NEW || conn_life(c) > CONN_LINGERING)
		return;
	if (conn_life(c) == CONN_OPEN) {
		if (c->in == CONN_IN_FULL && (!c->io || pump_room(c->io, c->set->limits.in_high)))
			c->in = CONN_IN_OPEN;
		wanted = c->in == CONN_IN_OPEN;
	}
	if (wanted)
		watch_want(&c->watch, WATCH_IN);
	else
		pump_reading_stops(c);
}

/*
 * The peer left while nothing is read, because the input is full or paused: what it sent before
 * its FIN may still be wanted, but nobody waits for the bytes of a connection that was reset.
 */
static slow_path void pump_left(struct np_conn *c)
{
	int err = 0;

	watch_cant(&c->watch, WATCH_GONE);
	if (c->io && c->io->forwards && !(c->watch.flags & WATCH_ERR))
		return; /* what it sent goes on first, and the FIN is read behind it */
	if (!(c->watch.want & WATCH_IN) && conn_life(c) == CONN_OPEN && !conn_in_is_over(c)) {
		if (c->watch.flags & WATCH_ERR) {
			sys_getsockopt_int(c->watch.fd, SOL_SOCKET, SO_ERROR, &err);
			pump_in_ends(c, err ? -err : -ECONNRESET);
		}
		c->flags |= CONN_LEFT;
		pump_tell(c); /* with the input full, this is the handler's last call */
	}
	conn_later(c); /* behind a FIN that was read, too, a reset may be the end */
	conn_cancel_left(c);
}

/* ------------------------------------------------------------------ output */

int conn_out_fails(struct np_conn *c, int err)
{
	struct stream *s = c->io ? &c->io->stream : NULL;

	watch_stop(&c->watch, WATCH_OUT);
	if (s && c->io->aside) {
		c->io->aside_error = err; /* somebody may be building behind it */
		stream_end_file(s);       /* which lies on a stack that is left now */
		return err;
	}
	c->out = CONN_OUT_FAILED;
	c->tx_err = (int16_t)err;
	if (!c->why)
		c->why = err;
	if (s) {
		atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)linkbuf_len(&s->sends),
					  memory_order_relaxed);
		if (stream_drop_output(s))
			c->flags |= CONN_CUT;
		conn_wake(&c->io->writer, err);
	}
	conn_later(c);
	return err;
}

/* What the kernel has not taken by now waits in memory: peers that do not read hold that, too. */
static slow_path void pump_write_later(struct np_conn *c, int r)
{
	conn_memory_grew(c->group);
	if (r == STREAM_AGAIN)
		watch_cant(&c->watch, WATCH_OUT);
	else
		c->watch.ready |= WATCH_OUT;
	r = watch_want(&c->watch, WATCH_OUT);
	if (r < 0)
		conn_out_fails(c, r);
}

/* A parked writer waits for room, or for the end of the file behind the output. */
static slow_path void pump_wake_writer(struct conn_io *io)
{
	if (!io->stream.file && stream_unsent(&io->stream) <= io->writer->n)
		conn_wake(&io->writer, 0);
}

/*
 * What follows where somebody minds that bytes went out, or where not all of them did. Return: 0:
 * all of them did.
 */
static slow_path int pump_wrote(struct np_conn *c, int r)
{
	struct conn_io *io = c->io;

	if (io->stream.sends_gone)
		atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)io->stream.sends_gone,
					  memory_order_relaxed);
	io->stream.sends_gone = 0;
	if ((c->flags & CONN_MINDED) && io->stream.tx_total != io->tx_noted)
		conn_moved(c, CONN_OUT);
	io->tx_noted = io->stream.tx_total;
	if (r < 0)
		return conn_out_fails(c, r);
	if (io->writer)
		pump_wake_writer(io);
	if (r != STREAM_DRAINED && r != STREAM_SENDS_GONE) {
		pump_write_later(c, r);
		return r;
	}
	watch_stop(&c->watch, WATCH_OUT);
	return 0;
}

/* @minded: somebody minds that bytes go out. Return: 0: all of them did. */
static inline int pump_write(struct np_conn *c, struct conn_io *io, bool minded)
{
	int r = stream_write(&io->stream);

	return likely(r == STREAM_DRAINED && !minded) ? 0 : pump_wrote(c, r);
}

/* What the kernel is known not to take has to wait for its edge. */
static void pump_flush(struct np_conn *c)
{
	if (!c->io || c->out == CONN_OUT_FAILED || c->io->aside)
		return;
	if (c->watch.want & WATCH_OUT)
		conn_memory_grew(c->group);
	else if (!stream_is_drained(&c->io->stream))
		pump_write(c, c->io, true);
}

static slow_path void pump_out(struct np_conn *c)
{
	if (conn_life(c) > CONN_CLOSING)
		return;
	if (c->io && c->out != CONN_OUT_FAILED)
		pump_write(c, c->io, true);
	if (c->io && c->io->stream.filter)
		pump_interest(c); /* it may have had to write before it could read on */
	if (conn_life(c) == CONN_CLOSING || conn_in_is_over(c) || c->out == CONN_OUT_DRAINING)
		conn_later(c);
	else if (!conn_unsent(c))
		conn_io_shrink(c);
}

/* ------------------------------------------------------------------ the pump */

static slow_path void pump_several(struct np_conn *c, unsigned why)
{
	/* What one of many lacks that was idle is its I/O state, and nothing else as a rule. */
	if (why == PUMP_IN && c->owned == CONN_NO_IO && conn_life(c) == CONN_OPEN &&
	    c->in == CONN_IN_OPEN && !c->group->memory.max && conn_io_attach(c) == 0 &&
	    pump_in_plainly(c))
		return;
	if (c->io && c->io->aside) { /* the rest is done when it is back */
		if (why & PUMP_OUT)
			pump_wrote(c, stream_lend(&c->io->stream));
		return;
	}
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
}

/* Debug builds assert that it is never entered twice: what follows is queued, not called. */
#ifdef NP_DEBUG
#define PUMP_ENTER(c) (conn_assert_owner(c), assert(!(c)->pumping), (void)((c)->pumping = true))
#define PUMP_LEAVE(c) ((void)((c)->pumping = false))
#else
#define PUMP_ENTER(c) ((void)0)
#define PUMP_LEAVE(c) ((void)0)
#endif

int conn_pump(struct np_conn *c, unsigned why)
{
	PUMP_ENTER(c);
	pump_several(c, why);
	PUMP_LEAVE(c);
	return c->tx_err;
}

void conn_event(struct watch *w, unsigned ready)
{
	struct np_conn *c = container_of(w, struct np_conn, watch);

	PUMP_ENTER(c);
	if (unlikely(ready != PUMP_IN || !pump_in_plainly(c)))
		pump_several(c, ready);
	PUMP_LEAVE(c);
}

/* Bytes that go out are noted; or an edge is awaited. */
static slow_path int pump_due_minded(struct np_conn *c, struct conn_io *io)
{
	if (!(c->watch.want & WATCH_OUT))
		return pump_write(c, io, true);
	conn_memory_grew(c->group);
	return STREAM_AGAIN;
}

int conn_pump_due(struct np_conn *c, struct conn_io *io)
{
	int r;

	PUMP_ENTER(c);
	if (unlikely((c->flags & CONN_MINDED) || (c->watch.want & WATCH_OUT)))
		r = pump_due_minded(c, io);
	else
		r = pump_write(c, io, false);
	PUMP_LEAVE(c);
	return r;
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

/* The peer's FIN is noted at the end of the turn it is read in: a verb may tell of it first. */
int conn_why(const struct np_conn *c)
{
	return c->why || conn_life(c) != CONN_OPEN ? c->why : conn_read_end(c);
}

int conn_unwritable(const struct np_conn *c)
{
	if (conn_life(c) != CONN_OPEN)
		return conn_life(c) == CONN_NEW ? -NP_ENOTOPEN : -NP_ECLOSED;
	if (c->tx_err)
		return c->tx_err;
	if (c->out != CONN_OUT_OPEN)
		return -EPIPE;
	return c->owned & CONN_OUT_OWNED ? -NP_ECONCURRENT : 0;
}
