/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool: for each poller a stack of idle connections and a queue of fibers that wait for one
 *
 * The pool need not be told that a connection has ended: each carries a close callback, which
 * counts it out, wherever it is and whatever ended it.
 *
 *   an entry (one connection)   leaves it by
 *   LENT                        np_pool_put(), DONE and fit -> IDLE, or LENT again to a waiter;
 *                               it ends -> gone
 *   IDLE                        np_pool_get() -> LENT;
 *                               idle_ms, np_pool_free(), the peer, a stop -> ENDING
 *   ENDING                      the connection ends -> gone
 *
 * One that ends while it is lent is still to be put: its note is then the mark of its part, in the
 * place of the entry.
 *
 * `open` counts entries, and dials that may become one. Where one ends while a fiber waits, that
 * fiber may dial, and the count stays.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn.h"
#include "fiber/fiber.h"
#include "netpoll/own_group.h"
#include "netpoll/pollers_private.h"
#include "netpoll/pool.h"
#include "poll/park.h"
#include "sys/opts.h"

#define DEFAULT_MAX_IDLE 64
#define DEFAULT_IDLE_MS  60000

struct pool_part;

enum pool_entry_state { ENTRY_LENT, ENTRY_IDLE, ENTRY_ENDING };

struct pool_entry {
	struct list link;     /* in part->idle while IDLE */
	struct np_conn *conn; /* the reference of an idle one is ours */
	struct pool_part *part;
	enum pool_entry_state state;
	uint64_t until_ms;
};

struct pool_waiter {
	struct park park;
	struct list link;
	struct pool_part *part;
	struct np_conn *conn; /* woken: this; NULL: the right to dial */
};

/* What the owner writes and np_pool_stats() reads. */
struct pool_counts {
	_Atomic(uint64_t) open, idle, waiting, gets, reused, dials, dial_errors, died, expired,
		timeouts;
};

/* The pool of one poller. Owner thread. */
struct pool_part {
	struct np_pool *pool;
	struct poller_slot *slot;
	struct list idle;    /* oldest first */
	struct list waiters; /* likewise */
	struct timer expiry; /* of the oldest; armed while there is one and idle_ms is not -1 */
	struct pool_counts n;
	struct mail close; /* np_pool_free() */
	bool closed;
} __attribute__((aligned(64)));

struct np_pool {
	struct np_pollers *pollers;
	char *network, *address, *local;
	struct np_pool_opts opts;
	/* its user, each entry, each fiber in np_pool_get(), mails under way */
	_Atomic(unsigned) refs;
	unsigned n;
	struct pool_part parts[];
};

/* One thread writes, any may read. */
static void pool_count(_Atomic(uint64_t) *n, int by)
{
	atomic_store_explicit(n,
			      atomic_load_explicit(n, memory_order_relaxed) + (uint64_t)(int64_t)by,
			      memory_order_relaxed);
}

