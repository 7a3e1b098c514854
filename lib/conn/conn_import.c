/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_import: a connection, or a set, that began in another process. The other half of
 * conn_export.c
 *
 * The dialed one of a set is made while the on_import of the server's runs, for its handlers are
 * known to that alone.
 */
#include <errno.h>
#include <string.h>

#include "conn/conn_export.h"
#include "conn/conn_message.h"
#include "netpoll/linkbuf.h"
#include "sys/io.h"

/* ------------------------------------------------------------------ what it says */

static int import_settings(struct np_conn *c, const struct conn_message *m, uint64_t now)
{
	struct conn_extra *x;
	int r;

	if (!(m->flags & CONN_MESSAGE_SETTINGS))
		return 0;
	r = conn_extra(c, &x);
	if (r < 0)
		return r;
	x->settings = m->settings;
	x->read_deadline_ms = m->read_left_ms ? now + m->read_left_ms : 0;
	x->write_deadline_ms = m->write_left_ms ? now + m->write_left_ms : 0;
	atomic_store_explicit(&c->send_high, (uint32_t)m->settings.limits.send_high,
			      memory_order_relaxed);
	return 0;
}

static int import_ends(struct np_conn *c, const struct conn_bytes *part)
{
	struct proxy_ends ends;

	if (!part->n)
		return 0;
	memcpy(&ends, part->p, sizeof ends);
	return conn_proxy_set_ends(c, &ends);
}

/* What has ended of it; on_disconnect was called in the other process. */
static void import_ways(struct np_conn *c, const struct conn_message *m)
{
	if (m->flags & CONN_MESSAGE_LEFT) {
		c->flags |= CONN_LEFT | CONN_TOLD;
		c->why = -NP_EEOF;
	}
	if (m->flags & CONN_MESSAGE_ENDED)
		c->in = CONN_IN_ENDED;
	else if (m->flags & CONN_MESSAGE_PAUSED)
		c->in = CONN_IN_PAUSED;
	if (m->flags & CONN_MESSAGE_SHUT)
		c->out = CONN_OUT_SHUT;
	else if (m->flags & CONN_MESSAGE_DRAINING)
		c->out = CONN_OUT_DRAINING;
	if (c->out != CONN_OUT_OPEN)
		conn_refuse_sends(c);
}

static void import_flags(struct np_conn *c, const struct conn_message *m)
{
	c->flags &= (uint16_t)~CONN_HALF_OPEN;
	c->flags |= (uint16_t)(CONN_CONNECTED |
			       (m->flags & CONN_MESSAGE_HALF_OPEN ? CONN_HALF_OPEN : 0) |
			       (m->flags & CONN_MESSAGE_CANCEL ? CONN_CANCEL : 0) |
			       (m->flags & CONN_MESSAGE_USED ? CONN_USED : 0) |
			       (conn_settings_are_timed(c->set) ? CONN_TIMED : 0));
	import_ways(c, m);
}

/* ------------------------------------------------------------------ what it holds */

static int import_put(struct np_linkbuf *b, const struct conn_bytes *part)
{
	return part->n ? np_linkbuf_write(b, part->p, part->n) : 0;
}

static int import_stream(struct stream *s, const struct conn_message *m)
{
	int r = import_put(&s->in, &m->part[CONN_MESSAGE_IN]);

	linkbuf_flush(&s->in);
	s->held = linkbuf_len(&s->in);
	if (r == 0)
		r = import_put(&s->out, &m->part[CONN_MESSAGE_OUT]);
	stream_submit(s);
	if (r == 0)
		r = import_put(&s->out, &m->part[CONN_MESSAGE_BUILT]);
	s->rx_total = m->rx_total;
	s->tx_total = m->tx_total;
	return r;
}

/* conn_enter() puts it where it belongs. */
static int import_io(struct np_conn *c, const struct conn_message *m, uint64_t now,
		     struct conn_pack *pack)
{
	struct conn_io *io = &pack->io;
	int r;

