/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_clock: the one timer of a connection, and when a peer counts as doing nothing
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

/* ------------------------------------------------------------------ what the peer takes */

static struct conn_ack *conn_ack_of(struct np_conn *c)
{
	if (!c->io && conn_io_make(c) < 0)
		return NULL;
	return &c->io->ack;
}

static uint32_t ack_burst(uint64_t n)
{
	return n < BURST_MAX ? (uint32_t)n : BURST_MAX;
}

/* A step may fall into two looks: what the one before saw belongs to it. */
static void ack_progress(struct conn_ack *k, uint64_t now, uint64_t n)
{
	k->window = ack_burst((uint64_t)k->step + n);
	k->step = ack_burst(n);
	k->at_ms = now;
}

/*
 * What was acknowledged before the first look may have been so just now: it buys time, but moves
 * nothing.
 */
static void ack_first(struct conn_ack *k, const struct sys_ack *a)
{
	k->window = a->acked > 1 ? ack_burst(a->acked) : 0;
}

static void ack_look(struct np_conn *c, struct conn_ack *k, const struct sys_ack *a, uint64_t now)
{
	bool tcp = c->flags & CONN_INET;

	if (!k->looked)
		ack_first(k, a);
	else if (tcp ? a->acked != k->acked :
		       a->queued < k->queued || c->io->tx_total != k->tx_total)
		ack_progress(k, now, tcp ? a->acked - k->acked : 1);
	else
		k->step = 0;
	k->looked = true;
	k->acked = a->acked;
	k->queued = a->queued;
	k->tx_total = c->io->tx_total;
}

static uint64_t ack_allowance(const struct np_conn *c, const struct conn_ack *k)
{
	int rate = conn_rules(c)->min_rate;

	if (!k->window)
		return NEVER_ACKED_MS;
	return rate < 0 ? UINT64_MAX / 4 : (uint64_t)k->window * 1000u / (unsigned)rate;
}

/* Bytes that the peer has not acknowledged; not our FIN. */
static size_t ack_owed(const struct np_conn *c, const struct sys_ack *a)
{
	return a->queued - (a->queued && (c->flags & CONN_INET) && (c->flags & CONN_FIN_SENT));
}

uint64_t conn_ack_deadline(struct np_conn *c, uint64_t since_ms, int timeout_ms, bool *ret_owes)
{
	uint64_t now = poller_now_ms(conn_poller(c)), from = since_ms;
	struct conn_ack *k = conn_ack_of(c);
	struct sys_ack a;

	*ret_owes = false;
	if (!k || sys_ack(c->watch.fd, c->flags & CONN_INET, &a) < 0)
		return since_ms + (uint64_t)timeout_ms;
	if (a.over)
		return now;
	ack_look(c, k, &a, now);
	if (k->at_ms > from)
		from = k->at_ms;
	*ret_owes = ack_owed(c, &a) != 0;
	return from + (uint64_t)timeout_ms +
	       (*ret_owes || conn_unsent(c) ? ack_allowance(c, k) : 0);
}

uint64_t conn_ack_look_at(struct np_conn *c, uint64_t deadline_ms)
{
	uint64_t soon = poller_now_ms(conn_poller(c)) + LOOK_MS;

	return deadline_ms < soon ? deadline_ms : soon;
}

/* ------------------------------------------------------------------ while it is open */

static uint64_t clock_idle_at(struct np_conn *c)
{
	uint64_t now = poller_now_ms(conn_poller(c));

	if (!c->idle_timeout_ms || c->holds)
		return 0;
	return now - (uint32_t)((uint32_t)now - c->active_ms) + (uint64_t)c->idle_timeout_ms;
}

