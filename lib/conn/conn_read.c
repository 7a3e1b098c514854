/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_read: the reading verbs. Each tries the buffer first and waits only when it must. */
#include <errno.h>
#include <string.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "poll/baton.h"

/* A fiber that is parked in a read owns the input; nobody may take bytes from under it. */
static inline bool read_is_taken(const struct np_conn *c)
{
	return c->owned & CONN_IN_OWNED;
}

/* The input where the next @n bytes lie in one piece and nobody waits for them: the common case. */
static inline struct np_linkbuf *read_ready(const struct np_conn *c, size_t n)
{
	struct conn_io *io = c->io;

	conn_assert_owner(c);
	return likely(!(c->owned & (CONN_IN_OWNED | CONN_NO_IO)) &&
		      linkbuf_has(&io->stream.in, n)) ?
		       &io->stream.in :
		       NULL;
}

/* While its handler is left alone a verb of another fiber waits. */
static int read_await(struct np_conn *c)
{
	int r = 0;

	while (r == 0 && conn_is_aside(c))
		r = conn_await(c, c->set->read_timeout_ms, -NP_EREADTIMEOUT);
	return r;
}

static slow_path int read_wait(struct np_conn *c, size_t n)
{
	struct conn_limit limit = { 0 };
	int r = read_await(c);

	if (r < 0)
		return conn_verb_ends(c, r);
	if (read_is_taken(c))
		return conn_verb_ends(c, -NP_ECONCURRENT);
	if (n || conn_life(c) == CONN_NEW || conn_life(c) == CONN_GONE)
		return conn_verb_ends(c, conn_wait_input(c, n, n, &limit));
	return 0;
}

/*
 * Waits, then @verb. Out of line, so that where nothing waits no register has to be saved. No bytes
 * at all want no input to be there.
 */
static slow_path int read_later(struct np_conn *c, size_t n, const void **ret_p,
				int (*verb)(struct np_linkbuf *, size_t, const void **))
{
	int r = read_wait(c, n);

	if (r < 0)
		return r;
	if (c->io)
		return verb(&c->io->stream.in, n, ret_p);
	*ret_p = "";
	return 0;
}

int np_conn_wait(struct np_conn *c, size_t n)
{
	NP_GATE(np_conn_wait(c, n));

	return read_ready(c, n) ? 0 : read_wait(c, n);
}

int np_conn_next(struct np_conn *c, size_t n, const void **ret_p)
{
	NP_GATE(np_conn_next(c, n, ret_p));

	struct np_linkbuf *in = read_ready(c, n);

	if (!in)
		return read_later(c, n, ret_p, np_linkbuf_next);
	*ret_p = linkbuf_take(in, n);
	return 0;
}

int np_conn_peek(struct np_conn *c, size_t n, const void **ret_p)
{
	NP_GATE(np_conn_peek(c, n, ret_p));

	const struct np_linkbuf *in = read_ready(c, n);

	if (!in)
		return read_later(c, n, ret_p, np_linkbuf_peek);
	*ret_p = in->read->r;
	return 0;
}

int np_conn_skip(struct np_conn *c, size_t n)
{
	NP_GATE(np_conn_skip(c, n));

	int r = np_conn_wait(c, n);

	if (r < 0)
		return r;
	return c->io ? np_linkbuf_skip(&c->io->stream.in, n) : 0;
}

int np_conn_slice(struct np_conn *c, size_t n, struct np_linkbuf **ret)
{
	NP_GATE(np_conn_slice(c, n, ret));

	int r = np_conn_wait(c, n);

	if (r < 0)
		return r;
	return c->io ? np_linkbuf_slice(&c->io->stream.in, n, ret) : np_linkbuf_new(0, ret);
}

/*
 * What a line of unknown length may bring at a time where it is longer than in_high: twice what
 * there is.
 */
#define UNTIL_ROOM (64u * 1024)

