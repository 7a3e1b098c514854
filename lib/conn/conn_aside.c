/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_aside: a connection whose handler was left alone with its thread
 *
 * The handler may have its buffers in hand, by np_conn_in(), np_conn_out() and what it has read. So
 * nobody else touches them until it is back in a verb, parks or ends: nothing is read or settled,
 * and what was asked for meanwhile is caught up with then. A set is put aside as one. Verbs of
 * other fibers that need the buffers wait.
 *
 * What it had flushed is its peer's all the same, as are the replies of a batch before the one that
 * blocks: who takes the poller over sends that first, out of a buffer in which nothing is changed
 * (stream_lend()).
 *
 *   state   leaves it by
 *   here    its thread loses the baton in code of the user's: conn_set_aside() -> aside
 *   aside   it has it again: likewise -> here
 */
#include <errno.h>

#include "conn/conn.h"

/* A verb of another fiber; lies on its stack. */
struct aside_wait {
	struct park park;
	struct list link;
};

static void aside_begins(struct np_conn *c)
{
	struct conn_io *io = c->io;

	c->owned |= CONN_IN_ASIDE | CONN_OUT_ASIDE;
	list_init(&io->aside_waits);
	io->aside_want = c->watch.want & (WATCH_OUT | WATCH_GONE);
	io->aside_owed = 0;
	io->aside_why = 0;
	io->aside_error = 0;
	watch_stop(&c->watch, WATCH_IN | WATCH_OUT | WATCH_GONE);
}

static void aside_wake(struct conn_io *io)
{
	struct list *l;

	while ((l = list_pop(&io->aside_waits)))
		park_wake(&container_of(l, struct aside_wait, link)->park, 0);
}

static void aside_ends(struct np_conn *c)
{
	struct conn_io *io = c->io;
	unsigned owed = io->aside_owed;

	c->owned &= (uint8_t) ~(CONN_IN_ASIDE | CONN_OUT_ASIDE);
	stream_unlend(&io->stream);
	aside_wake(io);
	if (conn_life(c) < CONN_ENDED)
		watch_want(&c->watch, io->aside_want);
	if (io->aside_error)
		conn_out_fails(c, io->aside_error);
	conn_pump(c, PUMP_ROOM);
	if (owed & CONN_OWED_POST)
		poller_post(conn_poller(c), &c->post_mail);
	if ((owed & CONN_OWED_TIMER) && !timer_armed(&c->timer))
		timer_arm(conn_poller(c), &c->timer, poller_now_ms(conn_poller(c)));
	if (owed & CONN_OWED_ABORT)
		conn_abort(c, io->aside_why);
	else if (owed & CONN_OWED_CLOSE)
		conn_close(c, io->aside_why);
	if (owed & CONN_OWED_SETTLE)
		conn_later(c);
}

static void aside_set(struct np_conn *c, unsigned whose, bool on)
{
	struct conn_io *io = c->io;

	if (on && io && !io->aside)
		aside_begins(c);
	if (!io || (!on && !(io->aside & whose)))
		return;
	io->aside = (uint8_t)(on ? io->aside | whose : io->aside & ~whose);
	if (!io->aside)
		aside_ends(c);
}

void conn_set_aside(struct fiber *f, bool aside)
{
	struct np_conn *c = conn_of_service(fiber_fn(f), fiber_arg(f));
	struct np_conn *mate = c ? conn_mate(c) : NULL;

	if (!c)
		return;
	aside_set(c, CONN_ASIDE_OWN, aside);
	if (mate)
		aside_set(mate, CONN_ASIDE_MATE, aside);
}

void conn_send_aside(struct fiber *f)
{
	struct np_conn *c = conn_of_service(fiber_fn(f), fiber_arg(f));

	if (c && conn_is_aside(c) && conn_life(c) <= CONN_CLOSING)
		conn_pump(c, PUMP_OUT);
}

bool conn_aside_owes(struct conn_io *io, unsigned owed, int why)
{
	if (!io || !io->aside)
		return false;
	io->aside_owed |= (uint8_t)owed;
	if (why)
		io->aside_why = why;
	return true;
}

static bool aside_wait_ends(struct park *k, int *why)
{
	list_remove(&container_of(k, struct aside_wait, park)->link);
	return true;
}

/* All of them together are one that is inside: they may be more than c->inside counts. */
static int aside_park(struct np_conn *c, struct conn_extra *x, struct aside_wait *w, int ms)
{
	int r;

	list_init(&w->link);
	list_append(&c->io->aside_waits, &w->link);
	c->inside += !x->awaits++;
	r = park_wait(&w->park, ms ? poller_after_ms(conn_poller(c), ms) : 0);
	if (!--x->awaits)
		conn_leave(c);
	return r;
}

int conn_await(struct np_conn *c, int timeout_ms, int late)
{
	struct conn_extra *x;
	struct aside_wait w;
	int r;

	r = park_init(&w.park, aside_wait_ends, "aside");
	if (r < 0)
		return r == -NP_ENOTFIBER ? -NP_ECONCURRENT : r;
	r = conn_extra(c, &x);
	if (r < 0)
		return r;
	r = aside_park(c, x, &w, timeout_ms);
	return r == -ETIMEDOUT && !w.park.by_deadline ? late : r;
}
