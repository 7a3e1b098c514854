/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool: connections to one target, a part of them at each poller
 *
 * A poller takes from its own part and puts back there: no other thread's memory is touched.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn.h"
#include "fiber/fiber.h"
#include "netpoll/pollers_private.h"
#include "netpoll/pool_part.h"
#include "poll/baton.h"
#include "sys/opts.h"

#define DEFAULT_MAX_IDLE 64
#define DEFAULT_IDLE_MS  60000

void pool_ref(struct np_pool *pool)
{
	atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
}

void pool_unref(struct np_pool *pool)
{
	if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
		return;
	registry_forget(&pool->noted);
	free(pool->network);
	free(pool->address);
	free(pool->local);
	free(pool->tls_host);
	free(pool);
}

/* ------------------------------------------------------------------ fit for the next user */

/* Nothing came, and nothing can come, but the answer to the next request. Return: 0, or why not. */
static int pool_unfit(struct np_conn *c)
{
	const struct conn_extra *x = conn_extra_of(c);
	int r = conn_read_end(c);

	if (r < 0 || c->tx_err)
		return r < 0 ? r : c->tx_err;
	if (c->out != CONN_OUT_OPEN)
		return -NP_ECLOSED;
	if (x->failed)
		return x->failed;
	if (c->in == CONN_IN_PAUSED || c->inside || c->holds || np_conn_len(c) ||
	    np_conn_pending(c) || conn_unsent(c))
		return -EBUSY;
	return x->exchange == CONN_OUT ? -EBUSY : 0;
}

static bool pool_is_reusable(struct np_conn *c)
{
	return !pool_unfit(c) && conn_extra_of(c)->exchange == CONN_DONE;
}

/*
 * Its poller has read it as far as was known when the turn began: the peer may have closed it
 * since, or have said something. So it is read once more; a real read, after which an error is
 * known to all that ask.
 */
bool pool_take(struct np_conn *c)
{
	if (!pool_is_reusable(c))
		return false;
	conn_pump(c, PUMP_IN);
	if (!c->io || !pool_is_reusable(c)) /* no memory to read into: it was not looked at */
		return false;
	conn_extra_of(c)->exchange = CONN_RESTING;
	return true;
}

/* ------------------------------------------------------------------ dialing */

