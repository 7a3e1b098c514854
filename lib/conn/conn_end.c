/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_end: how a connection ends, and the one place that decides between FIN and RST
 *
 * A peer that sees FIN has all that was flushed; one that sees RST may have. Where flushed bytes
 * are lost on this side of the kernel (CONN_CUT), and after an abort (CONN_RESET), the connection
 * is reset. Everything else ends in a plain close(2), behind which the kernel goes on delivering:
 * SO_LINGER 0 would destroy replies that arrive. The table of all ways is in netpoll/conn.h.
 */
#include <errno.h>
#include <sys/socket.h>

#include "conn/conn.h"
#include "poll/meter.h"
#include "sys/ack.h"
#include "sys/io.h"
#include "sys/probe.h"
#include "sys/sock.h"

/* ------------------------------------------------------------------ counts */

/* One writer; others read: a plain store that is never torn. */
static void end_publish(uint64_t *word, uint64_t v)
{
	__atomic_store_n(word, v, __ATOMIC_RELAXED);
}

static void end_publish_32(uint32_t *word, uint32_t v)
{
	__atomic_store_n(word, v, __ATOMIC_RELAXED);
}

void conn_group_opened(struct conn_group *g)
{
	g->n++;
	end_publish(&g->load->conns, g->n);
	end_publish(&g->load->accepted_total, g->load->accepted_total + 1);
}

void conn_group_joined(struct conn_group *g)
{
	g->n++;
	end_publish(&g->load->conns, g->n);
	end_publish(&g->moved, g->moved + 1);
	end_publish_32(&g->load->moved_in, g->load->moved_in + 1);
	if (g->on_joined)
		g->on_joined(g);
}

static void end_group_has_less(struct conn_group *g)
{
	g->n--;
	end_publish(&g->load->conns, g->n);
	if (g->on_closed)
		g->on_closed(g);
	if (g->n == 0 && g->on_empty)
		g->on_empty(g);
}

void conn_group_left(struct conn_group *g)
{
	end_publish_32(&g->load->moved_out, g->load->moved_out + 1);
	end_group_has_less(g);
}

void conn_group_handed_over(struct conn_group *g)
{
	end_publish(&g->handed_over, g->handed_over + 1);
	conn_group_left(g);
}

void conn_group_taken_over(struct conn_group *g)
{
	end_publish(&g->taken_over, g->taken_over + 1);
	conn_group_joined(g);
}

static void end_group_closed(struct conn_group *g)
{
	end_publish(&g->load->closed_total, g->load->closed_total + 1);
	end_group_has_less(g);
}

/*
 * References may outlive the server, whose group this was: a connection that is gone belongs to
 * none. (One whose group hears on_freed has it to itself, and keeps it.)
 */
static void end_leave_group(struct np_conn *c)
{
	static const struct np_handlers none = { .sz = sizeof none };
	static struct conn_group gone = { .handlers = &none, .settings = CONN_DEFAULT_SETTINGS };

	if (!c->group->on_freed) {
		c->group = &gone;
		if (!(c->flags & CONN_EXTRA))
			c->set = &gone.settings;
	}
}

/* ------------------------------------------------------------------ closing */

/* Waiters come back with the reason; what is being built and was not flushed is dropped. */
static void end_verbs(struct np_conn *c, int why)
{
	if (!c->why)
		c->why = why ? why : -NP_ECLOSED;
	if (!c->io)
		return;
	conn_wake(&c->io->reader, conn_read_end(c));
	conn_wake(&c->io->writer, -NP_ECLOSED);
}

/*
 * In on_prepare there is nothing to end yet, and a refusal may follow: conn_start() carries it out.
 */
static bool end_is_remembered(struct np_conn *c, enum conn_life s, int why)
{
	if (!list_empty(&c->link))
		return false;
	conn_set_life(c, s);
	if (!c->why)
		c->why = why ? why : -NP_ECLOSED;
	return true;
}

void conn_lost(struct np_conn *c, int err)
{
	c->flags |= CONN_CUT;
	if (!c->why || c->why == -NP_ECLOSED)
		c->why = err;
}

