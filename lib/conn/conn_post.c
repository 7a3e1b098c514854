/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_post: what other threads may do to a connection
 *
 * c->post collects what is asked for; the thread that sets its first bit posts the one mail that
 * the connection carries, so neither close nor send can fail for memory, and a hundred sends in a
 * row cost one wake-up. The mail holds a reference from post to fn.
 *
 * An end that a thread has asked for may still be on its way when that thread sends: the bits that
 * say so stay set, and what would be lost behind that end is refused.
 */
#include <errno.h>
#include <stdlib.h>

#include "conn/conn.h"
#include "conn/conn_sendq.h"
#include "netpoll/linkbuf.h"
#include "poll/baton.h"

enum conn_post_bit {
	CONN_POST_SEND = 1 << 0,
	CONN_POST_CLOSE = 1 << 1,
	CONN_POST_ABORT = 1 << 2,
	CONN_POST_SHUT = 1 << 3,
	CONN_POST_LOOK = 1 << 4, /* whether it ends, now that a reference is gone */
	/* Each of these is done by the mail; those below stay. */
	CONN_POST_DUE = CONN_POST_SEND | CONN_POST_CLOSE | CONN_POST_ABORT | CONN_POST_SHUT |
			CONN_POST_LOOK,
	CONN_POST_CLOSES = 1 << 5,
	CONN_POST_SHUTS = 1 << 6,
};

void conn_shut(struct np_conn *c)
{
	if (conn_life(c) != CONN_OPEN || c->out != CONN_OUT_OPEN || conn_file_puts_off_fin(c))
		return;
	conn_take_sends(c);
	c->out = CONN_OUT_DRAINING;
	conn_later(c);
}

static void post_take_sends(struct np_conn *c)
{
	conn_take_sends(c);
	if (conn_life(c) == CONN_OPEN)
		conn_pump(c, PUMP_FLUSH);
	if (conn_life(c) <= CONN_CLOSING)
		conn_later(c);
}

/* Whether @m is for another thread, or for this one once the connection has arrived: it goes on. */
static bool post_goes_on(const struct np_conn *c, struct mail *m)
{
	if (conn_is_here(c))
		return false;
	poller_post(atomic_load_explicit(&c->at, memory_order_acquire), m);
	return true;
}

static void post_arrived(struct mail *m)
{
	struct np_conn *c = container_of(m, struct np_conn, post_mail);
	unsigned bits;

	if (post_goes_on(c, m) || conn_aside_owes(c->io, CONN_OWED_POST, 0))
		return;
	bits = atomic_fetch_and(&c->post, (uint8_t)~CONN_POST_DUE);
	if (bits & CONN_POST_SEND)
		post_take_sends(c);
	if (bits & CONN_POST_SHUT)
		conn_shut(c);
	if (bits & CONN_POST_CLOSE)
		conn_close(c, -NP_ECLOSED);
	if (bits & CONN_POST_ABORT)
		conn_abort(c, -NP_ECLOSED);
	if ((bits & CONN_POST_LOOK) && conn_life(c) == CONN_OPEN)
		conn_later(c);
	conn_put(c);
}

/* The caller's reference goes along. Return: false: one that will see the bits is on its way. */
static bool post_mail(struct np_conn *c, unsigned bits)
{
	if (atomic_fetch_or(&c->post, (uint8_t)bits) & CONN_POST_DUE)
		return false;
	c->post_mail.fn = post_arrived;
	poller_post(atomic_load_explicit(&c->at, memory_order_acquire), &c->post_mail);
	return true;
}

static void post_bits(struct np_conn *c, unsigned bits)
{
	np_conn_ref(c);
	if (!post_mail(c, bits))
		conn_put(c);
}

bool conn_keep(struct np_conn *c, unsigned but)
{
	bool any = (atomic_fetch_or(&c->refs, CONN_KEPT) & ~CONN_KEPT) > but;

	if (!any)
		atomic_fetch_and(&c->refs, ~CONN_KEPT);
	return any;
}

void conn_let_go(struct np_conn *c)
{
	if (likely(!(atomic_load_explicit(&c->refs, memory_order_relaxed) & CONN_KEPT)))
		return;
	atomic_fetch_and(&c->refs, ~CONN_KEPT);
	post_bits(c, CONN_POST_LOOK);
}

/*
 * Who gives up one that is kept has it looked at, behind that: so the reference goes with the mail,
 * or is given back before a mail that is on its way has looked, or else it is kept again.
 */