/* For one that is counted already; counted out where it fails. */
static int pool_dial(struct pool_part *part, struct np_conn **ret)
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
		.tls = po->tls,
		.tls_host = pool->tls_host,
	};
	int r;

	pool_count(&part->n.dials, 1);
	r = np_dial(pool->pollers, NP_HERE, pool->network, pool->address, &o, ret);
	if (r == 0) {
		r = pool_part_add(part, *ret);
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

static bool pool_has_room(const struct pool_part *part)
{
	int max = part->pool->opts.max_open;

	return max <= 0 || pool_count_now(&part->n.open) < (unsigned)max;
}

static int pool_get(struct pool_part *part, struct np_conn **ret)
{
	int wait_ms = part->pool->opts.wait_ms, r;
	uint64_t until_ms = wait_ms > 0 ? poller_after_ms(part->slot->poller, wait_ms) : 0;

	for (;;) {
		if (part->closed)
			return -ECANCELED;
		if (list_empty(&part->waiters)) {
			*ret = pool_part_take(part);
			if (*ret)
				return 0;
			if (pool_has_room(part)) {
				pool_count(&part->n.open, 1);
				return pool_dial(part, ret);
			}
		}
		r = pool_part_wait(part, until_ms, ret);
		if (r < 0)
			return r;
		if (!*ret)
			return pool_dial(part, ret);
		if (pool_take(*ret)) {
			pool_count(&part->n.reused, 1);
			return 0;
		}
		/* it died on its way to us: that is counted out, and the next may dial */
		np_conn_close(*ret);
		np_conn_unref(*ret);
		*ret = NULL;
	}
}

int np_pool_get(struct np_pool *pool, struct np_conn **ret)
{
	NP_GATE(np_pool_get(pool, ret));

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
	r = pool_get(part, ret);
	pool_unref(pool);
	return r;
}

static void pool_reset_timeouts(struct np_conn *c)
{
	np_conn_set_read_timeout(c, 0);
	np_conn_set_write_timeout(c, 0);
}

static int pool_give_back(struct np_pool *pool, struct np_conn **p, bool keep)
{
	struct pool_part *part = pool_part_here(pool);
	struct np_conn *c = *p;
	struct pool_entry *e;

	if (!part || !c)
		return -EINVAL;
	if (pool_part_had(part, c)) {
		np_conn_unref(c);
		*p = NULL;
		return 0;
	}
	e = pool_entry_of(c);
	if (!e || e->part != part || e->state != ENTRY_LENT)
		return -EINVAL;
	*p = NULL;
	np_conn_release(c);
	if (keep && !pool_unfit(c) && !part->closed && !pollers_stopping(pool->pollers)) {
		conn_extra_of(c)->exchange = CONN_DONE;
		pool_reset_timeouts(c);
		if (pool_part_put(part, e))
			return 0;
	}
	e->state = ENTRY_ENDING;
	np_conn_close(c);
	np_conn_unref(c);
	return 0;
}

int np_conn_reusable(struct np_conn *c)
{
	NP_GATE(np_conn_reusable(c));

	struct pool_entry *e = pool_entry_of(c);

	if (!e || e->state != ENTRY_LENT)
		return conn_life(c) > CONN_OPEN ? -NP_ECLOSED : -EINVAL;
	return pool_unfit(c);
}

int np_pool_put(struct np_pool *pool, struct np_conn **p)
{
	NP_GATE(np_pool_put(pool, p));

	return pool_give_back(pool, p, true);
}

int np_pool_drop(struct np_pool *pool, struct np_conn **p)
{
	NP_GATE(np_pool_drop(pool, p));

	return pool_give_back(pool, p, false);
}

/* ------------------------------------------------------------------ life */

static int pool_take_opts(struct np_pool_opts *dst, const struct np_pool_opts *o)
{
	int r = 0;

	if (o)
		r = sys_opts_take(dst, sizeof *dst, o);
	if (r < 0)
		return r;
	if (dst->max_open < -1 || dst->max_idle < -1 || dst->idle_ms < -1 || dst->wait_ms < -1 ||
	    dst->dial_ms < -1 || dst->keepalive_idle_s < -1 || dst->keepalive_intvl_s < 0 ||
	    dst->keepalive_cnt < 0 || dst->user_timeout_ms < -1)
		return -EINVAL;
	dst->max_idle = dst->max_idle ? dst->max_idle : DEFAULT_MAX_IDLE;
	dst->idle_ms = dst->idle_ms ? dst->idle_ms : DEFAULT_IDLE_MS;
	return 0;
}

/* Return: 0; -ENOMEM: pool_unref() gives back what there is. */
static int pool_copy_names(struct np_pool *pool, const char *network, const char *address)
{
	const char *local = pool->opts.local, *tls_host = pool->opts.tls_host;

	pool->network = strdup(network);
	pool->address = strdup(address);
	pool->local = local ? strdup(local) : NULL;
	pool->opts.local = NULL;
	pool->tls_host = tls_host ? strdup(tls_host) : NULL;
	pool->opts.tls_host = NULL;
	return pool->network && pool->address && (!local || pool->local) &&
			       (!tls_host || pool->tls_host) ?
		       0 :
		       -ENOMEM;
}

int np_pool_new(struct np_pollers *p, const char *network, const char *address,
		const struct np_pool_opts *o, struct np_pool **ret)
{
	NP_GATE(np_pool_new(p, network, address, o, ret));

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
	for (unsigned i = 0; i < p->n; i++)
		pool_part_init(pool, i);
	r = pool_copy_names(pool, network, address);
	if (r < 0) {
		pool_unref(pool);
		return r;
	}
	registry_note(REGISTRY_POOLS, &pool->noted);
	*ret = pool;
	return 0;
}

int np_pool_free(struct np_pool **p)
{
	NP_GATE(np_pool_free(p));

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
	NP_GATE(np_pool_stats(pool, ret));

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
