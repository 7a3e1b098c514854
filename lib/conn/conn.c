/* SPDX-License-Identifier: BSD-2-Clause */
/* conn: how a connection begins, and what reaches it: its timer, the end of a turn. */
#include "conn/conn.h"

#include <errno.h>

#include "netpoll/linkbuf.h"
#include "poll/baton.h"
#include "sys/io.h"

/* ------------------------------------------------------------------ what reaches it */

/*
 * What has come may lie in the kernel: this thread may have been kept, or the whole process
 * stopped. A deadline that bytes can refute is not judged before they are read.
 */
static void conn_time_is_up(struct timer *t)
{
	struct np_conn *c = container_of(t, struct np_conn, timer);

	if (conn_aside_owes(c->io, CONN_OWED_TIMER, 0))
		return;
	if (conn_life(c) == CONN_OPEN) {
		if (c->in == CONN_IN_OPEN)
			conn_pump(c, PUMP_IN);
		if (conn_life(c) == CONN_OPEN && conn_time_is_over(c))
			conn_close(c, -ETIMEDOUT);
		if (c->group->retiring)
			conn_retire(c);
		return;
	}
	conn_pump(c, PUMP_IN | PUMP_OUT);
	if (conn_life(c) >= CONN_ENDED || !conn_time_is_over(c))
		return;
	/* The peer cannot have it all, and is told so; where nothing is unsent the kernel delivers
	 * what it has, whatever we do. */
	if (conn_unsent(c))
		conn_lost(c, -NP_EWRITETIMEOUT);
	conn_end(c, 0);
}

struct np_conn *conn_of_dispatch(const void *fn, void *arg)
{
	return fn == conn_event ? container_of((struct watch *)arg, struct np_conn, watch) :
				  conn_of_service(fn, arg);
}

/* ------------------------------------------------------------------ begin */

/* By the turn's own reading of the clock. */
static void conn_note_begin(struct np_conn *c)
{
	uint64_t now = poller_turn_ms(conn_poller(c));

	c->began_high = (uint16_t)(now >> 32);
	c->watch.note = (uint32_t)now;
}

struct np_conn *conn_new(struct conn_group *g, int fd, enum transport_kind kind)
{
	struct np_conn *c = conn_home_get(g->poller);

	if (!c)
		return NULL;
	c->watch.fd = fd;
	c->watch.poller = g->poller;
	conn_note_begin(c);
	list_init(&c->watch.link);
	list_init(&c->link);
	timer_init(&c->timer, conn_time_is_up);
	c->later.fn = conn_settle;
	c->owned = CONN_NO_IO;
	c->group = g;
	c->set = &g->settings;
	c->flags = (uint16_t)((g->half_open ? CONN_HALF_OPEN : 0) |
			      (conn_settings_are_timed(&g->settings) ? CONN_TIMED : 0));
	c->transport = kind;
	atomic_init(&c->send_high, (uint32_t)g->settings.limits.send_high);
	atomic_init(&c->at, g->poller);
	atomic_init(&c->life, CONN_NEW);
	atomic_init(&c->refs, 1);
	conn_touch(c);
	return c;
}

/* Return: 0; 1: it was refused. */
static int conn_prepare(struct np_conn *c)
{
	const struct conn_group *g = c->group;

	if (!g->handlers->on_prepare)
		return 0;
	conn_note_handler(c, g->handlers->on_prepare);
	return g->handlers->on_prepare(c, g->arg) != 0;
}

/* What on_prepare asked for is due: to go on, or to end. */
static void conn_open_or_end(struct np_conn *c)
{
	if (conn_life(c) == CONN_NEW) {
		conn_set_life(c, CONN_OPEN);
		conn_arm_clock(c);
		watch_want(&c->watch, WATCH_GONE);
		conn_pump(c, PUMP_ROOM);
		return;
	}
	if (conn_life(c) == CONN_CLOSING)
		conn_arm_linger(c);
	conn_later(c);
}

