/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_settle: what the end of a turn makes of a connection
 *
 * What follows from the peer's leaving, from a close and from shutdown_write is not done where it
 * is found out, but here: once, on main, when no stack frame holds the connection. So the user's
 * on_disconnect, close callbacks and on_close may do what they like.
 */
#include <errno.h>
#include <sys/socket.h>

#include "conn/conn.h"
#include "sys/sock.h"

/*
 * Anybody on the way can send a FIN: one that was seen before the filter's end was read is a cut
 * until that is read. pump_reads_end() knows then.
 */
static int settle_end_of(const struct np_conn *c)
{
	return conn_filter_of(c) && !conn_in_is_over(c) ? -NP_ECUT : -NP_EEOF;
}

static void settle_tell_left(struct np_conn *c)
{
	if (!(c->flags & CONN_LEFT) || (c->flags & CONN_TOLD) || !(c->flags & CONN_CONNECTED))
		return;
	c->flags |= CONN_TOLD;
	if (!c->why)
		c->why = settle_end_of(c);
	if (c->group->handlers->on_disconnect) {
		conn_note_handler(c, c->group->handlers->on_disconnect);
		c->group->handlers->on_disconnect(c, c->group->arg);
	}
}

/* All has gone out that is to come before FIN. */
static bool settle_is_drained(struct np_conn *c)
{
	return !conn_unsent(c) && (!conn_filter_of(c) || conn_filter_ends(c));
}

/* The FIN of a pipe or tty is its close(2); one that can be read stays open for that. */
static bool settle_fin_is_the_end(const struct np_conn *c)
{
	return c->transport == TRANSPORT_FILE &&
	       (conn_life(c) > CONN_OPEN || !sys_can_read(c->watch.fd));
}

static void settle_send_fin(struct np_conn *c)
{
	c->out = CONN_OUT_SHUT;
	if (settle_fin_is_the_end(c))
		conn_end(c, 0);
	else if (c->transport != TRANSPORT_FILE && sys_shutdown(c->watch.fd, SHUT_WR) < 0 &&
		 conn_life(c) > CONN_OPEN)
		conn_end(c, 0); /* ENOTCONN: the peer's RST was first */
}

/* ------------------------------------------------------------------ while it is open */

/* A handler is at work, or will be. */
static bool settle_is_busy(const struct np_conn *c)
{
	return conn_is_served(c) || c->inside || (c->io && conn_has_request(c, c->io));
}

/* The peer has left behind a full input of which the handler takes nothing, though it was called
 * once more. */
static bool settle_is_refused(const struct np_conn *c)
{
	return (c->flags & CONN_LEFT) && c->in == CONN_IN_FULL && c->io && c->io->end_handled;
}

/*
 * Nothing that is sent can arrive: a reset came, before or behind the FIN that was read; or the
 * peer of a unix socket has closed it, and not only shut its writing side.
 */
static bool settle_is_broken(const struct np_conn *c)
{
	return c->rx_err || c->tx_err || (c->watch.flags & WATCH_ERR) ||
	       ((c->watch.flags & WATCH_HUP) && c->transport == TRANSPORT_UNIX);
}

/*
 * Its last word is on its way: the peer hears why, and what it still sends is thrown away, since
 * RST would take that word with it.
 */
static void settle_filter_failed(struct np_conn *c)
{
	if (c->io)
		stream_drop_output(&c->io->stream);
	c->in = CONN_IN_OPEN;
	conn_close(c, c->why);
}

/*
 * Of one without handlers a fiber takes the input, when it likes. Nobody will where nobody has a
 * reference, but for the library and this turn.
 */
static bool settle_is_left_unread(struct np_conn *c)
{
	return c->group->in_hand && conn_in_is_over(c) && c->io && !c->io->on_request &&
	       conn_len(c) && conn_keep(c, 2);
}

