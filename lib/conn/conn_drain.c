/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_drain: what a drain tells a connection, and when a stop closes it
 *
 * A close of an idle connection races with a request that is on its way: the peer gets EOF for an
 * answer. So a stop waits for the next request, which the handler answers with "close" in whatever
 * its protocol calls it, and closes by itself only when time is up.
 *
 *   the connection                         closes, where nothing goes on
 *   at work, or held                       when it is done, if its moment has passed
 *   fresh: was never served                at fresh_until_ms
 *   a part of a request is here            likewise, and not before an idle one
 *   idle                                   at idle_until_ms, or up to spread_ms before: all at once
 *                                          would come back all at once
 *   the peer's FIN is here, no request is  now
 */
#include "conn/conn.h"
#include "netpoll/linkbuf.h"
#include "poll/baton.h"

/* A handler that works when the time of its fresh connection is over is looked at again. */
#define LOOK_MS 100u

bool np_conn_draining(const struct np_conn *c)
{
	NP_GATE(np_conn_draining(c));

	conn_assert_owner(c);
	return c->group->draining;
}

/* ------------------------------------------------------------------ told */

void conn_drain(struct np_conn *c)
{
	if (c->group->draining && c->group->handlers->on_drain && conn_life(c) == CONN_OPEN)
		conn_later(c);
}

void conn_drain_tell(struct np_conn *c)
{
	const struct conn_group *g = c->group;

	if (!g->draining || !g->handlers->on_drain || !(c->flags & CONN_CONNECTED) ||
	    (c->flags & CONN_DRAIN_TOLD))
		return;
	c->flags |= CONN_DRAIN_TOLD;
	conn_note_handler(c, g->handlers->on_drain);
	g->handlers->on_drain(c, g->arg);
}

/* ------------------------------------------------------------------ closed */

/* What a handler has taken and not answered, within its first call, is no service yet. */
static bool drain_is_fresh(const struct np_conn *c)
{
	const struct stream *s = c->io ? &c->io->stream : NULL;

	if (c->flags & CONN_USED)
		return false;
	return !s || !s->tx_total || s->rx_total == linkbuf_len(&s->in);
}

static bool drain_has_part(const struct np_conn *c)
{
	return c->io && (linkbuf_len(&c->io->stream.in) || c->io->call_at > 1);
}

/* The moment is the connection's own, and the same whenever it is asked for. */
static uint64_t drain_idle_until(const struct np_conn *c)
{
	const struct conn_group *g = c->group;
	uint64_t some = ((uintptr_t)c >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	return g->idle_until_ms - (g->spread_ms ? some % g->spread_ms : 0);
}

static uint64_t drain_until(const struct np_conn *c)
{
	uint64_t idle_until = drain_idle_until(c), fresh_until = c->group->fresh_until_ms;

	if (conn_in_is_over(c) && !drain_has_part(c))
		return 0;
	if (drain_is_fresh(c))
		return fresh_until;
	return drain_has_part(c) && fresh_until > idle_until ? fresh_until : idle_until;
}

/*
 * A handler of a server that waits for the rest of a first request, and has said nothing yet, is
 * like one that has not begun: a peer that drips cannot hold up the stop.
 */
static bool drain_waits_for_first(const struct np_conn *c)
{
	return c->group->draining && c->io->reader && !c->io->writer && !c->io->stream.tx_total &&
	       drain_is_fresh(c);
}

static bool drain_may_close(const struct np_conn *c)
{
	if (conn_life(c) != CONN_OPEN || c->holds)
		return false;
	if (conn_is_served(c))
		return drain_waits_for_first(c);
	return !c->inside && !(c->io && conn_has_request(c, c->io));
}

/* One writer; others read. */
static void drain_count(uint64_t *word)
{
	__atomic_store_n(word, *word + 1, __ATOMIC_RELAXED);
}

static void drain_close(struct np_conn *c)
{
	if (c->group->draining && !conn_in_is_over(c))
		drain_count(drain_is_fresh(c) ? &c->group->fresh : &c->group->drained);
	c->flags |= CONN_RETIRED;
	conn_close(c, 0);
}

uint64_t conn_retire_at(const struct np_conn *c)
{
	uint64_t at = drain_until(c), now = poller_now_ms(conn_poller(c));

	if (at == UINT64_MAX)
		return 0;
	if (at > now)
		return at;
	return drain_is_fresh(c) && conn_is_served(c) ? now + LOOK_MS : 0;
}

void conn_retire(struct np_conn *c)
{
	uint64_t at;

	if (drain_until(c) <= poller_now_ms(conn_poller(c)) && drain_may_close(c) &&
	    !conn_aside_owes(c->io, CONN_OWED_SETTLE, 0)) {
		conn_pump(c, PUMP_IN);
		if (drain_may_close(c) && drain_until(c) <= poller_now_ms(conn_poller(c)))
			drain_close(c);
	}
	at = conn_life(c) == CONN_OPEN ? conn_retire_at(c) : 0;
	if (at && (!timer_armed(&c->timer) || c->timer.when_ms > at))
		timer_arm(conn_poller(c), &c->timer, at);
}

void conn_retire_raced(struct np_conn *c)
{
	if (!(c->flags & CONN_RETIRED))
		return;
	c->flags &= (uint16_t)~CONN_RETIRED;
	drain_count(&c->group->raced);
}
