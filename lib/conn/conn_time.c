/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_time: the one timer of a connection, and when a peer counts as doing nothing
 *
 * While open it is the sooner of the idle timeout and the request timeout; behind a close it is the
 * linger. Idle is a timestamp that the timer looks at when it fires, so traffic never re-arms
 * anything.
 *
 * "The peer does nothing" means that it acknowledges nothing. Our own send(2) does not tell: it
 * goes on only when a third of the send buffer is free. And a peer that reads steadily acknowledges
 * in steps, for its kernel opens the window only when a sixteenth of its buffer is free, seconds
 * apart. What it acknowledged last buys it the time that reading so much takes at min_rate:
 *
 *   deadline = last progress + timeout + bytes acknowledged lately / min_rate
 *
 * The kernel is asked when a deadline is judged, and never on a close that goes well.
 */
#include <errno.h>

#include "conn/conn.h"
#include "sys/ack.h"

#define NEVER_ACKED_MS 1000u         /* what a peer gets that has acknowledged nothing yet */
#define BURST_MAX      (512u * 1024) /* a sixteenth of the largest default buffer, and more */
#define LOOK_MS        1000u         /* looks apart: a longer one would count many steps as one */
#define LATE_MS        100u          /* a first look that comes so late does not judge */

/* ------------------------------------------------------------------ what the peer takes */

static struct conn_ack *time_ack(struct np_conn *c)
{
	if (!c->io && conn_io_attach(c) < 0)
		return NULL;
	return &c->io->ack;
}

static uint32_t time_burst(uint64_t n)
{
	return n < BURST_MAX ? (uint32_t)n : BURST_MAX;
}

/* A step may fall into two looks: what the one before saw belongs to it. */
static void time_progress(struct conn_ack *k, uint64_t now, uint64_t n)
{
	k->window = time_burst((uint64_t)k->step + n);
	k->step = time_burst(n);
	k->at_ms = now;
}

/*
 * What was acknowledged before the first look may have been so just now: it buys time, but moves
 * nothing. Where that look is late, since the process was stopped or the thread kept, it may have
 * been long after the deadline as well: a second look judges.
 */
static void time_first(struct conn_ack *k, const struct sys_ack *a)
{
	k->window = a->acked > 1 ? time_burst(a->acked) : 0;
}

static void time_look(struct np_conn *c, struct conn_ack *k, const struct sys_ack *a, uint64_t now)
{
	uint64_t tx_total = c->io->stream.tx_total;
	bool tcp = c->transport == TRANSPORT_TCP;

	if (!k->looked)
		time_first(k, a);
	else if (tcp ? a->acked != k->acked : a->queued < k->queued || tx_total != k->tx_total)
		time_progress(k, now, tcp ? a->acked - k->acked : 1);
	else
		k->step = 0;
	k->looked = true;
	k->acked = a->acked;
	k->queued = a->queued;
	k->tx_total = tx_total;
}

static uint64_t time_allowance(const struct np_conn *c, const struct conn_ack *k)
{
	int rate = c->set->min_rate;

	if (!k->window)
		return NEVER_ACKED_MS;
	return rate < 0 ? UINT64_MAX / 4 : (uint64_t)k->window * 1000u / (unsigned)rate;
}

/* Bytes that the peer has not acknowledged; not our FIN. */
static size_t time_owed(const struct np_conn *c, const struct sys_ack *a)
{
	return a->queued - (a->queued && c->transport == TRANSPORT_TCP && c->out == CONN_OUT_SHUT);
}

uint64_t conn_ack_deadline(struct np_conn *c, uint64_t since_ms, int timeout_ms, bool *ret_owes)
{
	uint64_t now = poller_now_ms(conn_poller(c)), from = since_ms;
	struct conn_ack *k = time_ack(c);
	struct sys_ack a;
	bool first;

	*ret_owes = false;
	if (!k || stream_progress(&c->io->stream, &a) < 0)
		return since_ms + (uint64_t)timeout_ms;
	if (a.over)
		return now;
	first = !k->looked;
	time_look(c, k, &a, now);
	if (k->at_ms > from)
		from = k->at_ms;
	from += (uint64_t)timeout_ms;
	*ret_owes = time_owed(c, &a) != 0;
	if (!*ret_owes && !conn_unsent(c))
		return from;
	return first && now > from + LATE_MS ? now + LOOK_MS : from + time_allowance(c, k);
}

uint64_t conn_ack_look_at(struct np_conn *c, uint64_t deadline_ms)
{
	uint64_t soon = poller_now_ms(conn_poller(c)) + LOOK_MS;

	return deadline_ms < soon ? deadline_ms : soon;
}

