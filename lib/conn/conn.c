/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: how a connection begins, what events do to it, and what keeps it. The state table is in
 * conn.h.
 */
#include "conn/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "netpoll/linkbuf.h"
#include "sys/io.h"
#include "sys/sock.h"

static void conn_settle(struct mail *m);
static void conn_event(struct watch *w, unsigned ready);

/* ------------------------------------------------------------------ begin */

static struct np_conn *conn_new(struct conn_group *g, int fd, unsigned flags)
{
	struct np_conn *c = conn_home_get(g->poller);

	if (!c)
		return NULL;
	c->watch.fd = fd;
	c->watch.poller = g->poller;
	list_init(&c->watch.link);
	list_init(&c->link);
	timer_init(&c->timer, conn_clock_fired);
	c->later.fn = conn_settle;
	c->group = g;
	c->flags = flags | (g->half_open ? CONN_HALF_OPEN : 0);
	c->read_timeout_ms = g->read_timeout_ms;
	c->write_timeout_ms = g->write_timeout_ms;
	c->idle_timeout_ms = g->idle_timeout_ms;
	atomic_init(&c->send_high, (uint32_t)g->limits.send_high);
	atomic_init(&c->state, CONN_NEW);
	atomic_init(&c->refs, 1);
	conn_touch(c);
	return c;
}

/* Return: whether it was refused. */
static bool prepare(struct np_conn *c)
{
	const struct conn_group *g = c->group;

	if (!g->handlers->on_prepare)
		return false;
	conn_note_handler(c, g->handlers->on_prepare);
	return g->handlers->on_prepare(c, g->arg) != 0;
}

/* What on_prepare asked for is due: to go on, or to end. */
static void open_or_end(struct np_conn *c)
{
	if (conn_state(c) == CONN_NEW) {
		conn_set_state(c, CONN_OPEN);
		conn_arm_clock(c);
		watch_want(&c->watch, WATCH_GONE);
		conn_rx_resume(c);
		return;
	}
	if (conn_state(c) == CONN_CLOSING)
		conn_arm_linger(c);
	conn_later(c);
}

int conn_start(struct conn_group *g, int *fd, unsigned flags, struct np_conn **ret)
{
	struct np_conn *c = conn_new(g, *fd, flags);
	int r;

	if (!c) {
		sys_close(fd);
		return -ENOMEM;
	}
	*fd = -1;
	if (prepare(c)) {
		conn_gone(c);
		return 1;
	}
	r = watch_open(&c->watch, g->poller, c->watch.fd, 0, conn_event);
	if (r < 0) {
		conn_gone(c);
		return r;
	}
	list_append(&g->conns, &c->link);
	conn_group_opened(g);
	open_or_end(c);
	if (ret)
		*ret = np_conn_ref(c);
	if (!g->handlers->on_connect)
		c->flags |= CONN_CONNECTED;
	else if (conn_state(c) == CONN_OPEN)
		conn_serve(c);
	return 0;
}

/* ------------------------------------------------------------------ events */

/*
 * The peer left while nothing is read, because the input is full or paused: what it sent before
 * its FIN may still be wanted, but nobody waits for the bytes of a connection that was reset.
 */
static __attribute__((noinline)) void peer_gone(struct np_conn *c)
{
	int err = 0;

	watch_cant(&c->watch, WATCH_GONE);
	if ((c->watch.want & WATCH_IN) || conn_state(c) != CONN_OPEN || (c->flags & CONN_RX_END))
		return;
	if (c->watch.flags & WATCH_ERR) {
		sys_getsockopt_int(c->watch.fd, SOL_SOCKET, SO_ERROR, &err);
		conn_rx_ended(c, err ? -err : -ECONNRESET);
		conn_deliver(c);
	}
	c->flags |= CONN_LEFT;
	conn_deliver(c); /* with the input full, this is the handler's last call */
	conn_later(c);
}

static void conn_event(struct watch *w, unsigned ready)
{
	struct np_conn *c = container_of(w, struct np_conn, watch);

	if (ready & WATCH_GONE) {
		peer_gone(c);
		conn_cancel_left(c);
	}
	if (ready & WATCH_OUT && conn_state(c) <= CONN_CLOSING) {
		conn_tx(c);
		if (conn_state(c) == CONN_CLOSING || (c->flags & (CONN_RX_END | CONN_WR_SHUT)))
			conn_later(c);
		else if (!conn_unsent(c))
			conn_shrink(c);
	}
	if (!(ready & WATCH_IN))
		return;
	if (conn_state(c) == CONN_OPEN) {
		conn_fill(c, POLLER_BUDGET);
		conn_deliver(c);
	} else if (conn_state(c) == CONN_LINGER || conn_state(c) == CONN_CLOSING) {
		conn_discard(c);
	} else {
		watch_stop(w, WATCH_IN | WATCH_OUT | WATCH_GONE);
	}
}

/* ------------------------------------------------------------------ the end of a turn */

/* The queue holds a reference: whatever happens until then, conn_settle() finds the memory. */
void conn_later(struct np_conn *c)
{
	conn_assert_owner(c);
	if (c->flags & CONN_LATER)
		return;
	c->flags |= CONN_LATER;
	np_conn_ref(c);
	poller_defer(conn_poller(c), &c->later);
}

