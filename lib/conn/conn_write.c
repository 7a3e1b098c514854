/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_write: the writing verbs. They build in the stream's output; flush submits it. */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "poll/baton.h"

/*
 * Submitted bytes beyond this leave at once, even where more input is waiting: what answers one
 * read in kind goes out in one send.
 */
#define WAIT_MAX POLLER_BUDGET

/* While its handler is left alone a verb of another fiber waits. */
int conn_await_output(struct np_conn *c)
{
	int r = 0;

	while (r == 0 && conn_is_aside(c))
		r = conn_await(c, c->set->write_timeout_ms, -NP_EWRITETIMEOUT);
	return r;
}

slow_path int conn_begin_output(struct np_conn *c)
{
	struct conn_io *io;
	int r = conn_await_output(c);

	if (r == 0)
		r = conn_unwritable(c);
	return conn_verb_ends(c, r < 0 ? r : conn_io_get(c, &io));
}

static inline bool write_is_free(const struct np_conn *c)
{
	return conn_is_writable(c) && !(c->owned & (CONN_OUT_OWNED | CONN_NO_IO));
}

/* Whether the caller may write now. No pointer to a local of the verb leaves it: with one, each
 * verb would carry a stack protector. */
static inline int write_begins(struct np_conn *c)
{
	conn_assert_owner(c);
	return write_is_free(c) ? 0 : conn_begin_output(c);
}

int np_conn_reserve(struct np_conn *c, size_t n, void **ret_p)
{
	NP_GATE(np_conn_reserve(c, n, ret_p));

	int r = write_begins(c);

	if (r == 0)
		r = np_linkbuf_reserve(&c->io->stream.out, n, ret_p);
	if (r == 0) {
		c->io->reserved = n;
		c->io->reserved_at = np_linkbuf_pending(&c->io->stream.out);
	}
	return r;
}

int np_conn_commit(struct np_conn *c, size_t k)
{
	NP_GATE(np_conn_commit(c, k));

	struct conn_io *io;
	int r = write_begins(c);

	if (r < 0)
		return r;
	io = c->io;
	if (k > io->reserved || np_linkbuf_pending(&io->stream.out) != io->reserved_at)
		return -EINVAL;
	r = np_linkbuf_trim(&io->stream.out, io->reserved_at - (io->reserved - k));
	io->reserved = 0;
	return r;
}

int np_conn_trim(struct np_conn *c, size_t n)
{
	NP_GATE(np_conn_trim(c, n));

	int r = write_begins(c);

	if (r < 0)
		return r;
	c->io->reserved = 0;
	return np_linkbuf_trim(&c->io->stream.out, n);
}

size_t np_conn_pending(struct np_conn *c)
{
	NP_GATE(np_conn_pending(c));

	return c->io ? np_linkbuf_pending(&c->io->stream.out) : 0;
}

/* Out of line, so that the common case has no register to save. */
static slow_path int write_later(struct np_conn *c, const void *p, size_t n)
{
	int r = conn_begin_output(c);

	return r < 0 ? r : np_linkbuf_write(&c->io->stream.out, p, n);
}

int np_conn_write(struct np_conn *c, const void *p, size_t n)
{
	NP_GATE(np_conn_write(c, p, n));

	conn_assert_owner(c);
	return likely(write_is_free(c)) ? np_linkbuf_write(&c->io->stream.out, p, n) :
					  write_later(c, p, n);
}

static int write_vprintf(struct np_conn *c, const char *fmt, va_list ap)
{
	NP_GATE(write_vprintf(c, fmt, ap));

	int r = write_begins(c);

	return r < 0 ? r : linkbuf_vprintf(&c->io->stream.out, fmt, ap);
}

int np_conn_printf(struct np_conn *c, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = write_vprintf(c, fmt, ap);
	va_end(ap);
	return r;
}

int np_conn_write_ref(struct np_conn *c, const void *p, size_t n, void (*done)(void *), void *arg)
{
	NP_GATE(np_conn_write_ref(c, p, n, done, arg));

	int r = write_begins(c);

	return r < 0 ? r : np_linkbuf_write_ref(&c->io->stream.out, p, n, done, arg);
}

int np_conn_write_direct(struct np_conn *c, const void *p, size_t n, size_t remain,
			 void (*done)(void *), void *arg)
{
	NP_GATE(np_conn_write_direct(c, p, n, remain, done, arg));

	int r = write_begins(c);

	return r < 0 ? r : np_linkbuf_write_direct(&c->io->stream.out, p, n, remain, done, arg);
}

int np_conn_append(struct np_conn *c, struct np_linkbuf **b)
{
	NP_GATE(np_conn_append(c, b));

	int r = write_begins(c);

	return r < 0 ? r : np_linkbuf_append(&c->io->stream.out, b);
}

struct np_linkbuf *np_conn_out(struct np_conn *c)
{
	NP_GATE(np_conn_out(c));

	return write_begins(c) < 0 ? NULL : &c->io->stream.out;
}

