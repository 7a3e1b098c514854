/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_export: the way out, and back. The way in: conn_import.c. */
#include "conn/conn_export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "conn/conn_message.h"
#include "netpoll/linkbuf.h"

static bool export_stays(const struct np_conn *c)
{
	return (c->flags & CONN_STAYS) || !c->group->handlers->on_export || conn_mate(c) ||
	       c->transport == TRANSPORT_FILE || conn_filter_of(c);
}

static bool export_is_quiet(const struct np_conn *c)
{
	if (conn_life(c) != CONN_OPEN || c->out != CONN_OUT_OPEN || conn_in_is_over(c) ||
	    !(c->flags & CONN_CONNECTED) || (c->flags & (CONN_LEFT | CONN_LATER | CONN_MOVES)))
		return false;
	if (c->group->retiring || c->inside || c->calls || c->holds || conn_is_served(c))
		return false;
	/* another thread's: what it will ask for must not be asked in vain */
	if (atomic_load_explicit(&c->refs, memory_order_acquire) != 1 || mailbox_any(&c->sendq))
		return false;
	return !c->io ||
	       (!conn_has_request(c) && !c->io->held_sends && !c->io->stream.file &&
		conn_len(c) <= CONN_MESSAGE_PART_MAX && conn_unsent(c) <= CONN_MESSAGE_PART_MAX);
}

/* ------------------------------------------------------------------ what it says */

static uint64_t export_since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

/* 0: no deadline; one that has passed has a moment left. */
static uint64_t export_left(uint64_t now, uint64_t deadline)
{
	return !deadline ? 0 : deadline > now ? deadline - now : 1;
}

static void export_describe_extra(const struct conn_extra *x, uint64_t now, struct conn_message *m)
{
	m->flags |= CONN_MESSAGE_SETTINGS;
	m->settings = x->settings;
	m->read_left_ms = export_left(now, x->read_deadline_ms);
	m->write_left_ms = export_left(now, x->write_deadline_ms);
}

static void export_describe_io(const struct conn_io *io, uint64_t now, struct conn_message *m)
{
	m->call_at = io->call_at;
	m->rx_total = io->stream.rx_total;
	m->tx_total = io->stream.tx_total;
	m->flags |= io->wanted ? CONN_MESSAGE_WANTED : 0;
	if (io->request) {
		m->flags |= CONN_MESSAGE_REQUEST;
		m->request_ms = export_since(now, io->request_ms);
	}
}

static void export_describe(const struct np_conn *c, struct conn_message *m)
{
	uint64_t now = poller_now_ms(conn_poller(c));

	*m = (struct conn_message){ .transport = c->transport, .call_at = 1 };
	if (c->set->idle_timeout_ms)
		m->idle_ms = (uint32_t)((uint32_t)now - c->active_ms);
	if (c->flags & CONN_HALF_OPEN)
		m->flags |= CONN_MESSAGE_HALF_OPEN;
	if (c->flags & CONN_CANCEL)
		m->flags |= CONN_MESSAGE_CANCEL;
	if (c->flags & CONN_USED)
		m->flags |= CONN_MESSAGE_USED;
	if (c->in == CONN_IN_PAUSED)
		m->flags |= CONN_MESSAGE_PAUSED;
	if (conn_proxy_ends(c))
		m->part[CONN_MESSAGE_ENDS] =
			(struct conn_bytes){ conn_proxy_ends(c), sizeof(struct proxy_ends) };
	if (c->flags & CONN_EXTRA)
		export_describe_extra(conn_extra_of(c), now, m);
	if (c->io)
		export_describe_io(c->io, now, m);
}

/* ------------------------------------------------------------------ what it holds */

/* @n bytes of @b behind its first @skip, to @dst. */
static int export_copy(const struct np_linkbuf *b, size_t skip, size_t n, char *dst)
{
	int max = 16, got = 0;
	struct iovec *iov = NULL, *grown;

	do {
		max *= 2;
		grown = realloc(iov, (size_t)max * sizeof *iov);
		if (!grown) {
			free(iov);
			return -ENOMEM;
		}
		iov = grown;
		got = np_linkbuf_iov(b, iov, max);
	} while (got == max);
	for (int i = 0; i < got && n; i++) {
		size_t past = skip < iov[i].iov_len ? skip : iov[i].iov_len;
		size_t take = iov[i].iov_len - past < n ? iov[i].iov_len - past : n;

		memcpy(dst, (const char *)iov[i].iov_base + past, take);
		dst += take;
		n -= take;
		skip -= past;
	}
	free(iov);
	return 0;
}

