/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_import: a connection that began in another process. The other half of conn_export.c. */
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

static void import_flags(struct np_conn *c, const struct conn_message *m)
{
	c->flags &= (uint16_t)~CONN_HALF_OPEN;
	c->flags |= (uint16_t)(CONN_CONNECTED |
			       (m->flags & CONN_MESSAGE_HALF_OPEN ? CONN_HALF_OPEN : 0) |
			       (m->flags & CONN_MESSAGE_CANCEL ? CONN_CANCEL : 0) |
			       (m->flags & CONN_MESSAGE_USED ? CONN_USED : 0) |
			       (conn_settings_are_timed(c->set) ? CONN_TIMED : 0));
	if (m->flags & CONN_MESSAGE_PAUSED)
		c->in = CONN_IN_PAUSED;
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

/* conn_join() puts it where it belongs. */
static int import_io(struct np_conn *c, const struct conn_message *m, uint64_t now,
		     struct conn_pack *pack)
{
	struct conn_io *io = &pack->io;
	int r;

	pack->busy = true;
	*io = (struct conn_io){ .call_at = m->call_at,
				.passed_at = m->rx_total,
				.wanted = m->flags & CONN_MESSAGE_WANTED };
	stream_init(&io->stream, m->transport, c->watch.fd);
	r = import_stream(&io->stream, m);
	if (m->flags & CONN_MESSAGE_REQUEST) {
		io->request = true;
		io->request_ms = now > m->request_ms ? now - m->request_ms : 0;
	}
	return r;
}

static int import_ask(struct np_conn *c, const struct conn_bytes *blob)
{
	const struct conn_group *g = c->group;
	int r;

	if (!g->handlers->on_import)
		return -NP_EUNSUPPORTED;
	conn_note_handler(c, g->handlers->on_import);
	r = g->handlers->on_import(c, g->arg, blob->p, blob->n);
	return r < 0 ? r : 0;
}

/* ------------------------------------------------------------------ its way */

static int import_fill(struct np_conn *c, const struct conn_message *m, struct conn_pack *pack)
{
	uint64_t now = poller_now_ms(conn_poller(c));
	int r;

	*pack = (struct conn_pack){ 0 };
	r = import_settings(c, m, now);
	if (r == 0)
		r = import_ends(c, &m->part[CONN_MESSAGE_ENDS]);
	if (r < 0)
		return r;
	import_flags(c, m);
	r = import_io(c, m, now, pack);
	if (r == 0)
		r = import_ask(c, &m->part[CONN_MESSAGE_BLOB]);
	c->active_ms = (uint32_t)(now - m->idle_ms);
	return r;
}

int conn_import(struct conn_group *g, int *fd, const void *bytes, size_t n, struct conn_import *ret)
{
	struct conn_message m;
	int r = conn_message_read(bytes, n, &m);

	if (r == 0 && g->is_full && g->is_full(g))
		r = -ENOSPC;
	ret->c = r == 0 ? conn_new(g, *fd, m.transport) : NULL;
	if (!ret->c) {
		sys_close(fd);
		return r < 0 ? r : -ENOMEM;
	}
	*fd = -1;
	r = import_fill(ret->c, &m, &ret->pack);
	if (r < 0)
		conn_import_drop(ret);
	return r;
}

void conn_import_open(struct conn_import *i)
{
	struct np_conn *c = i->c;
	enum conn_life asked = conn_life(c); /* by on_import */

	conn_group_taken_over(c->group);
	conn_set_life(c, CONN_OPEN);
	conn_join(c, c->group, &i->pack);
	if (asked == CONN_CLOSING)
		conn_close(c, c->why);
	else if (asked == CONN_ENDED)
		conn_end(c, c->why);
}

void conn_import_drop(struct conn_import *i)
{
	if (i->pack.busy)
		stream_fini(&i->pack.io.stream);
	i->c->flags &= (uint16_t) ~(CONN_RESET | CONN_CUT);
	conn_gone(i->c);
}