/* Each byte is looked at once, however many pieces the line comes in. */
static int read_until(struct np_conn *c, const struct linkbuf_delim *d, size_t max,
		      const void **ret_p, size_t *ret_n)
{
	struct linkbuf_mark seen = { 0 };
	struct conn_limit limit = { 0 };
	struct conn_io *io;
	size_t n, len;
	int r;

	for (;;) {
		r = conn_io_get(c, &io);
		if (r < 0)
			return r;
		n = linkbuf_find_on(&io->stream.in, d, &seen, max);
		len = linkbuf_len(&io->stream.in);
		if (n || len >= max)
			break;
		r = conn_wait_input(c, len + 1, len < max / 2 ? len + len + UNTIL_ROOM : max,
				    &limit);
		if (r < 0)
			return r;
	}
	if (!n)
		return max ? -NP_ETOOLONG : -EINVAL;
	r = np_linkbuf_next(&io->stream.in, n, ret_p);
	if (r == 0)
		*ret_n = n;
	return r;
}

static int read_delim(struct np_conn *c, const struct linkbuf_delim *d, size_t max,
		      const void **ret_p, size_t *ret_n)
{
	int r = read_await(c);

	conn_assert_owner(c);
	if (r == 0 && read_is_taken(c))
		r = -NP_ECONCURRENT;
	if (r < 0)
		return conn_verb_ends(c, r);
	return conn_verb_ends(c, read_until(c, d, max, ret_p, ret_n));
}

int np_conn_until(struct np_conn *c, char delim, size_t max, const void **ret_p, size_t *ret_n)
{
	NP_GATE(np_conn_until(c, delim, max, ret_p, ret_n));

	const unsigned char s = (unsigned char)delim;

	return read_delim(c, &(struct linkbuf_delim){ .s = &s, .n = 1 }, max, ret_p, ret_n);
}

int np_conn_until_str(struct np_conn *c, const void *delim, size_t n, size_t max,
		      const void **ret_p, size_t *ret_n)
{
	NP_GATE(np_conn_until_str(c, delim, n, max, ret_p, ret_n));

	unsigned char back[LINKBUF_DELIM_MAX];
	struct linkbuf_delim d;

	if (!n || n > sizeof back)
		return -EINVAL;
	linkbuf_delim_init(&d, delim, n, back);
	return read_delim(c, &d, max, ret_p, ret_n);
}

ssize_t np_conn_read(struct np_conn *c, void *dst, size_t cap)
{
	NP_GATE(np_conn_read(c, dst, cap));

	size_t n;
	int r;

	if (cap == 0)
		return 0;
	r = np_conn_wait(c, 1);
	if (r == -NP_EEOF)
		return 0;
	if (r < 0)
		return r;
	n = linkbuf_len(&c->io->stream.in);
	if (n > cap)
		n = cap;
	if (n > 0x7fffffff)
		n = 0x7fffffff;
	r = np_linkbuf_copy(&c->io->stream.in, dst, n);
	return r < 0 ? r : (ssize_t)n;
}

void np_conn_release(struct np_conn *c)
{
	NP_GATE_VOID(np_conn_release(c));

	if (!c->io)
		return;
	stream_release(&c->io->stream);
	if (c->in == CONN_IN_FULL)
		conn_pump(c, PUMP_ROOM);
}

size_t np_conn_len(struct np_conn *c)
{
	NP_GATE(np_conn_len(c));

	return conn_len(c);
}

struct np_linkbuf *np_conn_in(struct np_conn *c)
{
	NP_GATE(np_conn_in(c));

	struct conn_io *io;

	return read_is_taken(c) || conn_io_get(c, &io) < 0 ? NULL : &io->stream.in;
}

int np_conn_want(struct np_conn *c, size_t n)
{
	NP_GATE(np_conn_want(c, n));

	struct conn_io *io;
	int r;

	r = conn_not_open(c);
	if (r < 0)
		return r;
	if (n > c->set->limits.in_max)
		return -NP_ETOOLONG;
	r = conn_io_get(c, &io);
	if (r < 0)
		return r;
	io->wanted = true;
	io->call_at = n ? n : 1;
	conn_pump(c, PUMP_ROOM | PUMP_TELL);
	return 0;
}
