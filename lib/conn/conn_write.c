/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_write: the writing verbs. They build in io->out; flush submits it. */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"

/* Submitted bytes beyond this leave at once, even where more input is waiting. */
#define DEFER_MAX (64u * 1024)

int conn_unwritable(const struct np_conn *c)
{
	if (conn_state(c) != CONN_OPEN)
		return conn_state(c) == CONN_NEW ? -NP_ENOTOPEN : -NP_ECLOSED;
	if (c->tx_err)
		return c->tx_err;
	if (c->flags & CONN_WR_SHUT)
		return -EPIPE;
	return c->io && c->io->writing ? -NP_ECONCURRENT : 0;
}

/* Attaches the output. Return: 0; or why nothing can be written, which is told the exchange. */
static __attribute__((noinline)) int writable_slow(struct np_conn *c)
{
	struct conn_io *io;
	int r = conn_unwritable(c);

	return conn_verb_ends(c, r < 0 ? r : conn_io_get(c, &io));
}

static inline bool can_write(const struct np_conn *c)
{
	return c->io && conn_state(c) <= CONN_OPEN && !c->tx_err && !(c->flags & CONN_WR_SHUT) &&
	       !c->io->writing;
}

/*
 * Whether the caller may write now, to c->io->out. No pointer to a local of the verb leaves it:
 * with one, each verb would carry a stack protector.
 */
static inline int writable(struct np_conn *c)
{
	conn_assert_owner(c);
	return can_write(c) ? 0 : writable_slow(c);
}

int np_conn_reserve(struct np_conn *c, size_t n, void **ret_p)
{
	int r = writable(c);

	if (r == 0)
		r = np_linkbuf_reserve(&c->io->out, n, ret_p);
	if (r == 0) {
		c->io->reserved = n;
		c->io->reserved_at = np_linkbuf_pending(&c->io->out);
	}
	return r;
}

int np_conn_commit(struct np_conn *c, size_t k)
{
	struct conn_io *io;
	int r = writable(c);

	if (r < 0)
		return r;
	io = c->io;
	if (k > io->reserved || np_linkbuf_pending(&io->out) != io->reserved_at)
		return -EINVAL;
	r = np_linkbuf_trim(&io->out, io->reserved_at - (io->reserved - k));
	io->reserved = 0;
	return r;
}

int np_conn_trim(struct np_conn *c, size_t n)
{
	int r = writable(c);

	if (r < 0)
		return r;
	c->io->reserved = 0;
	return np_linkbuf_trim(&c->io->out, n);
}

size_t np_conn_pending(struct np_conn *c)
{
	return c->io ? np_linkbuf_pending(&c->io->out) : 0;
}

int np_conn_write(struct np_conn *c, const void *p, size_t n)
{
	int r = writable(c);

	return r < 0 ? r : np_linkbuf_write(&c->io->out, p, n);
}

int np_conn_printf(struct np_conn *c, const char *fmt, ...)
{
	int r = writable(c);
	va_list ap;

	if (r < 0)
		return r;
	va_start(ap, fmt);
	r = linkbuf_vprintf(&c->io->out, fmt, ap);
	va_end(ap);
	return r;
}

int np_conn_write_ref(struct np_conn *c, const void *p, size_t n, void (*done)(void *), void *arg)
{
	int r = writable(c);

	return r < 0 ? r : np_linkbuf_write_ref(&c->io->out, p, n, done, arg);
}

int np_conn_write_direct(struct np_conn *c, const void *p, size_t n, size_t remain,
			 void (*done)(void *), void *arg)
{
	int r = writable(c);

	return r < 0 ? r : np_linkbuf_write_direct(&c->io->out, p, n, remain, done, arg);
}

int np_conn_append(struct np_conn *c, struct np_linkbuf **b)
{
	int r = writable(c);

	return r < 0 ? r : np_linkbuf_append(&c->io->out, b);
}

struct np_linkbuf *np_conn_out(struct np_conn *c)
{
	return writable(c) < 0 ? NULL : &c->io->out;
}

/*
 * A handler with more input to handle will flush again in a moment: one send for the batch. The
 * end of its dispatch sends; conn_settle() at the end of the turn is the net below, for a handler
 * that parks in something that is not this connection.
 */
static bool may_defer(const struct np_conn *c)
{
	const struct conn_io *io = c->io;

	return io->handler && io->handler == fiber_self() && linkbuf_len(&io->in) &&
	       conn_unsent(c) < DEFER_MAX;
}

static inline int submit(struct np_conn *c)
{
	int r = writable(c);

	if (r < 0)
		return r;
	linkbuf_flush(&c->io->out);
	c->io->reserved = 0;
	if (c->group->memory.max)
		conn_memory_grew(c->group); /* peers that do not read hold memory too */
	c->io->submitted = linkbuf_len(&c->io->out);
	if ((c->flags & CONN_REQUEST) && conn_unsent(c))
		conn_request_over(c);
	return conn_unsent(c) != 0;
}

int conn_submit(struct np_conn *c)
{
	return submit(c);
}

/* When the kernel is full, the watch goes on with it. */
static inline int send_now(struct np_conn *c)
{
	int r = c->watch.want & WATCH_OUT ? 0 : conn_tx(c);

	return r < 0 ? r : 0;
}

int np_conn_flush(struct np_conn *c)
{
	int r = submit(c);

	if (r <= 0)
		return r;
	if (may_defer(c)) {
		conn_later(c);
		r = 0;
	} else {
		r = send_now(c);
	}
	if (r < 0 || conn_unsent(c) <= conn_limits(c)->out_high)
		return r;
	return conn_wait_output(c, conn_limits(c)->out_high);
}

int np_conn_sync(struct np_conn *c)
{
	int r = submit(c);

	if (r > 0)
		r = send_now(c);
	return r < 0 || !conn_unsent(c) ? r : conn_wait_output(c, 0);
}
