/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pair: two connections of one poller, so nothing here is locked; they move to another one as a set
 *
 * Each side's on_request moves the bytes that have come to the other and flushes there. A slow
 * reader makes that flush park; meanwhile nothing more is read here, and TCP stops the fast one.
 *
 *   a side    is left by
 *   reading   the peer's FIN, all of it moved on -> FIN to the other side
 *   half      the other side likewise -> both are closed
 *
 * np_conn_hold() keeps the library from ending a connection at the peer's FIN, as half-close needs,
 * and stops its idle clock, so that the pair has one: idle.h. And on_disconnect may come while
 * on_request still moves the bytes that came before the FIN.
 *
 * A pair goes to the next process as a set, too: what is written of it is which FINs have come and
 * gone on, and where the upstream connection goes.
 */
#include "pair.h"

#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pollers.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"
#include "idle.h"

struct side {
	struct np_conn *conn; /* a reference; NULL before it is there */
	struct side *other;
	struct pair *pair;
	bool moving; /* on_request is at work */
	bool ended;  /* the peer's FIN has come */
	bool passed; /* and went on to the other side */
};

struct pair {
	struct side client, up;
	struct upstream *upstream;
	struct idle idle;
	int refs; /* one for each side that has a connection, one for the fiber that dials */
};

static void pair_unref(struct pair *p)
{
	if (--p->refs)
		return;
	idle_stop(&p->idle);
	if (p->client.conn)
		np_conn_unref(p->client.conn);
	if (p->up.conn)
		np_conn_unref(p->up.conn);
	if (p->upstream)
		upstream_leave(p->upstream);
	free(p);
}

static void close_both(struct pair *p)
{
	if (p->client.conn)
		np_conn_close(p->client.conn);
	if (p->up.conn)
		np_conn_close(p->up.conn);
}

/* By anything but a FIN, or a close of ours: the other side is to see a reset, and no end. */
static bool is_broken(struct np_conn *c)
{
	int why = np_conn_error(c);

	return why < 0 && why != -NP_EEOF && why != -NP_ECLOSED && why != -NP_EMOVED;
}

/* All that came before the FIN has gone on: so does the FIN. */
static void pass_end(struct side *s)
{
	if (!s->ended || s->passed || s->moving || np_conn_len(s->conn) || !s->other->conn)
		return;
	s->passed = true;
	np_conn_shutdown_write(s->other->conn);
	if (s->other->passed)
		close_both(s->pair);
}

static int move(struct np_conn *c, void *arg)
{
	struct side *s = np_conn_data(c);
	int r;

	if (!s || !s->other->conn)
		return -ECONNABORTED;
	s->moving = true;
	idle_moved(&s->pair->idle);
	r = np_conn_forward(c, s->other->conn);
	idle_moved(&s->pair->idle);
	s->moving = false;
	if (r != -NP_EMOVED)
		pass_end(s);
	return r;
}

static void peer_left(struct np_conn *c, void *arg)
{
	struct side *s = np_conn_data(c);

	if (!s)
		return;
	if (is_broken(c)) {
		if (s->other->conn)
			np_conn_abort(s->other->conn);
		return;
	}
	s->ended = true;
	pass_end(s);
}

/* A clock belongs to a poller; both of a pair leave, then both arrive. */
static void moved(struct np_conn *c, void *arg, bool arrived)
{
	struct side *s = np_conn_data(c);

	if (!s)
		return;
	if (!arrived)
		idle_stop(&s->pair->idle);
	else if (idle_start(&s->pair->idle) < 0)
		close_both(s->pair);
}

static void closed(struct np_conn *c, void *arg)
{
	struct side *s = np_conn_data(c);
	struct pair *p;

	if (!s)
		return;
	p = s->pair;
	np_conn_set_data(c, NULL);
	if (s->other->conn) {
		if (is_broken(c))
			np_conn_abort(s->other->conn);
		else
			np_conn_close(s->other->conn);
	}
	pair_unref(p);
}

/* ------------------------------------------------------------------ beginning */

static void attach(struct side *s, struct np_conn *c)
{
	s->conn = np_conn_ref(c);
	s->pair->refs++;
	np_conn_set_data(c, s);
	np_conn_hold(c);
}

/* A side at work waits for the other one's peer, whom the write timeout and the rate bound. */
static void idled(void *arg)
{
	struct pair *p = arg;

	if (!p->client.moving && !p->up.moving)
		close_both(p);
	else if (idle_start(&p->idle) < 0)
		close_both(p);
}

