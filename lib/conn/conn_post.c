/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_post: what other threads may do to a connection
 *
 * c->post collects what is asked for; whoever sets its first bit posts the one mail that the
 * connection carries, so neither close nor send can fail for memory, and a hundred sends in a
 * row cost one wake-up. The mail holds a reference from post to fn.
 */
#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include <errno.h>
#include <stdlib.h>

_Static_assert(sizeof(struct mail) == 2 * sizeof(void *),
	       "a linkbuf carries its mail in two words");

static struct mail *buf_mail(struct np_linkbuf *b)
{
	return (struct mail *)(void *)linkbuf_link(b);
}

static struct np_linkbuf *mail_buf(struct mail *m)
{
	return (struct np_linkbuf *)(void *)m - 1;
}

void conn_shut(struct np_conn *c)
{
	if (conn_state(c) != CONN_OPEN || (c->flags & CONN_WR_SHUT) || conn_file_puts_off_fin(c))
		return;
	conn_take_sendq(c);
	c->flags |= CONN_WR_SHUT;
	conn_later(c);
}

/* What this thread flushed earlier goes out earlier: it moves from out to txq. */
static int requeue_submitted(struct np_conn *c)
{
	struct conn_io *io = c->io;
	struct np_linkbuf *b;
	int r;

	if (!io->submitted)
		return 0;
	r = np_linkbuf_slice(&io->out, io->submitted, &b);
	if (r < 0)
		return r;
	r = np_linkbuf_append(&io->txq, &b);
	if (r < 0) {
		np_linkbuf_free(&b);
		return r;
	}
	np_linkbuf_release(&io->out);
	np_linkbuf_flush(&io->txq);
	atomic_fetch_add_explicit(&c->sendq_bytes, (uint32_t)io->submitted, memory_order_relaxed);
	io->submitted = 0;
	return 0;
}

/* Splices all that was sent so far behind what is submitted. */
void conn_take_sendq(struct np_conn *c)
{
	struct mail *m, *next;
	struct conn_io *io;
	struct np_linkbuf *b;

	if (!atomic_load_explicit(&c->sendq.head, memory_order_relaxed))
		return;
	if (c->io && c->io->file && conn_state(c) == CONN_OPEN)
		return; /* in the middle of a message */
	if (conn_state(c) != CONN_OPEN || c->tx_err || (c->flags & CONN_WR_SHUT)) {
		conn_drop_sendq(c);
		return;
	}
	/* they were taken: the peer has to hear that they are lost */
	if (conn_io_get(c, &io) < 0 || requeue_submitted(c) < 0) {
		conn_drop_sendq(c);
		conn_lost(c, -ENOMEM);
		conn_die(c, -ENOMEM);
		return;
	}
	conn_request_over(c);
	for (m = mailbox_take(&c->sendq); m; m = next) {
		next = m->next;
		b = mail_buf(m);
		np_linkbuf_append(&io->txq, &b);
	}
	np_linkbuf_flush(&io->txq);
	if (!(c->watch.want & WATCH_OUT))
		conn_tx(c);
	conn_later(c);
}

void conn_drop_sendq(struct np_conn *c)
{
	struct mail *m, *next;
	struct np_linkbuf *b;

	for (m = mailbox_take(&c->sendq); m; m = next) {
		next = m->next;
		b = mail_buf(m);
		atomic_fetch_sub_explicit(&c->sendq_bytes, (uint32_t)np_linkbuf_len(b),
					  memory_order_relaxed);
		np_linkbuf_free(&b);
	}
}

static void conn_free(struct np_conn *c)
{
	struct conn_group *g = c->group;

	conn_drop_sendq(c);
	conn_home_put(conn_poller(c), c);
	if (g->on_freed)
		g->on_freed(g);
}