static void settle_open(struct np_conn *c)
{
	conn_take_sends(c);
	conn_pump(c, PUMP_FLUSH | PUMP_TELL);
	/* After a failed send a FIN would tell the peer that it has everything. */
	if (c->out == CONN_OUT_DRAINING && settle_is_drained(c))
		settle_send_fin(c);
	if (conn_life(c) != CONN_OPEN || settle_is_busy(c))
		return;
	if (settle_is_left_unread(c))
		return;
	if (!conn_in_is_over(c)) {
		if (settle_is_refused(c) && !c->holds)
			conn_close(c, 0);
		else if (c->group->retiring)
			conn_retire(c);
	} else if (conn_filter_has_failed(c)) {
		settle_filter_failed(c);
	} else if (settle_is_broken(c)) {
		conn_end(c, c->why);
	} else if (!conn_unsent(c) && !c->holds &&
		   (!(c->flags & CONN_HALF_OPEN) || c->out == CONN_OUT_SHUT)) {
		if (settle_is_drained(c))
			conn_end(c, -NP_EEOF);
	} else if (c->group->retiring) {
		conn_retire(c);
	}
}

/* ------------------------------------------------------------------ behind a close */

/* NP_NOW: what the kernel has not taken by now is lost; what it has, it delivers. */
static void settle_end_now(struct np_conn *c)
{
	if (conn_unsent(c))
		conn_lost(c, -NP_EWRITETIMEOUT);
	else
		conn_pump(c, PUMP_IN);
	conn_end(c, 0);
}

/* The output is drained: FIN, and on to the peer's. */
static void settle_linger(struct np_conn *c)
{
	if (c->out != CONN_OUT_SHUT)
		settle_send_fin(c);
	if (conn_life(c) != CONN_CLOSING)
		return;
	conn_set_life(c, CONN_LINGERING);
	if (c->set->linger_ms == NP_NOW)
		settle_end_now(c);
	else
		conn_arm_linger(c);
}

/*
 * From here on input is thrown away, paused or full as it may have been: a peer that cannot send
 * may not read either, and what is unread at close(2) makes the kernel send RST.
 */
static void settle_closing(struct np_conn *c)
{
	conn_take_sends(c); /* what was sent before the close is delivered */
	conn_pump(c, PUMP_ROOM | (conn_unsent(c) ? PUMP_OUT : 0));
	if (conn_life(c) != CONN_CLOSING)
		return;
	if (!c->tx_err && !settle_is_drained(c)) { /* the watch goes on, the linger runs */
		if (c->set->linger_ms == NP_NOW)
			settle_end_now(c);
	} else if (c->tx_err || conn_in_is_over(c)) {
		conn_end(c, 0);
	} else {
		settle_linger(c);
	}
}

/*
 * CONN_LATER stays set: what is asked for meanwhile is looked at below, in this very turn. The
 * handler of a connection that is over already is not told that the peer left.
 */
void conn_settle(struct mail *m)
{
	struct np_conn *c = container_of(m, struct np_conn, later);

	if (list_empty(&c->link)) { /* gone, or on its way: another process may have it */
		c->flags &= (uint16_t)~CONN_LATER;
		conn_put(c);
		return;
	}
	if (conn_aside_owes(c->io, CONN_OWED_SETTLE, 0)) {
		c->flags &= (uint16_t)~CONN_LATER;
		conn_put(c);
		return;
	}
	if (conn_filter_of(c))
		conn_filter_settle(c);
	if (conn_life(c) == CONN_OPEN)
		settle_tell_left(c);
	if (conn_life(c) == CONN_OPEN)
		conn_drain_tell(c);
	if (conn_life(c) == CONN_OPEN)
		settle_open(c);
	if (conn_life(c) == CONN_CLOSING)
		settle_closing(c);
	else if (conn_life(c) == CONN_LINGERING && c->set->linger_ms == NP_NOW)
		conn_end(c, 0); /* set while it lingered */
	if (conn_life(c) == CONN_ENDED && !c->inside && !conn_is_served(c)) {
		settle_tell_left(c);
		conn_finish(c);
	}
	c->flags &= (uint16_t)~CONN_LATER;
	if (c->io && (c->io->parting & CONN_PARTING_MOVES) && !(c->flags & CONN_MOVES))
		conn_stay(c); /* the request was taken back */
	if (!(c->flags & CONN_MOVES) || !conn_move_off(c))
		conn_io_shrink(c);
	conn_put(c);
}