static struct pair *pair_new(int idle_ms)
{
	struct pair *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->client.pair = p->up.pair = p;
	p->client.other = &p->up;
	p->up.other = &p->client;
	p->idle = (struct idle){ .ms = idle_ms, .over = idled, .arg = p };
	p->refs = 1;
	return p;
}

static struct pair *pair_begin(struct np_conn *client, const struct pair_opts *o)
{
	struct pair *p = pair_new(o->idle_ms);

	if (p)
		attach(&p->client, client);
	return p;
}

/* ------------------------------------------------------------------ to the next process */

/* The address of the upstream connection follows. */
struct written {
	bool client_ended, client_passed, up_ended, up_passed;
};

static int client_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	struct side *s = np_conn_data(c);
	const struct pair *p = s->pair;
	const char *to = p->upstream ? p->upstream->address : "";
	struct written w = { p->client.ended, p->client.passed, p->up.ended, p->up.passed };
	int r = np_linkbuf_write(blob, &w, sizeof w);

	return r < 0 ? r : np_linkbuf_write(blob, to, strlen(to));
}

static int up_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	return 0; /* the client's has said it all */
}

static int up_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	struct pair *p = arg;

	attach(&p->up, c);
	return 0;
}

/* The pair has them from here on: holds and references as in the process before. */
static const struct np_handlers up_handlers = {
	.sz = sizeof up_handlers,
	.on_request = move,
	.on_disconnect = peer_left,
	.on_close = closed,
	.on_move = moved,
	.on_export = up_export,
	.on_import = up_import,
	.flags = NP_EXPORT_HELD,
};

static int import_up(struct pair *p, struct pair_opts *o, const struct written *w, const char *to,
		     size_t n)
{
	struct np_conn *up;
	int r = np_conn_import_mate(p->client.conn, &up_handlers, p, &up);

	if (r < 0)
		return r;
	np_conn_unref(up); /* the side has its own */
	p->client.ended = w->client_ended;
	p->client.passed = w->client_passed;
	p->up.ended = w->up_ended;
	p->up.passed = w->up_passed;
	p->upstream = upstream_enter(&o->upstreams, to, n);
	return idle_start(&p->idle);
}

static int client_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	struct written w;
	struct pair *p;
	int r;

	if (n < sizeof w)
		return -EPROTO;
	p = pair_begin(c, arg);
	if (!p)
		return -ENOMEM;
	memcpy(&w, blob, sizeof w);
	r = import_up(p, arg, &w, (const char *)blob + sizeof w, n - sizeof w);
	if (r < 0)
		p->refs--; /* it is no side of anything: on_close is not called */
	pair_unref(p);
	return r;
}

/* ------------------------------------------------------------------ a new client */

/* Where the client's connection began with a header, its addresses are those of that one. */
static int greet(struct np_conn *client, struct np_conn *up, const struct pair_opts *o)
{
	char header[HEADER_MAX];
	struct ends ends = { 0 };
	socklen_t len;
	int r = 0;

	if (o->send_header) {
		np_conn_remote_addr(client, &ends.from, &len);
		np_conn_local_addr(client, &ends.to, &len);
		r = np_conn_write(up, header, header_make(header, o->send_header, &ends));
	}
	return r < 0 ? r : np_conn_flush(up);
}

static int join_upstream(struct pair *p, struct np_conn *client, struct pair_opts *o)
{
	struct np_dial_opts d = { .sz = sizeof d,
				  .timeout_ms = o->connect_ms,
				  .handlers = &up_handlers,
				  .tls = o->tls,
				  .tls_host = o->tls_host };
	struct np_conn *up;
	int r = upstream_dial(&o->upstreams, &d, &p->upstream, &up);

	if (r < 0) {
		p->upstream = NULL;
		return r;
	}
	if (!np_conn_is_active(client)) { /* it left while we dialed */
		np_conn_close(up);
		np_conn_unref(up);
		return -ECONNABORTED;
	}
	attach(&p->up, up);
	np_conn_unref(up); /* the side has its own */
	np_conn_bind(client, up);
	r = idle_start(&p->idle);
	return r < 0 ? r : greet(client, up, o);
}

static int begin(struct np_conn *c, void *arg)
{
	struct pair *p = pair_begin(c, arg);
	int r;

	if (!p)
		return -ENOMEM;
	r = join_upstream(p, c, arg);
	pair_unref(p);
	return r;
}

const struct np_handlers pair_client_handlers = {
	.sz = sizeof pair_client_handlers,
	.on_connect = begin,
	.on_request = move,
	.on_disconnect = peer_left,
	.on_close = closed,
	.on_move = moved,
	.on_export = client_export,
	.on_import = client_import,
	.flags = NP_EXPORT_HELD,
};