static void posted(struct mail *m)
{
	struct np_conn *c = container_of(m, struct np_conn, post_mail);
	unsigned bits = atomic_exchange(&c->post, 0);

	if (bits & CONN_POST_FREE) {
		conn_free(c);
		return;
	}
	if (bits & CONN_POST_SEND)
		conn_take_sendq(c);
	if (bits & CONN_POST_SHUT)
		conn_shut(c);
	if (bits & CONN_POST_CLOSE)
		conn_begin_close(c, -NP_ECLOSED);
	if (bits & CONN_POST_ABORT)
		conn_abort(c, -NP_ECLOSED);
	np_conn_unref(c);
}

static void post(struct np_conn *c, unsigned bit)
{
	np_conn_ref(c);
	if (atomic_fetch_or(&c->post, bit)) {
		np_conn_unref(c); /* the mail is on its way and will see the bit */
		return;
	}
	c->post_mail.fn = posted;
	poller_post(conn_poller(c), &c->post_mail);
}

static bool on_owner(const struct np_conn *c)
{
	return poller_self() == conn_poller(c);
}

/* The last one to let go frees it; only the owner's thread may touch the slab it lies in. */
void np_conn_unref(struct np_conn *c)
{
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (on_owner(c)) {
		conn_free(c);
		return;
	}
	atomic_store(&c->post, CONN_POST_FREE);
	c->post_mail.fn = posted;
	poller_post(conn_poller(c), &c->post_mail);
}

int np_conn_close(struct np_conn *c)
{
	if (on_owner(c))
		conn_begin_close(c, -NP_ECLOSED);
	else
		post(c, CONN_POST_CLOSE);
	return 0;
}

int np_conn_abort(struct np_conn *c)
{
	if (on_owner(c))
		conn_abort(c, -NP_ECLOSED);
	else
		post(c, CONN_POST_ABORT);
	return 0;
}

int np_conn_shutdown_write(struct np_conn *c)
{
	if (conn_state(c) == CONN_NEW)
		return -NP_ENOTOPEN;
	if (on_owner(c))
		conn_shut(c);
	else
		post(c, CONN_POST_SHUT);
	return 0;
}

/*
 * A message above send_high is taken where nothing is queued: it could never be sent otherwise, and
 * -EAGAIN would hold for ever.
 */
static int reserve_sendq(struct np_conn *c, size_t n)
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
	struct mail *m;
	int r;

	if (!*b || !((*b)->flags & LINKBUF_HEAP))
		/* a connection's own: it has no link words, and cannot be given away */
		return -EINVAL;
	m = buf_mail(*b);
	if (conn_state(c) != CONN_OPEN)
		return conn_state(c) == CONN_NEW ? -NP_ENOTOPEN : -NP_ECLOSED;
	r = np_linkbuf_flush(*b);
	if (r < 0)
		return r;
	r = reserve_sendq(c, np_linkbuf_len(*b));
	if (r < 0)
		return r;
	*b = NULL;
	mailbox_put(&c->sendq, m);
	post(c, CONN_POST_SEND);
	return 0;
}

/* ------------------------------------------------------------------ np_conn_post */

struct posted_call {
	struct mail mail;
	struct np_conn *c;
	void (*fn)(struct np_conn *, void *);
	void *arg;
};

static void call_posted(struct mail *m)
{
	struct posted_call *p = container_of(m, struct posted_call, mail);

	conn_note_handler(p->c, p->fn);
	p->fn(p->c, p->arg);
	np_conn_unref(p->c);
	free(p);
}

int np_conn_post(struct np_conn *c, void (*fn)(struct np_conn *, void *), void *arg)
{
	struct posted_call *p;

	if (!fn)
		return -EINVAL;
	p = malloc(sizeof *p);
	if (!p)
		return -ENOMEM;
	*p = (struct posted_call){
		.mail.fn = call_posted, .c = np_conn_ref(c), .fn = fn, .arg = arg
	};
	poller_post(conn_poller(c), &p->mail);
	return 0;
}
