/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_frame: the frames of a connection whose handlers have on_frame, each when it is whole
 *
 * What stands here takes the place of on_request. A frame that is not whole is left alone, and
 * np_conn_want() says how much of it is to come: so it holds no fiber, and all that is known of an
 * on_request that leaves its input (a request's limit, a move, the next process) holds for it. One
 * that is whole is consumed before its handler is called: a reply to the last one of a batch has no
 * input behind it, and leaves at once.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "poll/baton.h"

#define FRAME_NONE 1 /* it is to come */

/* How many bytes of a frame say how long it is. */
static inline size_t frame_head(const struct np_framing *f)
{
	return (size_t)f->at + f->width;
}

/* A number that no frame can have is cut, so that what is added to it does not wrap. */
static int64_t frame_number(const struct np_framing *f, const unsigned char *p)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < f->width; i++)
		n = n << 8 | p[f->little_endian ? f->width - 1 - i : i];
	return n < INT64_MAX / 2 ? (int64_t)n : INT64_MAX / 2;
}

/* How long the frame is whose head lies at @p. Return: 0; -EBADMSG; -NP_ETOOLONG. */
static int frame_len(const struct np_framing *f, const void *p, size_t *ret_n)
{
	int64_t head = (int64_t)frame_head(f);
	int64_t n = frame_number(f, (const unsigned char *)p + f->at) + head + f->adjust;

	if (n < head)
		return -EBADMSG;
	if ((uint64_t)n > f->max)
		return -NP_ETOOLONG;
	*ret_n = (size_t)n;
	return 0;
}

/* Not all @n bytes have come. */
static int frame_await(struct np_conn *c, size_t n)
{
	int r = conn_read_end(c);

	if (r == 0)
		r = np_conn_want(c, n);
	return r < 0 ? r : FRAME_NONE;
}

/* The next frame, consumed, of any kind and in however many pieces. */
static int frame_take(struct np_conn *c, const struct np_framing *f, const void **ret_p,
		      size_t *ret_n)
{
	struct np_linkbuf *in = &c->io->stream.in;
	size_t n = frame_head(f);
	const void *head;
	int r;

	if (c->owned & CONN_IN_OWNED)
		return -NP_ECONCURRENT;
	if (linkbuf_len(in) < n)
		return frame_await(c, n);
	r = np_linkbuf_peek(in, n, &head);
	if (r == 0)
		r = frame_len(f, head, &n);
	if (r < 0)
		return r;
	if (linkbuf_len(in) < n)
		return frame_await(c, n);
	*ret_n = n;
	return np_linkbuf_next(in, n, ret_p);
}

/* @p NULL: on_request, for what is no frame. */
static int frame_call(struct np_conn *c, void *arg, const void *p, size_t n)
{
	const struct np_handlers *h = c->group->handlers;
	bool may_block = h->flags & NP_MAY_BLOCK;
	int r;

	if (may_block)
		baton_user_begin();
	r = p ? h->on_frame(c, arg, p, n) : h->on_request(c, arg);
	if (may_block)
		baton_user_end();
	if (may_block && baton_is_called())
		conn_serve_leave_rest(c->io);
	return r;
}

int conn_serve_any_frame(struct np_conn *c, void *arg)
{
	const struct np_handlers *h = c->group->handlers;
	const void *p = NULL;
	size_t n = 0;
	int r = frame_take(c, &h->framing, &p, &n);

	if (r == -NP_ETOOLONG && h->on_request)
		p = NULL;
	else if (r != 0)
		return r < 0 ? r : 0;
	return frame_call(c, arg, p, n);
}

void conn_group_handle(struct conn_group *g, const struct np_handlers *h)
{
	const struct np_framing *f = &h->framing;
	size_t head = frame_head(f);

	g->handlers = h;
	g->framing = (struct conn_framing){ 0 };
	if (f->width != sizeof(uint32_t) || f->little_endian || f->max < head ||
	    (h->flags & NP_MAY_BLOCK))
		return;
	g->framing.head = head;
	g->framing.rest = f->max - head;
	g->framing.adjust = (size_t)f->adjust;
}

/*
 * The next frame, of the commonest kind, where it lies in one piece; 0: it takes frame_take(). Of
 * the input all that lies in a block can be read, so one look tells whether a frame does. Of one
 * that is shorter than its head the rest wraps, and is too long.
 */
static inline size_t frame_ready(const struct np_conn *c, const struct conn_framing *f)
{
	const struct np_linkbuf *in = &c->io->stream.in;
	uint32_t number;
	size_t head = f->head, rest;

	if (unlikely((c->owned & CONN_IN_OWNED) || !linkbuf_has(in, head)))
		return 0;
	memcpy(&number, in->read->r + head - sizeof number, sizeof number);
	rest = be32toh(number) + f->adjust;
	if (unlikely(rest > f->rest || rest > block_left(in->read) - head))
		return 0;
	return head + rest;
}

int conn_serve_frame(struct np_conn *c, void *arg)
{
	const struct conn_group *g = c->group;
	size_t n = frame_ready(c, &g->framing);

	if (unlikely(!n))
		return conn_serve_any_frame(c, arg);
	return g->handlers->on_frame(c, arg, linkbuf_take(&c->io->stream.in, n), n);
}