/* Its handler may be left alone in the middle, with what it has flushed. */
static inline bool write_may_block(const struct np_conn *c)
{
	return c->group->handlers->flags & NP_MAY_BLOCK;
}

/*
 * A handler with more input to handle will flush again in a moment: one send for the batch. The end
 * of its dispatch sends; or the end of the turn, where it parks in something that is not this
 * connection; or who takes the poller over from one that blocks: where nobody would, or has
 * already, nothing waits.
 */
static inline bool write_may_wait(const struct np_conn *c, const struct conn_io *io, size_t unsent)
{
	return io->handler && io->handler == fiber_self() && unsent <= WAIT_MAX &&
	       unsent <= c->set->limits.out_high && (!write_may_block(c) || baton_has_relief());
}

/* All that is built is due. Return: how many bytes are, with those from before. */
static inline size_t write_submit(struct conn_io *io)
{
	stream_submit(&io->stream);
	io->reserved = 0;
	return stream_unsent(&io->stream);
}

void conn_submit(struct np_conn *c, struct conn_io *io)
{
	if (write_submit(io) && io->request)
		conn_request_over(c);
}

/* The handler parks. */
static void write_parks(void *conn)
{
	struct np_conn *c = conn;

	conn_put_off_ends(c->io);
	if (conn_unsent(c))
		conn_later(c);
}

/* More of the same batch may follow, as long as nobody has to hear of each reply. */
static slow_path int write_put_off(struct np_conn *c, struct conn_io *io)
{
	size_t high = c->set->limits.out_high;
	bool each = c->set->request_timeout_ms || write_may_block(c);

	io->put_off = true;
	io->may_wait = each ? 0 : high < WAIT_MAX ? high : WAIT_MAX;
	fiber_before_park(io->handler, write_parks);
	if (write_may_block(c))
		stream_mark_due(&io->stream);
	return 0;
}

/* Not all is sent, or it failed: parks while more than @at_most bytes are unsent. */
static slow_path int write_wait(struct np_conn *c, size_t at_most)
{
	if (conn_unsent(c) && write_may_block(c))
		stream_mark_due(&c->io->stream);
	if (c->tx_err < 0 || conn_unsent(c) <= at_most)
		return c->tx_err;
	return conn_wait_output(c, at_most);
}

static slow_path int write_now(struct np_conn *c, struct conn_io *io)
{
	if (unlikely(io->request))
		conn_request_over(c); /* its reply is on the way */
	return likely(!conn_pump_due(c, io)) ? 0 : write_wait(c, c->set->limits.out_high);
}

/* There is more input. */
static slow_path int write_in_batch(struct np_conn *c, struct conn_io *io, size_t unsent)
{
	if (!write_may_wait(c, io, unsent))
		return write_now(c, io);
	if (unlikely(io->request))
		conn_request_over(c);
	return write_put_off(c, io);
}

/* Return: > 0: it is free now; 0: nothing was built; why nothing can be sent. */
static slow_path int write_waits(struct np_conn *c)
{
	int r = conn_await_output(c);

	if (r == 0)
		r = conn_unwritable(c);
	return r == 0 ? write_is_free(c) : conn_verb_ends(c, r);
}

/*
 * Of one that may be written. What one more of a batch adds takes a look and no more. Out of line,
 * since the gate would give it a stack frame.
 */
static __attribute__((noinline)) int write_flush(struct np_conn *c)
{
	struct conn_io *io = c->io;
	size_t unsent;

	unsent = write_submit(io);
	if (!linkbuf_len(&io->stream.in))
		return unsent ? write_now(c, io) : 0;
	return unsent > io->may_wait ? write_in_batch(c, io, unsent) : 0;
}

/* Where there is no I/O state nothing was built. */
static slow_path int write_flush_later(struct np_conn *c)
{
	int r = write_waits(c);

	return r > 0 ? write_flush(c) : r;
}

int np_conn_flush(struct np_conn *c)
{
	NP_GATE(np_conn_flush(c));

	conn_assert_owner(c);
	return likely(write_is_free(c)) ? write_flush(c) : write_flush_later(c);
}

static slow_path int write_say_later(struct np_conn *c, const void *p, size_t n)
{
	int r = write_later(c, p, n);

	return r < 0 ? r : write_flush(c);
}

/* Out of line for the same reason. */
static __attribute__((noinline)) int write_say(struct np_conn *c, const void *p, size_t n)
{
	int r = np_linkbuf_write(&c->io->stream.out, p, n);

	return likely(r == 0) ? write_flush(c) : r;
}

int np_conn_say(struct np_conn *c, const void *p, size_t n)
{
	NP_GATE(np_conn_say(c, p, n));

	conn_assert_owner(c);
	return likely(write_is_free(c)) ? write_say(c, p, n) : write_say_later(c, p, n);
}

int np_conn_sync(struct np_conn *c)
{
	NP_GATE(np_conn_sync(c));

	int r = write_is_free(c) ? 1 : write_waits(c);

	conn_assert_owner(c);
	if (r <= 0)
		return r;
	conn_submit(c, c->io);
	conn_pump(c, PUMP_FLUSH);
	return write_wait(c, 0);
}
