/* SPDX-License-Identifier: BSD-2-Clause */
/* pool_part: taken and put back, waited for, expired, ended. */
#include "netpoll/pool_part.h"

#include <errno.h>
#include <stdlib.h>

#include "conn/conn.h"
#include "netpoll/own_group.h"
#include "netpoll/pollers_private.h"
#include "poll/park.h"

struct pool_waiter {
	struct park park;
	struct list link;
	struct pool_part *part;
	struct np_conn *conn; /* woken: this; NULL: the right to dial */
};

/* ------------------------------------------------------------------ notes of a connection */

/*
 * A note is its entry; the mark of a part that had lent it, once it has ended; or NULL.
 *
 * The mark is compared, never followed: the part may be gone when the connection still has it.
 */
static void *pool_part_mark(struct pool_part *part)
{
	return (char *)part + 1;
}

struct pool_entry *pool_entry_of(struct np_conn *c)
{
	void **note = own_group_note(c);

	return note && !((uintptr_t)*note & 1) ? *note : NULL;
}

bool pool_part_had(struct pool_part *part, struct np_conn *c)
{
	void **note = own_group_note(c);

	if (!note || *note != pool_part_mark(part))
		return false;
	*note = NULL;
	return true;
}

/* ------------------------------------------------------------------ idle ones */

static void pool_part_arm_expiry(struct pool_part *part)
{
	timer_disarm(&part->expiry);
	if (!list_empty(&part->idle) && part->pool->opts.idle_ms > 0)
		timer_arm(part->slot->poller, &part->expiry,
			  container_of(part->idle.next, struct pool_entry, link)->until_ms);
}

static void pool_entry_leave_idle(struct pool_entry *e, enum pool_entry_state state)
{
	bool oldest = e->part->idle.next == &e->link;

	list_remove(&e->link);
	e->state = state;
	own_group_set_idle(e->conn, false);
	pool_count(&e->part->n.idle, -1);
	if (oldest)
		pool_part_arm_expiry(e->part);
}

static void pool_entry_end_idle(struct pool_entry *e)
{
	struct np_conn *c = e->conn;

	pool_entry_leave_idle(e, ENTRY_ENDING);
	np_conn_close(c);
	np_conn_unref(c);
}

static void pool_part_expire(struct timer *timer)
{
	struct pool_part *part = container_of(timer, struct pool_part, expiry);
	uint64_t now = poller_now_ms(part->slot->poller);

	while (!list_empty(&part->idle)) {
		struct pool_entry *e = container_of(part->idle.next, struct pool_entry, link);

		if (e->until_ms > now)
			break;
		pool_count(pool_take(e->conn) ? &part->n.expired : &part->n.died, 1);
		pool_entry_end_idle(e);
	}
	pool_part_arm_expiry(part);
}

struct np_conn *pool_part_take(struct pool_part *part)
{
	while (!list_empty(&part->idle)) {
		struct pool_entry *e = container_of(part->idle.prev, struct pool_entry, link);

		if (pool_take(e->conn)) {
			pool_entry_leave_idle(e, ENTRY_LENT);
			pool_count(&part->n.reused, 1);
			return e->conn;
		}
		pool_count(&part->n.died, 1);
		pool_entry_end_idle(e);
	}
	return NULL;
}

static void pool_entry_lie_idle(struct pool_entry *e)
{
	struct pool_part *part = e->part;

	e->state = ENTRY_IDLE;
	own_group_set_idle(e->conn, true);
	if (part->pool->opts.idle_ms > 0)
		e->until_ms = poller_after_ms(part->slot->poller, part->pool->opts.idle_ms);
	list_append(&part->idle, &e->link);
	pool_count(&part->n.idle, 1);
	if (part->idle.next == &e->link)
		pool_part_arm_expiry(part);
}

/* ------------------------------------------------------------------ waiting */

static struct pool_waiter *pool_part_next_waiter(struct pool_part *part)
{
	struct pool_waiter *w;

