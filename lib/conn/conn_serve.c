/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_serve: the fiber that runs on_connect and on_request
 *
 * At most one for each connection. It takes a stack when there is something to handle and gives it
 * back when there is not: an idle connection has none. on_request is not called "while there is
 * input" but while it makes progress; one that leaves its input alone is called again when more has
 * arrived, and once at EOF.
 */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "sys/symbol.h"

#define RELEASE_AT    4096u
#define PUBLISH_EVERY 8u /* handlers in a row: the clock costs half of what the shortest one does */
#define SAY_EVERY_MS  1000u

/* Whether on_request is the connection's own. */
static inline bool serve_is_own(const struct np_conn *c)
{
	return (c->flags & CONN_EXTRA) && conn_extra_of(c)->on_request;
}

static inline int serve_handle(struct np_conn *c)
{
	struct conn_extra *x = conn_extra_of(c);

	if (x && x->on_request)
		return x->on_request(c, x->on_request_arg);
	return c->group->handlers->on_request(c, c->group->arg);
}

/* Once for each dispatch: a handler that is replaced while its connection is served is named as
 * the old one. */
static void serve_note(struct np_conn *c)
{
	conn_note_handler(c, serve_is_own(c) ? conn_extra_of(c)->on_request :
					       c->group->handlers->on_request);
}

static inline bool serve_has_request(const struct np_conn *c)
{
	const struct conn_io *io = c->io;
	size_t len = linkbuf_len(&io->stream.in);

	if (!len || conn_life(c) != CONN_OPEN || !(c->flags & CONN_CONNECTED))
		return false;
	if (len < io->call_at && !(conn_at_end(c) && !io->end_handled))
		return false;
	return c->group->handlers->on_request || serve_is_own(c);
}

bool conn_has_request(const struct np_conn *c)
{
	return c->io && serve_has_request(c);
}

/*
 * What is left of the input is the beginning of the next one. While a hold is in force, its answer
 * is still owed.
 */
static inline void serve_request_over(struct np_conn *c)
{
	if (!c->io->request || c->holds)
		return;
	c->io->request = false;
	if (conn_len(c))
		conn_request_came(c);
}

/* A peer that left is no failure of the handler's: it returned what its verb said. */
static bool serve_is_failure(const struct np_conn *c, int r)
{
	return conn_life(c) == CONN_OPEN &&
	       !((c->flags & CONN_LEFT) && (np_err_is_closed(r) || r == -ECANCELED));
}

static void serve_failed(struct np_conn *c, const void *fn, int r)
{
	struct conn_group *g = c->group;
	uint64_t now = poller_now_ms(conn_poller(c));
	char name[128];

	if (serve_is_failure(c, r)) {
		__atomic_store_n(&g->handler_errors, g->handler_errors + 1, __ATOMIC_RELAXED);
		if (g->said_ms && now - g->said_ms < SAY_EVERY_MS) {
			g->unsaid++;
		} else {
			poller_log(
				conn_poller(c), 1,
				"poller %d: handler %s returned %d (%s): its connection is closed; %llu more since the last line",
				poller_index(conn_poller(c)), sys_symbol(fn, name, sizeof name), r,
				np_strerror(r), (unsigned long long)g->unsaid);
			g->said_ms = now;
			g->unsaid = 0;
		}
	}
	conn_close(c, r);
}

static void serve_connect(struct np_conn *c)
{
	int r;

	conn_note_handler(c, c->group->handlers->on_connect);
	r = c->group->handlers->on_connect(c, c->group->arg);
	c->flags |= CONN_CONNECTED;
	fiber_set_until(fiber_self(), 0);
	if (c->flags & CONN_LEFT)
		conn_later(c); /* on_disconnect has waited for this */
	if (r < 0)
		serve_failed(c, c->group->handlers->on_connect, r);
	else
		serve_request_over(c);
}

/*
 * What a request read may go once it has returned. In a batch that is put off until a block's worth
 * has come together: one release frees it. Debug builds release each time, so that a pointer kept
 * too long is found.
 */
