/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_serve: the fiber that runs on_connect and on_request
 *
 * At most one for each connection. It takes a stack when there is something to handle and gives it
 * back when there is not: an idle connection has none. What a reader would get wrong: on_request is
 * not called "while there is input" but while it makes progress; one that leaves its input alone is
 * called again when more has arrived, and once at EOF.
 */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "sys/symbol.h"

#define RELEASE_AT    4096u
/* handlers in a row: the clock costs half of what the shortest of them does */
#define PUBLISH_EVERY 8u

static bool has_handler(const struct np_conn *c)
{
	return c->group->handlers->on_request || (c->extra && c->extra->on_request);
}

static int handle(struct np_conn *c)
{
	if (c->extra && c->extra->on_request)
		return c->extra->on_request(c, c->extra->on_request_arg);
	return c->group->handlers->on_request(c, c->group->arg);
}

/* Once for each dispatch: a handler that is replaced while its connection is served is named as the
 * old one. */
static void note_handler(struct np_conn *c)
{
	bool own = c->extra && c->extra->on_request;

	conn_note_handler(c, own ? c->extra->on_request : c->group->handlers->on_request);
}

/*
 * No more bytes will come of themselves: the peer's FIN was read; or it has been reported, and the
 * input in front of it stands at its limit.
 */
static inline bool at_end(const struct np_conn *c)
{
	return (c->flags & CONN_RX_END) ||
	       (c->flags & (CONN_LEFT | CONN_RX_FULL)) == (CONN_LEFT | CONN_RX_FULL);
}

static inline bool has_request(const struct np_conn *c)
{
	const struct conn_io *io = c->io;
	size_t len = io ? linkbuf_len(&io->in) : 0;

	if (len == 0 || conn_state(c) != CONN_OPEN || !(c->flags & CONN_CONNECTED) ||
	    !has_handler(c))
		return false;
	return len >= io->call_at || (at_end(c) && !(c->flags & CONN_END_HANDLED));
}

bool conn_has_request(const struct np_conn *c)
{
	return has_request(c);
}

/*
 * What is left of the input is the beginning of the next one. While a hold is in force, its answer
 * is still owed.
 */
static void serve_request_over(struct np_conn *c)
{
	if (!(c->flags & CONN_REQUEST) || c->holds)
		return;
	conn_request_over(c);
	if (linkbuf_len(&c->io->in))
		conn_request_came(c);
}

#define SAY_EVERY_MS 1000u

/* A peer that left is no failure of the handler's: it returned what its verb said. */
static bool serve_is_failure(const struct np_conn *c, int r)
{
	return conn_state(c) == CONN_OPEN &&
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
	conn_begin_close(c, r);
}

static void call_connect(struct np_conn *c)
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
static void release_read(struct np_conn *c)
{
#ifndef NP_DEBUG
	const struct conn_io *io = c->io;
	size_t len = linkbuf_len(&io->in);

	if (len && io->held - len < RELEASE_AT)
		return;
#endif
	np_conn_release(c);
}

static void call_request(struct np_conn *c)
{
	struct conn_io *io = c->io;
	size_t consumed = io->rx_total - linkbuf_len(&io->in);
	bool ended = at_end(c);
	int r;

	c->flags &= ~(uint32_t)CONN_WANT;
	io->call_at = 1;
	r = handle(c);
	fiber_set_until(io->handler, 0);
	release_read(c);
	if (r < 0) {
		serve_failed(c, poller_handler(conn_poller(c)), r);
		return;
	}
	if (io->rx_total - linkbuf_len(&io->in) != consumed) {
		serve_request_over(c);
		return;
	}
	if (ended)
		c->flags |= CONN_END_HANDLED;
	if (!(c->flags & CONN_WANT))
		io->call_at = linkbuf_len(&io->in) + 1;
}

static void serve(void *arg)
{
	struct np_conn *c = arg;
	unsigned batch = 0;

	conn_enter(c);
	c->io->handler = fiber_self();
	conn_cancel_left(c);
	if (!(c->flags & CONN_CONNECTED) && conn_state(c) == CONN_OPEN)
		call_connect(c);
	if (has_request(c)) {
		note_handler(c);
		call_request(c);
	}
	while (has_request(c)) {
		/* A long batch of short handlers is not one hung handler. */
		if (++batch % PUBLISH_EVERY == 0)
			poller_publish_busy(conn_poller(c));
		call_request(c);
	}
	if (c->flags & CONN_RX_FULL)
		np_conn_release(c); /* what release_read() put off makes room */
	c->io->handler = NULL;
	c->flags &= ~(uint32_t)CONN_SERVING;

	if (conn_state(c) == CONN_OPEN && conn_unsent(c) && !(c->watch.want & WATCH_OUT))
		conn_tx(c); /* the end of this dispatch: what was flushed leaves in one send */
	conn_leave(c);
	if (conn_state(c) != CONN_OPEN || (c->flags & (CONN_RX_END | CONN_WR_SHUT)) ||
	    c->group->retiring)
		conn_later(c);
	else
		conn_shrink(c);
}

void conn_serve(struct np_conn *c)
{
	struct conn_io *io;
	int r;

	if (c->flags & CONN_SERVING)
		return;
	r = conn_io_get(c, &io);
	if (r < 0) {
		conn_begin_close(c, r);
		return;
	}
	c->flags |= CONN_SERVING;
	io->begin = (struct spawn){ .fn = serve, .arg = c };
	poller_begin_fiber(conn_poller(c), &io->begin);
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
	if (conn_state(c) == CONN_GONE)
		return -NP_ECLOSED;
	c->flags = (c->flags & ~(uint32_t)CONN_CANCEL) | (on ? CONN_CANCEL : 0);
	conn_cancel_left(c);
	return 0;
}

int conn_fd_of_fiber(const struct fiber *f)
{
	return fiber_fn(f) == serve ? ((struct np_conn *)fiber_arg(f))->watch.fd : -1;
}