/* Some bytes of one or two buffers, in one piece. Return: 0; -ENOMEM. */
static int export_flatten(struct conn_bytes *ret, const struct np_linkbuf *first, size_t n_first,
			  const struct np_linkbuf *second, size_t skip, size_t n)
{
	char *p;
	int r = 0;

	if (!(n_first + n))
		return 0;
	p = malloc(n_first + n);
	if (!p)
		return -ENOMEM;
	if (n_first)
		r = export_copy(first, 0, n_first, p);
	if (r == 0 && n)
		r = export_copy(second, skip, n, p + n_first);
	*ret = (struct conn_bytes){ p, n_first + n };
	return r;
}

static int export_flatten_stream(const struct stream *s, struct conn_message *m)
{
	struct np_linkbuf all = s->out; /* to be looked at */
	int r;

	linkbuf_flush(&all);
	r = export_flatten(&m->part[CONN_MESSAGE_IN], &s->in, linkbuf_len(&s->in), NULL, 0, 0);
	if (r == 0)
		r = export_flatten(&m->part[CONN_MESSAGE_OUT], &s->sends, linkbuf_len(&s->sends),
				   &all, 0, s->submitted);
	if (r == 0)
		r = export_flatten(&m->part[CONN_MESSAGE_BUILT], NULL, 0, &all, s->submitted,
				   linkbuf_len(&all) - s->submitted);
	return r;
}

static int export_write(const struct np_conn *c, struct conn_message *m, struct conn_export *e)
{
	int r = c->io ? export_flatten_stream(&c->io->stream, m) : 0;

	if (r == 0) {
		e->n = conn_message_size(m);
		e->bytes = malloc(e->n);
		if (e->bytes)
			conn_message_write(m, e->bytes);
		else
			r = -ENOMEM;
	}
	for (unsigned i = 0; i < CONN_MESSAGE_BLOB; i++) /* the others are not its own */
		free((void *)m->part[i].p);
	return r;
}

/* Return: 0; what on_export says; -ENOMEM. */
static int export_ask(struct np_conn *c, struct conn_bytes *ret)
{
	const struct conn_group *g = c->group;
	struct np_linkbuf *blob;
	int r = np_linkbuf_new(0, &blob);

	if (r < 0)
		return r;
	conn_note_handler(c, g->handlers->on_export);
	r = g->handlers->on_export(c, g->arg, blob);
	if (r < 0 || !export_is_quiet(c)) { /* or did something to it */
		np_linkbuf_free(&blob);
		return r < 0 ? -NP_EUNSUPPORTED : -EAGAIN;
	}
	np_linkbuf_flush(blob);
	r = np_linkbuf_len(blob) > CONN_MESSAGE_PART_MAX ? -NP_EUNSUPPORTED : 0;
	if (r == 0)
		r = export_flatten(ret, blob, np_linkbuf_len(blob), NULL, 0, 0);
	np_linkbuf_free(&blob);
	return r;
}

int conn_export(struct np_conn *c, struct conn_export *ret)
{
	struct conn_message m;
	struct conn_bytes blob = { 0 };
	int r;

	if (export_stays(c))
		return -NP_EUNSUPPORTED;
	if (!export_is_quiet(c))
		return -EAGAIN;
	*ret = (struct conn_export){ .c = c };
	r = export_ask(c, &blob);
	if (r == 0) {
		export_describe(c, &m);
		m.part[CONN_MESSAGE_BLOB] = blob;
		r = export_write(c, &m, ret);
	}
	free((void *)blob.p);
	if (r < 0) {
		c->flags |= r == -NP_EUNSUPPORTED ? CONN_STAYS : 0;
		return r;
	}
	conn_pack(c, &ret->pack);
	conn_set_life(c, CONN_NEW);
	return 0;
}

/* ------------------------------------------------------------------ what becomes of it */

static void export_fini(struct conn_export *e)
{
	free(e->bytes);
	e->bytes = NULL;
}

/*
 * Nothing is sent, shut or reset: the other process has the same socket. The bytes that were packed
 * are the other's by now.
 */
void conn_export_done(struct conn_export *e)
{
	struct np_conn *c = e->c;
	struct conn_group *g = c->group;

	if (e->pack.busy)
		stream_fini(&e->pack.io.stream);
	c->flags &= (uint16_t) ~(CONN_RESET | CONN_CUT);
	c->why = -NP_EMOVED;
	conn_set_life(c, CONN_ENDED);
	conn_finish(c);
	conn_group_handed_over(g);
	export_fini(e);
}

void conn_export_undo(struct conn_export *e, bool refused)
{
	struct np_conn *c = e->c;
	enum conn_life asked = conn_life(c); /* meanwhile */

	conn_set_life(c, CONN_OPEN);
	c->flags |= refused ? CONN_STAYS : 0;
	conn_join(c, c->group, &e->pack);
	if (asked == CONN_CLOSING)
		conn_close(c, c->why);
	else if (asked == CONN_ENDED)
		conn_end(c, c->why);
	export_fini(e);
}