static uint64_t pool_count_now(_Atomic(uint64_t) *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static void pool_ref(struct np_pool *pool)
{
	atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
}

static void pool_unref(struct np_pool *pool)
{
	if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(pool->network);
	free(pool->address);
	free(pool->local);
	free(pool);
}

/* ---------------------------------------------------------------- notes: an entry, a mark, or NULL */

/* Compared, never followed: the part may be gone when the connection still has its mark. */
static void *pool_part_mark(struct pool_part *part)
{
	return (char *)part + 1;
}

static struct pool_entry *pool_entry_of(struct np_conn *c)
{
	void **note = own_group_note(c);

	return note && !((uintptr_t)*note & 1) ? *note : NULL;
}

/* ------------------------------------------------------------------ idle ones */

/* Nothing came, and nothing can come, but the answer to the next request. Return: 0, or why not. */
static int pool_unfit(struct np_conn *c)
{
	if (conn_state(c) != CONN_OPEN || (c->flags & (CONN_RX_END | CONN_WR_SHUT)))
		return c->why ? c->why : c->rx_err ? c->rx_err : -NP_ECLOSED;
	if (c->rx_err || c->tx_err)
		return c->rx_err ? c->rx_err : c->tx_err;
	if (c->extra->failed)
		return c->extra->failed;
	if ((c->flags & CONN_PAUSED) || c->inside || c->holds || np_conn_len(c) ||
	    np_conn_pending(c) || conn_unsent(c))
		return -EBUSY;
	return c->extra->exchange == CONN_OUT ? -EBUSY : 0;
}

static bool pool_is_reusable(struct np_conn *c)
{
	return !pool_unfit(c) && c->extra->exchange == CONN_DONE;
}

/*
 * What its poller has read of it is what was known when the turn began: the peer may have closed it
 * since, or have said something. So it is read once more; a real read, after which an error is
 * known to all that ask.
 */
static bool pool_take(struct np_conn *c)
{
	if (!pool_is_reusable(c))
		return false;
	conn_fill(c, 1);
	if (!c->io || !pool_is_reusable(c)) /* no memory to read into: nobody has looked */
		return false;
	c->extra->exchange = CONN_RESTING;
	return true;
}

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

/* The one used last, whose memory is in the cache still; NULL: none is fit. */
static struct np_conn *pool_part_take(struct pool_part *part)
{
	while (!list_empty(&part->idle)) {
		struct pool_entry *e = container_of(part->idle.prev, struct pool_entry, link);

		if (pool_take(e->conn)) {
			pool_entry_leave_idle(e, ENTRY_LENT);
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

/* One less is open: the fiber that has waited longest may dial in its stead. */
static void pool_part_count_out(struct pool_part *part)
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

/* Return: 0: *ret, or NULL and the right to dial; -ETIMEDOUT, -ECANCELED. */
static int pool_part_wait(struct pool_part *part, uint64_t until_ms, struct np_conn **ret)
{
	struct pool_waiter w = { .part = part };
	int r = park_init(&w.park, pool_waiter_unhook);

	if (r < 0)
		return r;
	list_append(&part->waiters, &w.link);
	pool_count(&part->n.waiting, 1);
	r = park_wait(&w.park, until_ms);
	*ret = w.conn;
	return r;
}

/* ------------------------------------------------------------------ dialing */

/* The connection has ended, whoever did it. */
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

static int pool_entry_new(struct pool_part *part, struct np_conn *c)
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

/* For one that is counted already; counted out where it fails. */
static int pool_part_dial(struct pool_part *part, struct np_conn **ret)
{
	struct np_pool *pool = part->pool;
	const struct np_pool_opts *po = &pool->opts;
	struct np_dial_opts o = {
		.sz = sizeof o,
		.timeout_ms = po->dial_ms,
		.local = pool->local,
		.nagle = po->nagle,
		.keepalive_idle_s = po->keepalive_idle_s,
		.keepalive_intvl_s = po->keepalive_intvl_s,
		.keepalive_cnt = po->keepalive_cnt,
		.user_timeout_ms = po->user_timeout_ms,
	};
	int r;

	pool_count(&part->n.dials, 1);
	r = np_dial(pool->pollers, NP_HERE, pool->network, pool->address, &o, ret);
	if (r == 0) {
		r = pool_entry_new(part, *ret);
		if (r == 0)
			return 0;
		np_conn_abort(*ret);
		np_conn_unref(*ret);
		*ret = NULL;
	}
	pool_count(&part->n.dial_errors, 1);
	pool_part_count_out(part);
	return r;
}

/* ------------------------------------------------------------------ verbs */

/* This poller's, NULL elsewhere. */
static struct pool_part *pool_part_here(struct np_pool *pool)
{
	struct poller_slot *s = poller_slot_self();

	return s && s->pollers == pool->pollers ? &pool->parts[s->index] : NULL;
}

static bool pool_part_has_room(const struct pool_part *part)
{
	return !part->pool->opts.max_open ||
	       atomic_load_explicit(&part->n.open, memory_order_relaxed) <
		       part->pool->opts.max_open;
}

static int pool_part_get(struct pool_part *part, struct np_conn **ret)
{
	uint64_t until_ms = part->pool->opts.wait_ms ?
				    poller_after_ms(part->slot->poller, part->pool->opts.wait_ms) :
				    0;
	int r;

	for (;;) {
		if (part->closed)
			return -ECANCELED;
		*ret = list_empty(&part->waiters) ? pool_part_take(part) : NULL;
		if (*ret) {
			pool_count(&part->n.reused, 1);
			return 0;
		}
		if (list_empty(&part->waiters) && pool_part_has_room(part)) {
			pool_count(&part->n.open, 1);
			return pool_part_dial(part, ret);
		}
		r = pool_part_wait(part, until_ms, ret);
		if (r == -ETIMEDOUT)
			pool_count(&part->n.timeouts, 1);
		if (r < 0)
			return r;
		if (!*ret)
			return pool_part_dial(part, ret);
		if (pool_take(*ret)) {
			pool_count(&part->n.reused, 1);
			return 0;
		}
		/* it died on its way to us: that is counted out, and the next may dial */
		np_conn_close(*ret);
		np_conn_unref(*ret);
	}
}

int np_pool_get(struct np_pool *pool, struct np_conn **ret)
{
	struct pool_part *part = pool_part_here(pool);
	int r;

	*ret = NULL;
	if (!part)
		return -EPERM;
	if (!fiber_self())
		return -NP_ENOTFIBER;
	if (poller_cancelled(part->slot->poller))
		return -ECANCELED;
	pool_count(&part->n.gets, 1);
	pool_ref(pool);
	r = pool_part_get(part, ret);
	pool_unref(pool);
	return r;
}

static void pool_reset_timeouts(struct np_conn *c)
{
	if (c->extra)
		c->extra->read_deadline_ms = c->extra->write_deadline_ms = 0;
	np_conn_set_read_timeout(c, c->group->read_timeout_ms);
	np_conn_set_write_timeout(c, c->group->write_timeout_ms);
}

int np_pool_put(struct np_pool *pool, struct np_conn **p)
{
	struct pool_part *part = pool_part_here(pool);
	struct np_conn *c = *p;
	struct pool_waiter *w;
	struct pool_entry *e;
	void **note;

	if (!part || !c)
		return -EINVAL;
	note = own_group_note(c);
	e = pool_entry_of(c);
	if (note && *note == pool_part_mark(part)) { /* ended, and counted out */
		*note = NULL;
		np_conn_unref(c);
		*p = NULL;
		return 0;
	}
	if (!e || e->part != part || e->state != ENTRY_LENT)
		return -EINVAL;
	*p = NULL;
	np_conn_release(c);
	if (pool_is_reusable(c) && !part->closed && !pollers_stopping(pool->pollers)) {
		pool_reset_timeouts(c);
		w = pool_part_next_waiter(part);
		if (w) {
			w->conn = c;
			park_wake(&w->park, 0);
			return 0;
		}
		if (pool_count_now(&part->n.idle) < pool->opts.max_idle) {
			pool_entry_lie_idle(e);
			return 0;
		}
	}
	e->state = ENTRY_ENDING;
	np_conn_close(c);
	np_conn_unref(c);
	return 0;
}

int np_conn_reusable(struct np_conn *c)
{
	struct pool_entry *e = pool_entry_of(c);
	int r;

	if (!e || e->state != ENTRY_LENT)
		return conn_state(c) > CONN_OPEN ? -NP_ECLOSED : -EINVAL;
	r = pool_unfit(c);
	if (r == 0)
		c->extra->exchange = CONN_DONE;
	return r;
}

int np_pool_put_reusable(struct np_pool *pool, struct np_conn **p)
{
	if (*p && pool_part_here(pool))
		np_conn_reusable(*p); /* where it is not, put closes it */
	return np_pool_put(pool, p);
}

/* ------------------------------------------------------------------ life */

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

static int pool_take_opts(struct np_pool_opts *dst, const struct np_pool_opts *o)
{
	int r = 0;

	if (o)
		r = sys_opts_take(dst, sizeof *dst, o);
	if (r < 0)
		return r;
	if (dst->idle_ms < -1 || dst->wait_ms < 0 || dst->dial_ms < 0 ||
	    dst->keepalive_idle_s < 0 || dst->keepalive_intvl_s < 0 || dst->keepalive_cnt < 0 ||
	    dst->user_timeout_ms < 0)
		return -EINVAL;
	dst->max_idle = dst->max_idle ? dst->max_idle : DEFAULT_MAX_IDLE;
	dst->idle_ms = dst->idle_ms ? dst->idle_ms : DEFAULT_IDLE_MS;
	return 0;
}

static void pool_part_init(struct np_pool *pool, unsigned i)
{
	struct pool_part *part = &pool->parts[i];

	part->pool = pool;
	part->slot = &pool->pollers->slots[i];
	list_init(&part->idle);
	list_init(&part->waiters);
	timer_init(&part->expiry, pool_part_expire);
	part->close.fn = pool_part_close;
}

int np_pool_new(struct np_pollers *p, const char *network, const char *address,
		const struct np_pool_opts *o, struct np_pool **ret)
{
	struct np_pool_opts opts = { .sz = sizeof opts };
	struct np_pool *pool;
	size_t size;
	int r;

	*ret = NULL;
	if (!p || !network || !address)
		return -EINVAL;
	r = pool_take_opts(&opts, o);
	if (r < 0)
		return r;
	size = sizeof *pool + p->n * sizeof pool->parts[0];
	pool = aligned_alloc(_Alignof(struct np_pool), size);
	if (!pool)
		return -ENOMEM;
	memset(pool, 0, size);
	atomic_init(&pool->refs, 1);
	pool->pollers = p;
	pool->n = p->n;
	pool->opts = opts;
	pool->network = strdup(network);
	pool->address = strdup(address);
	pool->local = opts.local ? strdup(opts.local) : NULL;
	pool->opts.local = NULL;
	for (unsigned i = 0; i < p->n; i++)
		pool_part_init(pool, i);
	if (!pool->network || !pool->address || (opts.local && !pool->local)) {
		pool_unref(pool);
		return -ENOMEM;
	}
	*ret = pool;
	return 0;
}

int np_pool_free(struct np_pool **p)
{
	struct np_pool *pool = *p;

	*p = NULL;
	if (!pool)
		return 0;
	for (unsigned i = 0; i < pool->n; i++) {
		pool_ref(pool);
		/*
		 * Once a stop has begun its idle ones are closed by that, and its waits cancelled.
		 */
		if (pollers_post(pool->pollers, i, &pool->parts[i].close) < 0)
			pool_unref(pool);
	}
	pool_unref(pool);
	return 0;
}

int np_pool_stats(const struct np_pool *pool, struct np_pool_stats *ret)
{
	struct np_pool_stats st = { .sz = sizeof st };

	for (unsigned i = 0; i < pool->n; i++) {
		struct pool_counts *n = (struct pool_counts *)&pool->parts[i].n;

#define SUM(name) st.name += pool_count_now(&n->name)
		SUM(open);
		SUM(idle);
		SUM(waiting);
		SUM(gets);
		SUM(reused);
		SUM(dials);
		SUM(dial_errors);
		SUM(died);
		SUM(expired);
		SUM(timeouts);
#undef SUM
	}
	return sys_opts_give(ret, &st, sizeof st);
}
