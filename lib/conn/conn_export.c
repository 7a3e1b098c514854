/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_export: the way out, and back. Who may take it: conn_stays.c. The way in: conn_import.c. */
#include "conn/conn_export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "conn/conn_message.h"
#include "netpoll/linkbuf.h"

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
	bool anew = (io->parting & CONN_PARTING_ANEW) || !io->call_at; /* 0: left in the kernel */

	m->call_at = anew ? 1 : io->call_at;
	m->rx_total = io->stream.rx_total;
	m->tx_total = io->stream.tx_total;
	m->flags |= io->wanted && !anew ? CONN_MESSAGE_WANTED : 0;
	if (io->request) {
		m->flags |= CONN_MESSAGE_REQUEST;
		m->request_ms = export_since(now, io->request_ms);
	}
}

static uint16_t export_flags(const struct np_conn *c)
{
	return (uint16_t)((c->flags & CONN_HALF_OPEN ? CONN_MESSAGE_HALF_OPEN : 0) |
			  (c->flags & CONN_CANCEL ? CONN_MESSAGE_CANCEL : 0) |
			  (c->flags & CONN_USED ? CONN_MESSAGE_USED : 0) |
			  (c->flags & CONN_LEFT ? CONN_MESSAGE_LEFT : 0) |
			  (c->in == CONN_IN_PAUSED ? CONN_MESSAGE_PAUSED : 0) |
			  (c->in == CONN_IN_ENDED ? CONN_MESSAGE_ENDED : 0) |
			  (c->out == CONN_OUT_DRAINING ? CONN_MESSAGE_DRAINING : 0) |
			  (c->out == CONN_OUT_SHUT ? CONN_MESSAGE_SHUT : 0) |
			  (conn_is_dialed(c) ? CONN_MESSAGE_DIALED : 0));
}

static void export_describe(const struct np_conn *c, struct conn_message *m)
{
	uint64_t now = poller_now_ms(conn_poller(c));

	*m = (struct conn_message){ .flags = export_flags(c),
				    .transport = c->transport,
				    .call_at = 1 };
	if (c->set->idle_timeout_ms)
		m->idle_ms = (uint32_t)((uint32_t)now - c->active_ms);
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

static void export_free(struct conn_export *e)
{
	free(e->bytes);
	e->bytes = NULL;
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

/* Return: 0; -NP_EUNSUPPORTED, -EAGAIN: on_export says so; -ENOMEM. */
static int export_call(struct np_conn *c, struct np_linkbuf *blob)
{
	const struct conn_group *g = c->group;
	int r;

	conn_note_handler(c, g->handlers->on_export);
	r = g->handlers->on_export(c, g->arg, blob);
	if (r < 0)
		return r == -EAGAIN ? r : -NP_EUNSUPPORTED;
	np_linkbuf_flush(blob);
	return np_linkbuf_len(blob) > CONN_MESSAGE_PART_MAX ? -NP_EUNSUPPORTED : 0;
}

static int export_ask(struct np_conn *c, struct conn_bytes *ret)
{
	struct np_linkbuf *blob;
	int r = np_linkbuf_new(0, &blob);

	if (r < 0)
		return r;
	r = export_call(c, blob);
	if (r == 0)
		r = export_flatten(ret, blob, np_linkbuf_len(blob), NULL, 0, 0);
	np_linkbuf_free(&blob);
	return r;
}

/* Handlers may do something to either while they are asked. */
static int export_ask_all(const struct conn_set *s, struct conn_bytes blob[])
{
	int r = 0;

	for (unsigned i = 0; i < s->n && r == 0; i++) {
		r = export_ask(s->c[i], &blob[i]);
		if (r == 0 && (conn_mate(s->c[0]) != s->c[1] || !conn_set_is_quiet(s)))
			r = -EAGAIN;
	}
	return r;
}

static int export_write_all(const struct conn_set *s, const struct conn_bytes blob[],
			    struct conn_export ret[])
{
	struct conn_message m;
	int r = 0;

	for (unsigned i = 0; i < s->n; i++) {
		ret[i] = (struct conn_export){ .c = s->c[i], .dialed = conn_is_dialed(s->c[i]) };
		export_describe(s->c[i], &m);
		m.part[CONN_MESSAGE_BLOB] = blob[i];
		if (r == 0)
			r = export_write(s->c[i], &m, &ret[i]);
	}
	for (unsigned i = 0; i < s->n && r < 0; i++)
		export_free(&ret[i]);
	return r;
}

static int export_pack(const struct conn_set *s, struct conn_export ret[])
{
	for (unsigned i = 0; i < s->n; i++) {
		conn_part_end(s->c[i]);
		conn_pack(s->c[i], &ret[i].pack);
		conn_set_life(s->c[i], CONN_NEW);
	}
	return (int)s->n;
}

int conn_export(struct np_conn *c, struct conn_export ret[CONN_SET_MAX])
{
	struct conn_bytes blob[CONN_SET_MAX] = { { 0 } };
	struct conn_set s = conn_set_of(c);
	int r;

	if (conn_stays(&s))
		return -NP_EUNSUPPORTED;
	if (!conn_set_is_quiet(&s))
		return -EAGAIN;
	r = export_ask_all(&s, blob);
	if (r == 0)
		r = export_write_all(&s, blob, ret);
	for (unsigned i = 0; i < s.n; i++)
		free((void *)blob[i].p);
	if (r == 0)
		return export_pack(&s, ret);
	for (unsigned i = 0; i < s.n; i++)
		s.c[i]->flags |= r == -NP_EUNSUPPORTED ? CONN_STAYS : 0;
	return r;
}

/* ------------------------------------------------------------------ what becomes of it */

/*
 * Nothing is sent, shut or reset: the other process has the same socket. The bytes that were packed
 * are the other's by now. The group of a dialed one goes with its memory.
 */
static void export_finish(struct conn_export *e)
{
	struct np_conn *c = np_conn_ref(e->c);
	struct conn_group *g = c->group;

	conn_finish(c);
	conn_group_handed_over(g);
	conn_put(c);
	export_free(e);
}

void conn_export_done(struct conn_export e[], unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (e[i].pack.busy)
			stream_fini(&e[i].pack.io.stream);
		e[i].c->flags &= (uint16_t) ~(CONN_RESET | CONN_CUT);
		e[i].c->why = -NP_EMOVED;
		conn_set_life(e[i].c, CONN_ENDED); /* what the on_close of one asks of the other */
	}
	for (unsigned i = 0; i < n; i++)
		export_finish(&e[i]);
}

void conn_export_undo(struct conn_export e[], unsigned n, bool refused)
{
	enum conn_life asked[CONN_SET_MAX]; /* meanwhile */

	for (unsigned i = 0; i < n; i++) {
		asked[i] = conn_life(e[i].c);
		conn_set_life(e[i].c, CONN_OPEN);
		e[i].c->flags |= refused ? CONN_STAYS : 0;
		conn_join(e[i].c, e[i].c->group, &e[i].pack);
	}
	for (unsigned i = 0; i < n; i++) {
		conn_end_as_asked(e[i].c, asked[i]);
		export_free(&e[i]);
	}
}