	pack->busy = true;
	*io = (struct conn_io){ .call_at = m->call_at,
				.passed_at = m->rx_total,
				.tx_noted = m->tx_total,
				.wanted = m->flags & CONN_MESSAGE_WANTED };
	stream_init(&io->stream, m->transport, c->watch.fd);
	r = import_stream(&io->stream, m);
	if (m->flags & CONN_MESSAGE_REQUEST) {
		io->request = true;
		io->request_ms = now > m->request_ms ? now - m->request_ms : 0;
	}
	return r;
}

static int import_fill(struct np_conn *c, const struct conn_message *m, struct conn_pack *pack)
{
	uint64_t now = poller_now_ms(conn_poller(c));
	int r;

	r = import_settings(c, m, now);
	if (r == 0)
		r = import_ends(c, &m->part[CONN_MESSAGE_ENDS]);
	if (r < 0)
		return r;
	import_flags(c, m);
	c->active_ms = (uint32_t)(now - m->idle_ms);
	return import_io(c, m, now, pack);
}

/* ------------------------------------------------------------------ made */

/* On the stack of conn_import(). */
struct conn_import_mate {
	struct conn_arrival *arrival;
	const struct conn_message *message;
	struct conn_import *made;
};

static int import_make(struct conn_group *g, struct conn_arrival *a, const struct conn_message *m,
		       struct conn_import *ret)
{
	ret->c = conn_new(g, a->fd, m->transport);
	if (!ret->c)
		return -ENOMEM;
	a->fd = -1;
	return import_fill(ret->c, m, &ret->pack);
}

static int import_ask(struct conn_import *i, const struct conn_bytes *blob)
{
	struct np_conn *c = i->c;
	const struct conn_group *g = c->group;
	int r;

	if (!g->handlers->on_import)
		return -NP_EUNSUPPORTED;
	conn_note_handler(c, g->handlers->on_import);
	r = g->handlers->on_import(c, g->arg, blob->p, blob->n);
	i->asked = r >= 0;
	return r < 0 ? r : 0;
}

static int import_bind(struct np_conn *c, struct np_conn *other)
{
	struct conn_extra *x, *y;
	int r = conn_extra(c, &x);

	if (r == 0)
		r = conn_extra(other, &y);
	if (r < 0)
		return r;
	x->mate = other;
	y->mate = c;
	return 0;
}

static int import_mate(struct np_conn *c, struct conn_group *g, const struct conn_import_mate *m)
{
	int r = import_make(g, m->arrival, m->message, m->made);

	if (!m->made->c) {
		g->on_freed(g);
		return r;
	}
	g->on_travel(g, c->group->poller);
	if (r == 0)
		r = import_bind(c, m->made->c);
	return r == 0 ? import_ask(m->made, &m->message->part[CONN_MESSAGE_BLOB]) : r;
}

int conn_import_mate(struct np_conn *c, struct conn_group *g, struct np_conn **ret)
{
	const struct conn_import_mate *m = c->flags & CONN_EXTRA ? conn_extra_of(c)->to_come : NULL;
	int r = !m ? -NP_EUNSUPPORTED : m->made->c || conn_mate(c) ? -EALREADY : 0;

	if (r < 0) {
		g->on_freed(g);
		return r;
	}
	r = import_mate(c, g, m);
	if (r == 0)
		*ret = np_conn_ref(m->made->c);
	return r;
}

/* The server's, whose on_import is to ask for the other. */
static int import_with_mate(struct conn_import i[], struct conn_arrival a[],
			    const struct conn_message m[])
{
	struct conn_import_mate mate = { &a[1], &m[1], &i[1] };
	struct conn_extra *x;
	int r = conn_extra(i[0].c, &x);

	if (r < 0)
		return r;
	x->to_come = &mate;
	r = import_ask(&i[0], &m[0].part[CONN_MESSAGE_BLOB]);
	x->to_come = NULL;
	if (r == 0 && !i[1].asked)
		r = -NP_EUNSUPPORTED;
	return r;
}