/* When the connection was last active, whole: active_ms is the low half. */
static uint64_t time_active_ms(const struct np_conn *c, uint64_t now)
{
	return now - (uint32_t)((uint32_t)now - c->active_ms);
}

/* ------------------------------------------------------------------ while it is open */

static uint64_t time_idle_at(struct np_conn *c)
{
	if (!c->set->idle_timeout_ms || c->holds)
		return 0;
	return time_active_ms(c, poller_now_ms(conn_poller(c))) + (uint64_t)c->set->idle_timeout_ms;
}

/* While a PROXY header is awaited its limit holds instead. */
static uint64_t time_request_at(const struct np_conn *c)
{
	if (c->flags & CONN_PROXIED)
		return conn_extra_of(c)->proxied->until_ms;
	if (!c->io || !c->io->request)
		return 0;
	return c->io->request_ms + (uint64_t)c->set->request_timeout_ms;
}

static uint64_t time_sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

void conn_arm_clock(struct np_conn *c)
{
	uint64_t at;

	if (conn_life(c) != CONN_OPEN)
		return;
	at = time_sooner(time_idle_at(c), time_request_at(c));
	at = time_sooner(at, conn_filter_until(c));
	if (c->group->retiring)
		at = time_sooner(at, conn_retire_at(c));
	if (at)
		timer_arm(conn_poller(c), &c->timer, at);
	else
		timer_disarm(&c->timer);
}

static bool time_at_work(const struct np_conn *c)
{
	return conn_is_served(c) && !c->io->reader && !c->io->writer;
}

static bool time_idle_is_over(struct np_conn *c)
{
	uint64_t now = poller_now_ms(conn_poller(c)), deadline;
	bool owes;

	deadline = conn_ack_deadline(c, time_active_ms(c, now), c->set->idle_timeout_ms, &owes);
	if (deadline <= now)
		return true;
	timer_arm(conn_poller(c), &c->timer, conn_ack_look_at(c, deadline));
	return false;
}

/*
 * A request whose last byte was here in time gets one more turn to be answered; a drip gets no
 * second one.
 */
static bool time_request_is_over(struct np_conn *c)
{
	if (c->flags & CONN_PROXIED)
		return conn_proxy_is_late(c);
	if (c->io->late)
		return true;
	c->io->late = true;
	timer_arm(conn_poller(c), &c->timer, poller_now_ms(conn_poller(c)) + 1);
	return false;
}

static bool time_open_is_over(struct np_conn *c)
{
	uint64_t now = poller_now_ms(conn_poller(c)), at;

	if (time_at_work(c))
		conn_touch(c);
	at = conn_filter_until(c);
	if (at && at <= now)
		return true;
	at = time_request_at(c);
	if (at && at <= now)
		return time_request_is_over(c);
	at = time_idle_at(c);
	if (at && at <= now)
		return time_idle_is_over(c);
	conn_arm_clock(c);
	return false;
}

void conn_request_begins(struct np_conn *c)
{
	uint64_t at;

	c->io->request = true;
	c->io->late = false;
	c->io->request_ms = poller_now_ms(conn_poller(c));
	at = time_request_at(c);
	if (!timer_armed(&c->timer) || c->timer.when_ms > at)
		timer_arm(conn_poller(c), &c->timer, at);
}

void conn_request_over(struct np_conn *c)
{
	const struct fiber *f = conn_handler(c);

	if (!c->io)
		return;
	c->io->request = false;
	if (conn_len(c) && (!f || f != fiber_self()) && conn_life(c) == CONN_OPEN)
		conn_request_came(c);
}

/* ------------------------------------------------------------------ behind a close */

void conn_arm_linger(struct np_conn *c)
{
	int ms = c->set->linger_ms;

	if (list_empty(&c->link)) /* its close is only remembered */
		return;
	c->flags |= CONN_TIMED;
	c->active_ms = (uint32_t)poller_now_ms(conn_poller(c));
	if (ms >= 0)
		timer_arm(conn_poller(c), &c->timer, poller_after_ms(conn_poller(c), ms));
	else
		timer_disarm(&c->timer);
}

static bool time_linger_is_over(struct np_conn *c)
{
	uint64_t now = poller_now_ms(conn_poller(c)), deadline;
	int ms = c->set->linger_ms;
	bool owes;

	if (ms < 0)
		return false;
	deadline = conn_ack_deadline(c, time_active_ms(c, now), ms, &owes);
	if (deadline <= now || (!owes && !conn_unsent(c)))
		return true;
	timer_arm(conn_poller(c), &c->timer, conn_ack_look_at(c, deadline));
	return false;
}

bool conn_time_is_over(struct np_conn *c)
{
	return conn_life(c) == CONN_OPEN ? time_open_is_over(c) : time_linger_is_over(c);
}