void conn_enter(struct np_conn *c)
{
	c->inside++;
}

void conn_leave(struct np_conn *c)
{
	c->inside--;
	if (!c->inside && conn_state(c) == CONN_DEAD)
		conn_later(c);
}

/* The peer has left behind a full input of which the handler takes nothing, though it was called
 * once more. */
static bool refuses_input(const struct np_conn *c)
{
	const unsigned all = CONN_LEFT | CONN_RX_FULL | CONN_END_HANDLED;

	return (c->flags & all) == all;
}

/* What follows from the peer's leaving, and from shutdown_write, while the connection is open. */
static void settle_open(struct np_conn *c)
{
	bool over = c->flags & CONN_RX_END;

	conn_take_sendq(c);
	if (conn_unsent(c) && !c->tx_err && !(c->watch.want & WATCH_OUT))
		conn_tx(c);
	/* After a failed send a FIN would tell the peer that it has everything. */
	if ((c->flags & CONN_WR_SHUT) && !(c->flags & CONN_FIN_SENT) && !conn_unsent(c) &&
	    !c->tx_err)
		conn_send_fin(c);
	if ((c->flags & CONN_SERVING) || c->inside || conn_has_request(c))
		return;
	if (!over) {
		if ((c->group->retiring || refuses_input(c)) && !c->holds)
			conn_begin_close(c, 0);
		return;
	}
	if (c->rx_err || c->tx_err) {
		conn_die(c, c->why);
		return;
	}
	if (conn_unsent(c) || c->holds)
		return;
	if (!(c->flags & CONN_HALF_OPEN) || (c->flags & CONN_FIN_SENT))
		conn_die(c, -NP_EEOF);
}

static void tell_left(struct np_conn *c)
{
	if (!(c->flags & CONN_LEFT) || (c->flags & CONN_LEFT_TOLD) || !(c->flags & CONN_CONNECTED))
		return;
	c->flags |= CONN_LEFT_TOLD;
	if (!c->why)
		c->why = -NP_EEOF;
	if (c->group->handlers->on_disconnect) {
		conn_note_handler(c, c->group->handlers->on_disconnect);
		c->group->handlers->on_disconnect(c, c->group->arg);
	}
}

static void conn_settle(struct mail *m)
{
	struct np_conn *c = container_of(m, struct np_conn, later);

	/*
	 * CONN_LATER stays set: what is asked for from here on is looked at below, in this very
	 * turn. The handler of a connection that is over already is not told that the peer left.
	 */
	if (conn_state(c) == CONN_OPEN)
		tell_left(c);
	if (conn_state(c) == CONN_OPEN)
		settle_open(c);
	if (conn_state(c) == CONN_CLOSING)
		conn_settle_closing(c);
	else if (conn_state(c) == CONN_LINGER && conn_rules(c)->linger_ms == NP_NOW)
		conn_die(c, 0); /* set while it lingered */
	if (conn_state(c) == CONN_DEAD && !c->inside && !(c->flags & CONN_SERVING)) {
		if (c->flags & CONN_LEFT)
			tell_left(c);
		conn_finish(c);
	}
	c->flags &= ~(uint32_t)CONN_LATER;
	if (conn_state(c) == CONN_OPEN)
		conn_shrink(c);
	np_conn_unref(c);
}

void conn_retire(struct np_conn *c)
{
	if (conn_state(c) != CONN_OPEN || (c->flags & CONN_SERVING))
		return;
	if (!(c->flags & (CONN_RX_END | CONN_PAUSED)))
		conn_fill(c, POLLER_BUDGET);
	conn_deliver(c);
	if (conn_state(c) == CONN_OPEN && !(c->flags & CONN_SERVING))
		conn_begin_close(c, 0);
}

/* ------------------------------------------------------------------ references */

struct np_conn *np_conn_ref(struct np_conn *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void np_conn_hold(struct np_conn *c)
{
	c->holds++;
}

void np_conn_unhold(struct np_conn *c)
{
	if (!c->holds || --c->holds || conn_state(c) != CONN_OPEN)
		return;
	if (!(c->flags & CONN_SERVING))
		conn_request_over(c);
	conn_touch(c); /* idle from now on: while an answer was owed the clock stood still */
	conn_arm_clock(c);
	conn_later(c);
}

int np_conn_error(struct np_conn *c)
{
	return c->why;
}

bool np_conn_is_active(struct np_conn *c)
{
	if (conn_state(c) > CONN_OPEN)
		return false;
	return poller_self() != conn_poller(c) || (!c->tx_err && !(c->flags & CONN_WR_SHUT));
}

int np_conn_detach(struct np_conn *c, int *ret_fd, struct np_linkbuf **ret_in)
{
	struct np_linkbuf *in = NULL;
	size_t n = c->io ? linkbuf_len(&c->io->in) : 0;
	int r;

	if (conn_state(c) != CONN_OPEN)
		return conn_state(c) == CONN_NEW ? -NP_ENOTOPEN : -NP_ECLOSED;
	if (conn_unsent(c) || mailbox_any(&c->sendq) ||
	    (c->io && (c->io->reading || c->io->writing)))
		return -EBUSY;
	if (ret_in && n) {
		r = np_linkbuf_slice(&c->io->in, n, &in);
		if (r < 0)
			return r;
	}
	conn_die(c, 0);
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