/* ------------------------------------------------------------------ all, or none */

static int import_read(const struct conn_arrival a[], unsigned n, struct conn_message m[])
{
	for (unsigned i = 0; i < n; i++) {
		int r = conn_message_read(a[i].bytes, a[i].n, &m[i]);

		if (r < 0)
			return r;
	}
	return m[0].flags & CONN_MESSAGE_DIALED ? -EPROTO : 0;
}

static int import_all(struct conn_group *g, struct conn_arrival a[], unsigned n,
		      const struct conn_message m[], struct conn_import ret[])
{
	int r = import_make(g, &a[0], &m[0], &ret[0]);

	if (r == 0 && n > 1 && (m[1].flags & CONN_MESSAGE_DIALED))
		return import_with_mate(ret, a, m);
	if (r == 0 && n > 1)
		r = import_make(g, &a[1], &m[1], &ret[1]);
	if (r == 0 && n > 1)
		r = import_bind(ret[0].c, ret[1].c);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = import_ask(&ret[i], &m[i].part[CONN_MESSAGE_BLOB]);
	return r;
}

/*
 * What may fail is done while the sender has them still: from the commit on nobody could take them
 * back. The kernel tells of bytes from here on; nobody wants them, so none are read.
 */
static int import_enter_all(struct conn_import i[], unsigned n)
{
	int r = 0;

	for (unsigned k = 0; k < n && r == 0; k++)
		r = conn_enter(i[k].c, i[k].c->group, &i[k].pack);
	return r;
}

int conn_import(struct conn_group *g, struct conn_arrival a[], unsigned n, struct conn_import ret[])
{
	struct conn_message m[CONN_SET_MAX];
	int r;

	for (unsigned i = 0; i < n; i++) {
		ret[i].c = NULL;
		ret[i].pack.busy = ret[i].asked = false;
	}
	r = import_read(a, n, m);
	if (r == 0 && g->is_full && g->is_full(g))
		r = -ENOSPC;
	if (r == 0)
		r = import_all(g, a, n, m, ret);
	if (r == 0)
		r = import_enter_all(ret, n);
	if (r < 0)
		conn_import_drop(ret, n);
	for (unsigned i = 0; i < n; i++)
		sys_close(&a[i].fd);
	return r;
}

/* ------------------------------------------------------------------ what becomes of it */

void conn_import_open(struct conn_import i[], unsigned n)
{
	enum conn_life asked[CONN_SET_MAX]; /* by on_import */

	for (unsigned k = 0; k < n; k++) {
		struct np_conn *c = i[k].c;

		asked[k] = conn_life(c);
		conn_group_taken_over(c->group);
		conn_set_life(c, CONN_OPEN);
		conn_go_on(c);
		if (conn_in_is_over(c) || c->out != CONN_OUT_OPEN)
			conn_later(c);
	}
	for (unsigned k = 0; k < n; k++)
		conn_end_as_asked(i[k].c, asked[k]);
}

/* It was never counted. */
static void import_drop(struct conn_import *i)
{
	struct np_conn *c = i->c;
	struct conn_group *g = c->group;

	if (g->on_travel)
		g->on_travel(g, NULL);
	if (i->asked)
		conn_finish(c);
	else
		conn_gone(c);
}

void conn_import_drop(struct conn_import i[], unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		if (!i[k].c)
			continue;
		if (watch_is_open(&i[k].c->watch))
			conn_pack(i[k].c, &i[k].pack);
		if (i[k].pack.busy)
			stream_fini(&i[k].pack.io.stream);
		i[k].c->flags &= (uint16_t) ~(CONN_RESET | CONN_CUT);
		i[k].c->why = -NP_EMOVED;
		conn_set_life(i[k].c, CONN_ENDED);
	}
	for (unsigned k = 0; k < n; k++)
		if (i[k].c)
			import_drop(&i[k]);
}