void np_conn_unref(struct np_conn *c)
{
	NP_GATE_VOID(np_conn_unref(c));

	while (unlikely(!conn_put_unkept(c))) {
		atomic_fetch_and(&c->refs, ~CONN_KEPT);
		if (post_mail(c, CONN_POST_LOOK))
			return;
	}
}

void conn_refuse_sends(struct np_conn *c)
{
	atomic_fetch_or(&c->post, CONN_POST_SHUTS);
}

int np_conn_close(struct np_conn *c)
{
	NP_GATE(np_conn_close(c));

	if (conn_is_here(c))
		conn_close(c, -NP_ECLOSED);
	else
		post_bits(c, CONN_POST_CLOSE | CONN_POST_CLOSES);
	return 0;
}

int np_conn_abort(struct np_conn *c)
{
	NP_GATE(np_conn_abort(c));

	if (conn_is_here(c))
		conn_abort(c, -NP_ECLOSED);
	else
		post_bits(c, CONN_POST_ABORT | CONN_POST_CLOSES);
	return 0;
}

int np_conn_shutdown_write(struct np_conn *c)
{
	NP_GATE(np_conn_shutdown_write(c));

	if (conn_life(c) == CONN_NEW)
		return -NP_ENOTOPEN;
	conn_refuse_sends(c);
	if (conn_is_here(c) && !conn_is_aside(c))
		conn_shut(c);
	else
		post_bits(c, CONN_POST_SHUT);
	return 0;
}

/* 0 or why what is sent now would never leave. */
static int post_unsendable(struct np_conn *c)
{
	unsigned bits = atomic_load_explicit(&c->post, memory_order_relaxed);

	if (conn_life(c) != CONN_OPEN)
		return conn_life(c) == CONN_NEW ? -NP_ENOTOPEN : -NP_ECLOSED;
	if (bits & CONN_POST_CLOSES)
		return -NP_ECLOSED;
	return bits & CONN_POST_SHUTS ? -EPIPE : 0;
}

/*
 * A message above send_high is taken where nothing is queued: it could never be sent otherwise, and
 * -EAGAIN would hold for ever.
 */
static int post_reserve(struct np_conn *c, size_t n)
{
	uint32_t high = atomic_load_explicit(&c->send_high, memory_order_relaxed);
	uint32_t old = atomic_load_explicit(&c->sendq_bytes, memory_order_relaxed);

	if (n > INT32_MAX)
		return -NP_ETOOLONG;
	do {
		if (old && (uint64_t)old + n > high)
			return -EAGAIN;
	} while (!atomic_compare_exchange_weak_explicit(&c->sendq_bytes, &old, old + (uint32_t)n,
							memory_order_relaxed,
							memory_order_relaxed));
	return 0;
}

int np_conn_send(struct np_conn *c, struct np_linkbuf **b)
{
	NP_GATE(np_conn_send(c, b));

	struct mail *m;
	int r;

	if (!*b || !((*b)->flags & LINKBUF_HEAP))
		/* a connection's own: it has no link words, and cannot be given away */
		return -EINVAL;
	m = sendq_mail(*b);
	m->fn = NULL; /* a buffer */
	r = post_unsendable(c);
	if (r == 0)
		r = np_linkbuf_flush(*b);
	if (r < 0)
		return r;
	r = post_reserve(c, np_linkbuf_len(*b));
	if (r < 0)
		return r;
	*b = NULL;
	mailbox_put(&c->sendq, m);
	post_bits(c, CONN_POST_SEND);
	return 0;
}

/* ------------------------------------------------------------------ np_conn_post */

struct post_call {
	struct mail mail;
	struct np_conn *c;
	void (*fn)(struct np_conn *, void *);
	void *arg;
};

static void post_called(struct mail *m)
{
	struct post_call *p = container_of(m, struct post_call, mail);
	struct np_conn *c = p->c;

	conn_note_handler(c, p->fn);
	p->fn(c, p->arg);
	if (c->calls < UINT16_MAX && !--c->calls && (c->flags & CONN_MOVES))
		conn_later(c);
	np_conn_unref(c);
	free(p);
}

int np_conn_post(struct np_conn *c, void (*fn)(struct np_conn *, void *), void *arg)
{
	NP_GATE(np_conn_post(c, fn, arg));

	struct post_call *p;

	if (!fn)
		return -EINVAL;
	p = malloc(sizeof *p);
	if (!p)
		return -ENOMEM;
	*p = (struct post_call){ .mail.fn = post_called, .fn = fn, .arg = arg };
	p->c = np_conn_ref(c);
	mailbox_put(&c->sendq, &p->mail);
	post_bits(c, CONN_POST_SEND);
	return 0;
}
