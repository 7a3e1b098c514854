/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_look: the counts that are kept anyway, and for TCP the kernel's
 *
 * An idle connection has no I/O state, and its counts went with that. The kernel counts the same
 * bytes for as long as the socket lives, and is asked here alone.
 */
#include "conn/conn_look.h"

#include "conn/conn.h"
#include "sys/ack.h"
#include "sys/sock.h"

static const char *look_life(const struct np_conn *c)
{
	static const char *const names[] = {
		"new", "open", "closing", "lingering", "ended", "gone"
	};

	return names[conn_life(c)];
}

static const char *look_in(const struct np_conn *c)
{
	static const char *const names[] = { "open", "full", "paused", "ended", "failed" };

	return names[c->in];
}

static const char *look_out(const struct np_conn *c)
{
	static const char *const names[] = { "open", "draining", "shut", "failed" };

	return names[c->out];
}

static const char *look_transport(const struct np_conn *c)
{
	return c->transport == TRANSPORT_TCP  ? "tcp" :
	       c->transport == TRANSPORT_UNIX ? "unix" :
						"file";
}

static void look_at_io(const struct np_conn *c, struct conn_look *l)
{
	const struct stream *s = &c->io->stream;

	l->bytes_in = s->rx_total;
	l->bytes_out = s->tx_total;
	l->input = s->held;
	l->unread = linkbuf_len(&s->in);
	l->unsent = stream_unsent(s) + (s->file ? s->file->left : 0);
	l->built = linkbuf_len(&s->out) - s->submitted + np_linkbuf_pending(&s->out);
	l->service = c->io->service == CONN_SERVED ? "served" :
		     c->io->service == CONN_QUEUED ? "queued" :
						     "idle";
	l->handled = c->io->handler && park_look(c->io->handler, &l->park);
	l->tag = l->handled ? l->park.tag : c->holds ? c->io->tag : NULL;
}

static void look_at_kernel(const struct np_conn *c, struct conn_look *l)
{
	struct sys_tcp_sight s;

	if (sys_peer_addr(c->watch.fd, &l->peer, &l->peer_len) < 0)
		l->peer_len = 0;
	if (c->transport != TRANSPORT_TCP || sys_tcp_look(c->watch.fd, &s) < 0)
		return;
	l->bytes_in = s.received;
	l->bytes_out = s.sent;
	l->in_flight = s.in_flight;
	l->quiet_ms = s.quiet_ms;
}

struct np_conn *conn_of_watch(struct watch *w)
{
	return w->fn == conn_event ? container_of(w, struct np_conn, watch) : NULL;
}

void conn_look(const struct np_conn *c, struct conn_look *ret)
{
	uint64_t now = poller_turn_ms(conn_poller(c)),
		 began = conn_began_ms(c->began_high, &c->watch);

	*ret = (struct conn_look){
		.fd = c->watch.fd,
		.life = look_life(c),
		.in = look_in(c),
		.out = look_out(c),
		.transport = look_transport(c),
		.service = "idle",
		.age_ms = now > began ? now - began : 0,
		.bytes_in = CONN_LOOK_UNKNOWN,
		.bytes_out = CONN_LOOK_UNKNOWN,
		.quiet_ms = CONN_LOOK_UNKNOWN,
		.in_flight = CONN_LOOK_UNKNOWN,
		.queued = atomic_load_explicit(&c->sendq_bytes, memory_order_relaxed),
		.holds = c->holds,
		.refs = conn_refs(c),
		.why = c->why,
		.draining = c->group->draining,
		.left = (c->flags & CONN_LEFT) != 0,
	};
	if (c->io)
		look_at_io(c, ret);
	if (c->watch.fd >= 0)
		look_at_kernel(c, ret);
}