static inline void serve_release(struct np_conn *c)
{
#ifndef NP_DEBUG
	const struct stream *s = &c->io->stream;

	if (linkbuf_len(&s->in) && stream_unreleased(s) < RELEASE_AT)
		return;
#endif
	np_conn_release(c);
}

static void serve_request(struct np_conn *c)
{
	struct conn_io *io = c->io;
	size_t consumed = io->stream.rx_total - conn_len(c);
	bool ended = conn_at_end(c);
	int r;

	io->wanted = false;
	io->call_at = 1;
	r = serve_handle(c);
	fiber_set_until(io->handler, 0);
	serve_release(c);
	if (r < 0) {
		serve_failed(c, poller_handler(conn_poller(c)), r);
	} else if (io->stream.rx_total - conn_len(c) != consumed) {
		serve_request_over(c);
	} else {
		if (ended)
			io->end_handled = true;
		if (!io->wanted)
			io->call_at = conn_len(c) + 1;
	}
}

/* What was flushed leaves in one send, and the connection goes idle. */
static void serve_end(struct np_conn *c)
{
	if (c->in == CONN_IN_FULL)
		np_conn_release(c); /* what serve_release() put off makes room */
	c->io->handler = NULL;
	c->io->service = CONN_UNSERVED;
	if (conn_unsent(c) && conn_life(c) == CONN_OPEN)
		conn_pump(c, PUMP_FLUSH);
	conn_leave(c);
	if (conn_life(c) != CONN_OPEN || conn_in_is_over(c) || c->out == CONN_OUT_DRAINING ||
	    c->group->retiring)
		conn_later(c);
	else
		conn_io_shrink(c);
}

static void serve(void *arg)
{
	struct np_conn *c = arg;
	unsigned batch = 0;

	conn_enter(c);
	c->io->service = CONN_SERVED;
	c->io->handler = fiber_self();
	conn_cancel_left(c);
	if (!(c->flags & CONN_CONNECTED) && conn_life(c) == CONN_OPEN)
		serve_connect(c);
	if (serve_has_request(c)) {
		serve_note(c);
		serve_request(c);
	}
	while (serve_has_request(c)) {
		/* A long batch of short handlers is not one hung handler. */
		if (++batch % PUBLISH_EVERY == 0)
			poller_publish_busy(conn_poller(c));
		serve_request(c);
	}
	serve_end(c);
}

void conn_serve(struct np_conn *c)
{
	if (conn_is_served(c))
		return;
	if (!c->io && conn_io_attach(c) < 0) {
		conn_close(c, -ENOMEM);
		return;
	}
	c->io->service = CONN_QUEUED;
	c->io->spawn.fn = serve;
	c->io->spawn.arg = c;
	poller_begin_fiber(conn_poller(c), &c->io->spawn);
}

/* A peer that has shut its writing side may wait for its answer still, where half_open says so. */
static bool serve_has_left(const struct np_conn *c)
{
	if (c->rx_err || (c->watch.flags & (WATCH_HUP | WATCH_ERR)))
		return true;
	return (c->flags & CONN_LEFT) && !(c->flags & CONN_HALF_OPEN);
}

void conn_cancel_left(struct np_conn *c)
{
	struct fiber *f = conn_handler(c);

	if (f && (c->flags & CONN_CANCEL) && serve_has_left(c))
		park_cancel_fiber(f);
}

int np_conn_cancel_on_leave(struct np_conn *c, bool on)
{
	if (conn_life(c) == CONN_GONE)
		return -NP_ECLOSED;
	c->flags = (uint16_t)((c->flags & ~CONN_CANCEL) | (on ? CONN_CANCEL : 0));
	conn_cancel_left(c);
	return 0;
}

int conn_fd_of_fiber(const struct fiber *f)
{
	return fiber_fn(f) == serve ? ((struct np_conn *)fiber_arg(f))->watch.fd : -1;
}
