/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool: for each poller a stack of idle connections and a queue of fibers that wait for one
 *
 * A reader would get wrong: nobody has to tell the pool that a connection has ended. Each carries a
 * close callback, which counts it out, wherever it is and whoever ended it.
 *
 *   a tie (one connection)   leaves it by
 *   LENT                     np_pool_put(), DONE and fit -> IDLE, or LENT again to who waits;  it ends -> gone
 *   IDLE                     np_pool_get() -> LENT;  idle_ms, np_pool_free(), the peer, a stop -> ENDING
 *   ENDING                   the connection ends -> gone
 *
 * One that ends while it is lent is still to be put: its note says of which place it was, in place
 * of the tie.
 *
 * `open` counts ties, and dials that may become one. Where one ends while somebody waits, its place
 * goes to him, and the count stays.
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

struct place;

enum tie_state { TIE_LENT, TIE_IDLE, TIE_ENDING };

struct tie {
	struct list link;     /* in place->idle while IDLE */
	struct np_conn *conn; /* the reference of an idle one is ours */
	struct place *place;
	enum tie_state state;
	uint64_t until_ms;
};

struct pool_waiter {
	struct park park;
	struct list link;
	struct place *place;
	struct np_conn *conn; /* woken: this; NULL: the right to dial */
};

/* What the owner writes and np_pool_stats() reads. */
struct counts {
	_Atomic(uint64_t) open, idle, waiting, gets, reused, dials, dial_errors, died, expired,
		timeouts;
};

/* The pool of one poller. Owner thread. */
struct place {
	struct np_pool *pool;
	struct poller_slot *slot;
	struct list idle;    /* oldest first */
	struct list waiters; /* likewise */
	struct timer expiry; /* of the oldest; armed while there is one and idle_ms is not -1 */
	struct counts n;
	struct mail close; /* np_pool_free() */
	bool closed;
} __attribute__((aligned(64)));

struct np_pool {
	struct np_pollers *pollers;
	char *network, *address, *local;
	struct np_pool_opts opts;
	/* its user, each tie, each fiber in np_pool_get(), mails under way */
	_Atomic(unsigned) refs;
	unsigned n;
	struct place places[];
};

/* One thread writes, any may read. */
static void add(_Atomic(uint64_t) *n, int by)
{
	atomic_store_explicit(n,
			      atomic_load_explicit(n, memory_order_relaxed) + (uint64_t)(int64_t)by,
			      memory_order_relaxed);
}

static uint64_t now_of(_Atomic(uint64_t) *n)
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

/* ---------------------------------------------------------------- notes: a tie, a mark, or NULL */

/* Compared, never followed: the place may be gone when the connection still has one. */
static void *mark_of(struct place *at)
{
	return (char *)at + 1;
}

static struct tie *tie_of(struct np_conn *c)
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

static void arm_expiry(struct place *at)
{
	timer_disarm(&at->expiry);
	if (!list_empty(&at->idle) && at->pool->opts.idle_ms > 0)
		timer_arm(at->slot->poller, &at->expiry,
			  container_of(at->idle.next, struct tie, link)->until_ms);
}

static void leave_idle(struct tie *t, enum tie_state state)
{
	bool oldest = t->place->idle.next == &t->link;

	list_remove(&t->link);
	t->state = state;
	own_group_set_idle(t->conn, false);
	add(&t->place->n.idle, -1);
	if (oldest)
		arm_expiry(t->place);
}

static void end_idle(struct tie *t)
{
	struct np_conn *c = t->conn;

	leave_idle(t, TIE_ENDING);
	np_conn_close(c);
	np_conn_unref(c);
}

static void expire(struct timer *timer)
{
	struct place *at = container_of(timer, struct place, expiry);
	uint64_t now = poller_now_ms(at->slot->poller);

	while (!list_empty(&at->idle)) {
		struct tie *t = container_of(at->idle.next, struct tie, link);

		if (t->until_ms > now)
			break;
		add(pool_take(t->conn) ? &at->n.expired : &at->n.died, 1);
		end_idle(t);
	}
	arm_expiry(at);
}

/* The one used last, whose memory is in the cache still; NULL: none is fit. */
static struct np_conn *take_idle(struct place *at)
{
	while (!list_empty(&at->idle)) {
		struct tie *t = container_of(at->idle.prev, struct tie, link);

		if (pool_take(t->conn)) {
			leave_idle(t, TIE_LENT);
			return t->conn;
		}
		add(&at->n.died, 1);
		end_idle(t);
	}
	return NULL;
}