static uint64_t clock_request_at(const struct np_conn *c)
{
	return c->flags & CONN_REQUEST ?
		       c->io->request_ms + (uint64_t)conn_rules(c)->request_timeout_ms :
		       0;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

void conn_arm_clock(struct np_conn *c)
{
	uint64_t at;

	if (conn_state(c) != CONN_OPEN)
		return;
	at = sooner(clock_idle_at(c), clock_request_at(c));
	if (at)
		timer_arm(conn_poller(c), &c->timer, at);
	else
		timer_disarm(&c->timer);
}

/*
 * What has come may lie in the kernel: this thread may have been kept, or the whole process
 * stopped. A deadline that bytes can refute is not judged before they are read.
 */
static void clock_read(struct np_conn *c)
{
	if (c->flags & (CONN_PAUSED | CONN_RX_END | CONN_RX_FULL))
		return;
	conn_fill(c, POLLER_BUDGET);
	conn_deliver(c);
}

static bool clock_at_work(const struct np_conn *c)
{
	return (c->flags & CONN_SERVING) && !(c->io && (c->io->reader || c->io->writer));
}

static void clock_idle(struct np_conn *c)
{
	uint64_t now = poller_now_ms(conn_poller(c)), deadline;
	bool owes;

	deadline = conn_ack_deadline(c, now - (uint32_t)((uint32_t)now - c->active_ms),
				     c->idle_timeout_ms, &owes);
	if (deadline <= now)
		conn_begin_close(c, -ETIMEDOUT);
	else
		timer_arm(conn_poller(c), &c->timer, conn_ack_look_at(c, deadline));
}

/*
 * A request whose last byte was here in time gets one more turn to be answered; a drip gets no
 * second one.
 */
static void clock_request(struct np_conn *c)
{
	if (c->io->request_judged) {
		conn_begin_close(c, -ETIMEDOUT);
		return;
	}
	c->io->request_judged = true;
	timer_arm(conn_poller(c), &c->timer, poller_now_ms(conn_poller(c)) + 1);
}

static void clock_open(struct np_conn *c)
{
	uint64_t at;

	clock_read(c);
	if (conn_state(c) != CONN_OPEN)
		return;
	if (clock_at_work(c))
		conn_touch(c);
	at = clock_request_at(c);
	if (at && at <= poller_now_ms(conn_poller(c))) {
		clock_request(c);
		return;
	}
	at = clock_idle_at(c);
	if (at && at <= poller_now_ms(conn_poller(c)))
		clock_idle(c);
	else
		conn_arm_clock(c);
}

void conn_request_begins(struct np_conn *c)
{
	uint64_t now = poller_now_ms(conn_poller(c)), at;

	c->flags |= CONN_REQUEST;
	c->io->request_ms = now;
	c->io->request_judged = false;
	at = clock_request_at(c);
	if (!timer_armed(&c->timer) || c->timer.when_ms > at)
		timer_arm(conn_poller(c), &c->timer, at);
}

/* ------------------------------------------------------------------ behind a close */

void conn_arm_linger(struct np_conn *c)
{
	int ms = conn_rules(c)->linger_ms;

	c->active_ms = (uint32_t)poller_now_ms(conn_poller(c));
	if (ms >= 0)
		timer_arm(conn_poller(c), &c->timer, poller_after_ms(conn_poller(c), ms));
	else
		timer_disarm(&c->timer);
}

/*
 * U > 0: the peer cannot have it all, and is told so. U = 0: the kernel delivers what it has,
 * whatever we do.
 */
static void clock_linger(struct np_conn *c)
{
	uint64_t now = poller_now_ms(conn_poller(c)), deadline;
	int ms = conn_rules(c)->linger_ms;
	bool owes;

	if (!(c->flags & CONN_RX_END))
		conn_discard(c);
	if (conn_state(c) == CONN_CLOSING)
		conn_tx(c);
	if (conn_state(c) >= CONN_DEAD || ms < 0)
		return;
	deadline = conn_ack_deadline(c, now - (uint32_t)((uint32_t)now - c->active_ms), ms, &owes);
	if (deadline > now && (owes || conn_unsent(c))) {
		timer_arm(conn_poller(c), &c->timer, conn_ack_look_at(c, deadline));
		return;
	}
	if (conn_unsent(c))
		conn_lost(c, -NP_EWRITETIMEOUT);
	conn_die(c, 0);
}

void conn_clock_fired(struct timer *t)
{
	struct np_conn *c = container_of(t, struct np_conn, timer);

	if (conn_state(c) == CONN_OPEN)
		clock_open(c);
	else
		clock_linger(c);
}