	if (list_empty(&part->waiters))
		return NULL;
	w = container_of(list_pop(&part->waiters), struct pool_waiter, link);
	list_init(&w->link);
	pool_count(&part->n.waiting, -1);
	return w;
}

void pool_part_count_out(struct pool_part *part)
{
	struct pool_waiter *w = pool_part_next_waiter(part);

	if (w)
		park_wake(&w->park, 0);
	else
		pool_count(&part->n.open, -1);
}

static bool pool_waiter_unhook(struct park *k, int *why)
{
	struct pool_waiter *w = container_of(k, struct pool_waiter, park);

	list_remove(&w->link);
	pool_count(&w->part->n.waiting, -1);
	return true;
}

int pool_part_wait(struct pool_part *part, uint64_t until_ms, struct np_conn **ret)
{
	struct pool_waiter w = { .part = part };
	int r = park_init(&w.park, pool_waiter_unhook, "pool");

	if (r < 0)
		return r;
	list_append(&part->waiters, &w.link);
	pool_count(&part->n.waiting, 1);
	r = park_wait(&w.park, until_ms);
	if (r == -ETIMEDOUT)
		pool_count(&part->n.timeouts, 1);
	*ret = w.conn;
	return r;
}

bool pool_part_put(struct pool_part *part, struct pool_entry *e)
{
	struct pool_waiter *w = pool_part_next_waiter(part);
	int max = part->pool->opts.max_idle; /* -1: no limit */

	if (w) {
		w->conn = e->conn;
		park_wake(&w->park, 0);
		return true;
	}
	if (max >= 0 && pool_count_now(&part->n.idle) >= (unsigned)max)
		return false;
	pool_entry_lie_idle(e);
	return true;
}

/* ------------------------------------------------------------------ entries */

/* The connection has ended. */
static void pool_entry_ended(struct np_conn *c, void *arg)
{
	struct pool_entry *e = arg;
	struct pool_part *part = e->part;

	*own_group_note(c) = e->state == ENTRY_LENT ? pool_part_mark(part) : NULL;
	if (e->state == ENTRY_IDLE) {
		pool_count(&part->n.died, 1);
		pool_entry_leave_idle(e, ENTRY_ENDING);
		np_conn_unref(c);
	}
	pool_part_count_out(part);
	free(e);
	pool_unref(part->pool);
}

int pool_part_add(struct pool_part *part, struct np_conn *c)
{
	struct pool_entry *e = calloc(1, sizeof *e);
	int r;

	if (!e)
		return -ENOMEM;
	list_init(&e->link);
	e->conn = c;
	e->part = part;
	r = np_conn_add_close_callback(c, pool_entry_ended, e);
	if (r < 0) {
		free(e);
		return r;
	}
	*own_group_note(c) = e;
	pool_ref(part->pool);
	return 0;
}

/* ------------------------------------------------------------------ life */

struct pool_part *pool_part_here(struct np_pool *pool)
{
	struct poller_slot *s = poller_slot_self();

	return s && s->pollers == pool->pollers ? &pool->parts[s->index] : NULL;
}

static void pool_part_close(struct mail *m)
{
	struct pool_part *part = container_of(m, struct pool_part, close);
	struct pool_waiter *w;

	part->closed = true;
	while (!list_empty(&part->idle))
		pool_entry_end_idle(container_of(part->idle.prev, struct pool_entry, link));
	while ((w = pool_part_next_waiter(part)))
		park_wake(&w->park, -ECANCELED);
	pool_unref(part->pool);
}

void pool_part_init(struct np_pool *pool, unsigned index)
{
	struct pool_part *part = &pool->parts[index];

	part->pool = pool;
	part->slot = &pool->pollers->slots[index];
	list_init(&part->idle);
	list_init(&part->waiters);
	timer_init(&part->expiry, pool_part_expire);
	part->close.fn = pool_part_close;
}
