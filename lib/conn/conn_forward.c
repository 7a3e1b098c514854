/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_forward: what comes of one connection goes on to another
 *
 * Small input goes by the buffers. Behind a big one the kernel's part goes through a pipe, and the
 * connection says that its next input is to be left there for the handler: the bytes of a flow are
 * not copied. A flow that becomes small is read again.
 *
 *   io.forwards   is left by
 *   false         FORWARD_BIG bytes at once, and a pipe is to be had -> true
 *   true          less than that, no pipe, nothing taken, another handler -> false
 */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "poll/baton.h"

#define FORWARD_COPY   4096u        /* so much is copied sooner than its blocks are shared */
#define FORWARD_BIG    (12u * 1024) /* so much at once is worth a pipe */
/* a call: then others have their turn */
#define FORWARD_ROUNDS 8 /* pipes, and */
#define FORWARD_BUDGET ((size_t)2 << 20)

static int forward_slice(struct np_conn *from, struct np_conn *to, size_t n)
{
	struct np_linkbuf *b;
	int r = np_conn_slice(from, n, &b);

	if (r < 0)
		return r;
	r = np_conn_append(to, &b);
	np_linkbuf_free(&b); /* NULL, unless append() failed */
	return r;
}

static int forward_buffered(struct np_conn *from, struct np_conn *to, size_t n)
{
	const void *p;
	int r;

	if (n > FORWARD_COPY)
		return forward_slice(from, to, n);
	r = np_conn_peek(from, n, &p);
	if (r == 0)
		r = np_conn_write(to, p, n);
	return r < 0 ? r : np_conn_skip(from, n);
}

/* Whether it is the handler of @from that calls, and the bytes can go from one to the other. */
static bool forward_can_splice(const struct np_conn *from, const struct np_conn *to)
{
	return from->io && from->io->handler && from->io->handler == fiber_self() &&
	       from->transport == TRANSPORT_TCP && to->transport == TRANSPORT_TCP &&
	       !conn_filter_of(from) && !conn_filter_of(to);
}

/*
 * What the kernel has, as long as both go on, and nothing that came before it is in the buffer.
 * Return: as np_conn_forward(); *ret_n bytes went.
 */
static int forward_spliced(struct np_conn *from, struct np_conn *to, struct pipe *p, size_t *ret_n)
{
	int r = 0;

	for (int i = 0; i < FORWARD_ROUNDS && *ret_n < FORWARD_BUDGET && r == 0; i++) {
		/* Nobody else runs between this and the send: what is in the pipe can go on. */
		r = conn_unwritable(to);
		if (r < 0 || conn_life(from) != CONN_OPEN || from->in > CONN_IN_FULL ||
		    conn_len(from))
			break;
		from->io->into = p;
		conn_pump(from, PUMP_IN);
		from->io->into = NULL;
		if (!p->held)
			break;
		*ret_n += p->held;
		r = conn_send_file(to, &(struct stream_file){ .pipe = p, .left = p->held });
	}
	return r;
}

/* @n bytes of this call came out of the buffer. */
static int forward_flow(struct np_conn *from, struct np_conn *to, size_t n)
{
	struct pipes *pipes = conn_home_pipes(conn_poller(from));
	struct pipe *p = pipes ? pipe_get(pipes) : NULL;
	int r;

	from->io->forwards = p != NULL;
	if (!p)
		return 0;
	r = forward_spliced(from, to, p, &n);
	pipe_put(pipes, p);
	from->io->forwards = n >= FORWARD_BIG;
	return r;
}

/* What can take nothing is found out first: what was taken of @from then cannot be put back. */
static int forward_once(struct np_conn *from, struct np_conn *to)
{
	int r = conn_begin_output(to);
	size_t n = conn_len(from);

	if (r < 0)
		return r;
	r = n ? forward_buffered(from, to, n) : np_conn_wait(from, 0); /* it may be gone */
	if (r == 0)
		r = np_conn_flush(to);
	np_conn_release(from);
	/* While the flush waited more was read: that goes on first, with the next call. */
	if (r < 0 || conn_len(from) || !forward_can_splice(from, to))
		return r;
	return n >= FORWARD_BIG || from->io->forwards ? forward_flow(from, to, n) : 0;
}

/* Of what a peer that has left has sent. */
static bool forward_has_more(const struct np_conn *from)
{
	return conn_len(from) || (!conn_in_is_over(from) && from->in != CONN_IN_PAUSED);
}

/* To the FIN of a peer that has left. */
static int forward_all(struct np_conn *from, struct np_conn *to)
{
	int r = forward_once(from, to);

	while (r == 0 && (from->flags & CONN_LEFT) && forward_has_more(from)) {
		if (np_conn_wait(from, 1) < 0)
			return 0;
		r = forward_once(from, to);
	}
	return r;
}

int np_conn_forward(struct np_conn *from, struct np_conn *to)
{
	NP_GATE(np_conn_forward(from, to));

	bool place;
	int r;

	if (from == to || conn_poller(from) != conn_poller(to))
		return -EINVAL;
	if (from->owned & CONN_IN_OWNED)
		return conn_verb_ends(from, -NP_ECONCURRENT);
	place = conn_mate(from) == to && conn_at_place(from, CONN_PLACE_FORWARD);
	r = forward_all(from, to);
	if (place)
		from->io->place = CONN_PLACE_NONE;
	return r;
}