void conn_take_sends(struct np_conn *c)
{
	if (conn_sendq_take(c) >= 0)
		return;
	/* They were taken from their sender: the peer has to hear that they are lost. */
	conn_lost(c, -ENOMEM);
	conn_end(c, -ENOMEM);
}

void conn_close(struct np_conn *c, int why)
{
	conn_assert_owner(c);
	if (conn_life(c) > CONN_OPEN || end_is_remembered(c, CONN_CLOSING, why) ||
	    conn_aside_owes(c->io, CONN_OWED_CLOSE, why))
		return;
	conn_set_life(c, CONN_CLOSING);
	end_verbs(c, why);
	if (c->io && c->io->stream.file)
		conn_out_fails(c, -NP_ECLOSED); /* its middle has no end to be delivered */
	conn_arm_linger(c);
	conn_later(c);
}

void conn_end(struct np_conn *c, int why)
{
	conn_assert_owner(c);
	if (conn_life(c) >= CONN_ENDED || end_is_remembered(c, CONN_ENDED, why))
		return;
	conn_set_life(c, CONN_ENDED);
	if (c->io && !stream_is_drained(&c->io->stream))
		c->flags |= CONN_CUT;
	end_verbs(c, why);
	timer_disarm(&c->timer);
	watch_stop(&c->watch, WATCH_IN | WATCH_OUT | WATCH_GONE);
	conn_later(c);
}

void conn_abort(struct np_conn *c, int why)
{
	if (conn_life(c) >= CONN_ENDED || conn_aside_owes(c->io, CONN_OWED_ABORT, why))
		return;
	c->flags |= CONN_RESET;
	conn_end(c, why);
}

/* ------------------------------------------------------------------ gone */

/*
 * RST goes out as late as this, so that on_close can still ask for the peer's address, which a
 * reset socket has not. Where the kernel refuses it, SO_LINGER does it in close(2), unless another
 * process has a duplicate. A unix socket has none: its peer sees the end, duplicate or not.
 */
static void end_reset(struct np_conn *c)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	if (c->watch.fd >= 0 && c->transport == TRANSPORT_UNIX)
		sys_shutdown(c->watch.fd, SHUT_RDWR);
	if (c->watch.fd < 0 || c->transport != TRANSPORT_TCP)
		return;
	if (sys_tcp_reset(c->watch.fd) < 0)
		sys_setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

void conn_gone(struct np_conn *c)
{
	struct conn_group *g = c->group;
	bool counted = !list_empty(&c->link);

	PROBE3(close, c, c->watch.fd, c->why);
	conn_set_life(c, CONN_GONE);
	if (c->flags & CONN_PROXIED)
		conn_proxy_gone(c);
	if (!c->why)
		c->why = -NP_ECLOSED;
	timer_disarm(&c->timer);
	conn_sendq_drop(c);
	watch_drop(&c->watch);
	poller_fd_leaves(g->poller, c->watch.fd);
	if (c->flags & (CONN_CUT | CONN_RESET))
		end_reset(c);
	sys_close(&c->watch.fd);
	conn_io_put(c);
	conn_leave_set(c);
	conn_extra_drop(c);
	list_remove(&c->link);
	end_leave_group(c);
	if (c->flags & CONN_CUT)
		end_publish(&g->cut, g->cut + 1);
	if (counted)
		end_group_closed(g);
	conn_put(c);
}

static void end_meter_drain(struct np_conn *c)
{
	struct meter *m = poller_meter(conn_poller(c));
	uint64_t now = poller_turn_ms(conn_poller(c)), since = c->group->drain_since_ms;

	if (meter_is_on(m))
		meter_note(m, METER_DRAIN, now > since ? (now - since) * 1000u : 0, 1);
}

void conn_finish(struct np_conn *c)
{
	struct conn_group *g = c->group;

	if (g->draining)
		end_meter_drain(c);
	conn_callbacks_run(c);
	if (g->handlers->on_close) {
		conn_note_handler(c, g->handlers->on_close);
		g->handlers->on_close(c, g->arg);
	}
	conn_gone(c);
}