static void rest(struct place *at, struct tie *t)
{
	t->state = TIE_IDLE;
	own_group_set_idle(t->conn, true);
	if (at->pool->opts.idle_ms > 0)
		t->until_ms = poller_after_ms(at->slot->poller, at->pool->opts.idle_ms);
	list_append(&at->idle, &t->link);
	add(&at->n.idle, 1);
	if (at->idle.next == &t->link)
		arm_expiry(at);
}

/* ------------------------------------------------------------------ waiting */

static struct pool_waiter *next_waiter(struct place *at)
{
	struct pool_waiter *w;

	if (list_empty(&at->waiters))
		return NULL;
	w = container_of(list_pop(&at->waiters), struct pool_waiter, link);
	list_init(&w->link);
	add(&at->n.waiting, -1);
	return w;
}

/* A place came free: whoever waits may dial. */
static void place_free(struct place *at)
{
	struct pool_waiter *w = next_waiter(at);

	if (w)
		park_wake(&w->park, 0);
	else
		add(&at->n.open, -1);
}

static bool unhook(struct park *k, int *why)
{
	struct pool_waiter *w = container_of(k, struct pool_waiter, park);

	list_remove(&w->link);
	add(&w->place->n.waiting, -1);
	return true;
}

/* Return: 0: *ret, or NULL and a place to dial for; -ETIMEDOUT, -ECANCELED. */
static int wait_turn(struct place *at, uint64_t until_ms, struct np_conn **ret)
{
	struct pool_waiter w = { .place = at };
	int r = park_init(&w.park, unhook);

	if (r < 0)
		return r;
	list_append(&at->waiters, &w.link);
	add(&at->n.waiting, 1);
	r = park_wait(&w.park, until_ms);
	*ret = w.conn;
	return r;
}

/* ------------------------------------------------------------------ dialing */

/* The connection has ended, whoever did it. */
static void ended(struct np_conn *c, void *arg)
{
	struct tie *t = arg;
	struct place *at = t->place;

	*own_group_note(c) = t->state == TIE_LENT ? mark_of(at) : NULL;
	if (t->state == TIE_IDLE) {
		add(&at->n.died, 1);
		leave_idle(t, TIE_ENDING);
		np_conn_unref(c);
	}
	place_free(at);
	free(t);
	pool_unref(at->pool);
}

static int tie_up(struct place *at, struct np_conn *c)
{
	struct tie *t = calloc(1, sizeof *t);
	int r;

	if (!t)
		return -ENOMEM;
	list_init(&t->link);
	t->conn = c;
	t->place = at;
	r = np_conn_add_close_callback(c, ended, t);
	if (r < 0) {
		free(t);
		return r;
	}
	*own_group_note(c) = t;
	pool_ref(at->pool);
	return 0;
}

/* For a place that is counted already; given back where it fails. */
static int dial(struct place *at, struct np_conn **ret)
{
	struct np_pool *pool = at->pool;
	const struct np_pool_opts *po = &pool->opts;
	struct np_dial_opts o = {
		.sz = sizeof o,
		.timeout_ms = po->dial_ms,
		.local = pool->local,
		.no_delay_off = po->no_delay_off,
		.keepalive_idle_s = po->keepalive_idle_s,
		.keepalive_intvl_s = po->keepalive_intvl_s,
		.keepalive_cnt = po->keepalive_cnt,
		.user_timeout_ms = po->user_timeout_ms,
	};
	int r;

	add(&at->n.dials, 1);
	r = np_dial(pool->pollers, NP_HERE, pool->network, pool->address, &o, ret);
	if (r == 0) {
		r = tie_up(at, *ret);
		if (r == 0)
			return 0;
		np_conn_abort(*ret);
		np_conn_unref(*ret);
		*ret = NULL;
	}
	add(&at->n.dial_errors, 1);
	place_free(at);
	return r;
}

/* ------------------------------------------------------------------ verbs */

/* This poller's, NULL elsewhere. */
static struct place *place_here(struct np_pool *pool)
{
	struct poller_slot *s = poller_slot_self();

	return s && s->pollers == pool->pollers ? &pool->places[s->index] : NULL;
}

static bool has_room(const struct place *at)
{
	return !at->pool->opts.max_open ||
	       atomic_load_explicit(&at->n.open, memory_order_relaxed) < at->pool->opts.max_open;
}