/* on_connect is due, unless bytes have to come first. */
void conn_begin_handlers(struct np_conn *c)
{
	struct conn_io *io;

	if (c->flags & CONN_PROXIED)
		return;
	if (!c->group->handlers->on_connect) {
		c->flags |= CONN_CONNECTED;
		conn_find_handler(c);
		conn_drain(c);
		if (c->flags & CONN_MOVES)
			conn_later(c); /* its move has waited for this */
	} else if (conn_life(c) == CONN_OPEN) {
		if (conn_io_get(c, &io) < 0)
			conn_close(c, -ENOMEM);
		else
			conn_serve(c, io);
	}
}

int conn_start(struct conn_group *g, int *fd, enum transport_kind kind, struct np_conn **ret)
{
	struct np_conn *c = conn_new(g, *fd, kind);
	int r;

	if (!c) {
		sys_close(fd);
		return -ENOMEM;
	}
	*fd = -1;
	r = g->proxy.mode ? conn_proxy_begin(c) : 0;
	if (r == 0)
		r = conn_prepare(c);
	if (r) {
		conn_gone(c);
		return r;
	}
	r = conn_filter_prepare(c);
	if (r == 0)
		r = watch_open(&c->watch, g->poller, c->watch.fd, 0, conn_event);
	if (r < 0) {
		conn_gone(c);
		return r;
	}
	list_append(&g->conns, &c->link);
	conn_group_opened(g);
	conn_open_or_end(c);
	if (ret)
		*ret = np_conn_ref(c);
	if (conn_filter_of(c) && !(c->flags & CONN_PROXIED))
		conn_filter_begin(c);
	else
		conn_begin_handlers(c);
	return 0;
}

/* ------------------------------------------------------------------ asked of it */

void np_conn_hold(struct np_conn *c)
{
	NP_GATE_VOID(np_conn_hold(c));

	c->holds++;
}

void np_conn_unhold(struct np_conn *c)
{
	NP_GATE_VOID(np_conn_unhold(c));

	if (!c->holds || --c->holds || conn_life(c) != CONN_OPEN)
		return;
	if (!conn_is_served(c))
		conn_request_over(c);
	conn_touch(c); /* idle from now on: while an answer was owed the clock stood still */
	conn_arm_clock(c);
	conn_later(c);
}

int np_conn_error(struct np_conn *c)
{
	NP_GATE(np_conn_error(c));

	return conn_why(c);
}

bool np_conn_is_active(struct np_conn *c)
{
	NP_GATE(np_conn_is_active(c));

	if (conn_life(c) > CONN_OPEN)
		return false;
	return !conn_is_here(c) || c->out == CONN_OUT_OPEN;
}

int np_conn_detach(struct np_conn *c, int *ret_fd, struct np_linkbuf **ret_in)
{
	NP_GATE(np_conn_detach(c, ret_fd, ret_in));

	struct np_linkbuf *in = NULL;
	int r;

	if (conn_life(c) == CONN_OPEN)
		conn_take_sends(c); /* calls of np_conn_post() may be among them: no output */
	if (conn_life(c) != CONN_OPEN)
		return conn_life(c) == CONN_NEW ? -NP_ENOTOPEN : -NP_ECLOSED;
	if (conn_filter_of(c))
		return -NP_EUNSUPPORTED; /* its bytes are of no use without it */
	if (conn_unsent(c) || (c->owned & (CONN_IN_OWNED | CONN_OUT_OWNED)))
		return -EBUSY;
	if (ret_in && conn_len(c)) {
		r = np_linkbuf_slice(&c->io->stream.in, conn_len(c), &in);
		if (r < 0)
			return r;
	}
	conn_end(c, 0);
	watch_close(&c->watch);
	poller_fd_leaves(conn_poller(c), c->watch.fd);
	if (conn_handler(c))
		park_forget_fd(conn_handler(c));
	*ret_fd = c->watch.fd;
	c->watch.fd = -1; /* the caller may close it before on_close has run */
	if (ret_in)
		*ret_in = in;
	return 0;
}
