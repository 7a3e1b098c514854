/* SPDX-License-Identifier: BSD-2-Clause */
/* handover_pair: what is written of a pair is which FINs have come and gone on. */
#include "support/handover_pair.h"

#include <errno.h>
#include <netpoll/client.h>
#include <netpoll/linkbuf.h>
#include <netpoll/status.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/child.h"

struct side {
	struct np_conn *conn; /* until its on_close */
	struct side *other;
	struct pair *pair;
	bool busy, ended, passed;
};

struct pair {
	struct side client, up;
	struct hand_pair *o;
};

static const struct np_handlers up_handlers;

static void side_begin(struct side *s, struct np_conn *c)
{
	s->conn = np_conn_ref(c);
	np_conn_set_data(c, s);
	np_conn_hold(c);
}

static struct pair *pair_new(struct hand_pair *o)
{
	struct pair *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->client.pair = p->up.pair = p;
	p->client.other = &p->up;
	p->up.other = &p->client;
	p->o = o;
	return p;
}

static void pass_end(struct side *s)
{
	if (!s->ended || s->passed || s->busy || np_conn_len(s->conn) || !s->other->conn)
		return;
	s->passed = true;
	np_conn_shutdown_write(s->other->conn);
	if (s->other->passed) {
		np_conn_close(s->conn);
		np_conn_close(s->other->conn);
	}
}

static int on_request(struct np_conn *c, void *arg)
{
	struct side *s = np_conn_data(c);
	int r;

	if (!s->other->conn)
		return -ECONNABORTED;
	s->busy = true;
	r = np_conn_forward(c, s->other->conn);
	s->busy = false;
	if (r != -NP_EMOVED)
		pass_end(s);
	return r;
}

static bool is_broken(struct np_conn *c)
{
	int why = np_conn_error(c);

	return why != -NP_EEOF && why != -NP_ECLOSED && why != -NP_EMOVED;
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	struct side *s = np_conn_data(c);

	s->ended = true;
	if (is_broken(c) && s->other->conn)
		np_conn_abort(s->other->conn);
	else
		pass_end(s);
}

static void on_close(struct np_conn *c, void *arg)
{
	struct side *s = np_conn_data(c);
	struct np_conn *other = s->other->conn;
	struct pair *p = s->pair;

	if (other && is_broken(c))
		np_conn_abort(other);
	else if (other)
		np_conn_close(other);
	s->conn = NULL;
	p->o->on_end(c);
	np_conn_unref(c);
	if (!other)
		free(p);
}

static int on_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	const struct side *s = np_conn_data(c);
	int r = s->pair->o->on_export();

	return r < 0 ? r : np_linkbuf_write(blob, (bool[]){ s->ended, s->passed }, 2);
}

static int side_import(struct side *s, struct np_conn *c, const void *blob, size_t n)
{
	bool ways[2];
	int r = s->pair->o->on_import();

	if (r < 0 || n != sizeof ways)
		return r < 0 ? r : -EPROTO;
	memcpy(ways, blob, n);
	s->ended = ways[0];
	s->passed = ways[1];
	side_begin(s, c);
	return 0;
}

static int up_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	struct pair *p = arg;

	return side_import(&p->up, c, blob, n);
}

/* One that ends at once. */
static void bind_other(struct np_conn *c)
{
	struct np_conn *other;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0 ||
	    np_conn_from_fd(NULL, NP_HERE, &fd[0], NULL, NULL, &other) < 0 ||
	    np_conn_bind(c, other) < 0)
		child_fail("no other connection");
	np_conn_close(other);
	np_conn_unref(other);
	close(fd[1]);
}

static int client_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	struct pair *p = pair_new(arg);
	struct np_conn *up;
	int r = p ? side_import(&p->client, c, blob, n) : -ENOMEM;

	if (r < 0) {
		free(p);
		return r;
	}
	if (p->o->leaves_mate)
		return 0;
	if (p->o->binds_other)
		bind_other(c);
	r = np_conn_import_mate(c, &up_handlers, p, &up);
	if (r == 0) {
		np_conn_unref(up);
	} else {
		np_conn_unref(c);
		free(p);
	}
	return r;
}

static int on_connect(struct np_conn *c, void *arg)
{
	struct hand_pair *o = arg;
	struct pair *p = pair_new(o);
	struct np_conn *up;
	int r;

	if (!p)
		return -ENOMEM;
	side_begin(&p->client, c);
	r = np_dial(NULL, NP_HERE, "tcp", o->upstream,
		    NP_OPTS(np_dial_opts, .handlers = &up_handlers, .arg = o), &up);
	if (r < 0)
		return r;
	side_begin(&p->up, up);
	np_conn_unref(up);
	return np_conn_bind(c, up);
}

static const struct np_handlers up_handlers = {
	.sz = sizeof up_handlers,
	.on_request = on_request,
	.on_disconnect = on_disconnect,
	.on_close = on_close,
	.on_export = on_export,
	.on_import = up_import,
	.flags = NP_EXPORT_HELD,
};

const struct np_handlers hand_pair_handlers = {
	.sz = sizeof hand_pair_handlers,
	.on_connect = on_connect,
	.on_request = on_request,
	.on_disconnect = on_disconnect,
	.on_close = on_close,
	.on_export = on_export,
	.on_import = client_import,
	.flags = NP_EXPORT_HELD,
};