static int get(struct place *at, struct np_conn **ret)
{
	uint64_t until_ms = at->pool->opts.wait_ms ?
				    poller_after_ms(at->slot->poller, at->pool->opts.wait_ms) :
				    0;
	int r;

	for (;;) {
		if (at->closed)
			return -ECANCELED;
		*ret = list_empty(&at->waiters) ? take_idle(at) : NULL;
		if (*ret) {
			add(&at->n.reused, 1);
			return 0;
		}
		if (list_empty(&at->waiters) && has_room(at)) {
			add(&at->n.open, 1);
			return dial(at, ret);
		}
		r = wait_turn(at, until_ms, ret);
		if (r == -ETIMEDOUT)
			add(&at->n.timeouts, 1);
		if (r < 0)
			return r;
		if (!*ret)
			return dial(at, ret);
		if (pool_take(*ret)) {
			add(&at->n.reused, 1);
			return 0;
		}
		/* it died on its way to us: its place comes free, and somebody waits */
		np_conn_close(*ret);
		np_conn_unref(*ret);
	}
}

int np_pool_get(struct np_pool *pool, struct np_conn **ret)
{
	struct place *at = place_here(pool);
	int r;

	*ret = NULL;
	if (!at)
		return -EPERM;
	if (!fiber_self())
		return -NP_ENOTFIBER;
	if (poller_cancelled(at->slot->poller))
		return -ECANCELED;
	add(&at->n.gets, 1);
	pool_ref(pool);
	r = get(at, ret);
	pool_unref(pool);
	return r;
}

static void forget_times(struct np_conn *c)
{
	if (c->extra)
		c->extra->read_deadline_ms = c->extra->write_deadline_ms = 0;
	np_conn_set_read_timeout(c, c->group->read_timeout_ms);
	np_conn_set_write_timeout(c, c->group->write_timeout_ms);
}

int np_pool_put(struct np_pool *pool, struct np_conn **p)
{
	struct place *at = place_here(pool);
	struct np_conn *c = *p;
	struct pool_waiter *w;
	struct tie *t;
	void **note;

	if (!at || !c)
		return -EINVAL;
	note = own_group_note(c);
	t = tie_of(c);
	if (note && *note == mark_of(at)) { /* ended, and counted out */
		*note = NULL;
		np_conn_unref(c);
		*p = NULL;
		return 0;
	}
	if (!t || t->place != at || t->state != TIE_LENT)
		return -EINVAL;
	*p = NULL;
	np_conn_release(c);
	if (pool_is_reusable(c) && !at->closed && !pollers_stopping(pool->pollers)) {
		forget_times(c);
		w = next_waiter(at);
		if (w) {
			w->conn = c;
			park_wake(&w->park, 0);
			return 0;
		}
		if (now_of(&at->n.idle) < pool->opts.max_idle) {
			rest(at, t);
			return 0;
		}
	}
	t->state = TIE_ENDING;
	np_conn_close(c);
	np_conn_unref(c);
	return 0;
}

int np_conn_reusable(struct np_conn *c)
{
	struct tie *t = tie_of(c);
	int r;

	if (!t || t->state != TIE_LENT)
		return conn_state(c) > CONN_OPEN ? -NP_ECLOSED : -EINVAL;
	r = pool_unfit(c);
	if (r == 0)
		c->extra->exchange = CONN_DONE;
	return r;
}

int np_pool_put_reusable(struct np_pool *pool, struct np_conn **p)
{
	if (*p && place_here(pool))
		np_conn_reusable(*p); /* where it is not, put closes it */
	return np_pool_put(pool, p);
}

/* ------------------------------------------------------------------ life */

static void close_here(struct mail *m)
{
	struct place *at = container_of(m, struct place, close);
	struct pool_waiter *w;

	at->closed = true;
	while (!list_empty(&at->idle))
		end_idle(container_of(at->idle.prev, struct tie, link));
	while ((w = next_waiter(at)))
		park_wake(&w->park, -ECANCELED);
	pool_unref(at->pool);
}

static int take_opts(struct np_pool_opts *dst, const struct np_pool_opts *o)
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

static void place_init(struct np_pool *pool, unsigned i)
{
	struct place *at = &pool->places[i];

	at->pool = pool;
	at->slot = &pool->pollers->slots[i];
	list_init(&at->idle);
	list_init(&at->waiters);
	timer_init(&at->expiry, expire);
	at->close.fn = close_here;
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
	r = take_opts(&opts, o);
	if (r < 0)
		return r;
	size = sizeof *pool + p->n * sizeof pool->places[0];
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
		place_init(pool, i);
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
		if (pollers_post(pool->pollers, i, &pool->places[i].close) < 0)
			pool_unref(pool);
	}
	pool_unref(pool);
	return 0;
}

int np_pool_stats(const struct np_pool *pool, struct np_pool_stats *ret)
{
	struct np_pool_stats st = { .sz = sizeof st };

	for (unsigned i = 0; i < pool->n; i++) {
		struct counts *n = (struct counts *)&pool->places[i].n;

#define SUM(name) st.name += now_of(&n->name)
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
