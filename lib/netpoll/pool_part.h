/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool_part: what a pool has at one poller: a stack of idle connections, and the fibers that wait
 *
 * The pool need not be told that a connection has ended: each carries a close callback, which
 * counts it out, lent or idle, and however it ended.
 *
 *   an entry (one connection)   leaves it by
 *   LENT                        np_pool_put(), fit -> IDLE, or LENT again to a waiter;
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
#ifndef NETPOLL_POOL_PART_H
#define NETPOLL_POOL_PART_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "netpoll/pool.h"
#include "netpoll/registry.h"
#include "poll/list.h"
#include "poll/mailbox.h"
#include "poll/timer.h"

struct poller_slot;
struct pool_part;

enum pool_entry_state { ENTRY_LENT, ENTRY_IDLE, ENTRY_ENDING };

struct pool_entry {
	struct list link;     /* in part->idle while IDLE */
	struct np_conn *conn; /* the reference of an idle one is ours */
	struct pool_part *part;
	enum pool_entry_state state;
	uint64_t until_ms;
};

/* The owner writes them, np_pool_stats() reads. */
struct pool_counts {
	_Atomic(uint64_t) open, idle, waiting, gets, reused, dials, dial_errors, died, expired,
		timeouts;
};

/* Owner thread. */
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
	struct noted noted;
	struct np_pollers *pollers;
	char *network, *address, *local, *tls_host;
	struct np_pool_opts opts;
	/* its user, each entry, each fiber in np_pool_get(), mails under way */
	_Atomic(unsigned) refs;
	unsigned n;
	struct pool_part parts[];
};
/* One thread writes, any may read. */
static inline uint64_t pool_count_now(const _Atomic(uint64_t) *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static inline void pool_count(_Atomic(uint64_t) *n, int by)
{
	atomic_store_explicit(n, pool_count_now(n) + (uint64_t)(int64_t)by, memory_order_relaxed);
}

/* pool.c */
void pool_ref(struct np_pool *pool);
void pool_unref(struct np_pool *pool);
/* Whether the idle or lent @c is fit for its next user, whose it is then. */
bool pool_take(struct np_conn *c);

/* pool_part.c */
void pool_part_init(struct np_pool *pool, unsigned index);
/* This poller's, NULL elsewhere. */
struct pool_part *pool_part_here(struct np_pool *pool);
/* The idle one that was used last, whose memory is in the cache still; NULL: none is fit. */
struct np_conn *pool_part_take(struct pool_part *part);
/*
 * pool_part_wait() - until one is put back, or another may be opened
 *
 * @until_ms of poller_after_ms(), 0: none. Thread: fiber.
 * Return: 0: *ret, or NULL and the right to dial; -ETIMEDOUT, -ECANCELED.
 */
int pool_part_wait(struct pool_part *part, uint64_t until_ms, struct np_conn **ret);
/* An entry for @c, which is lent. Return: 0; -ENOMEM; as np_conn_add_close_callback(). */
int pool_part_add(struct pool_part *part, struct np_conn *c);
/* One less is open: the fiber that has waited longest may dial in its stead. */
void pool_part_count_out(struct pool_part *part);
/* Takes a reusable one: it goes to a waiter, or lies idle. Return: false: there is no room. */
bool pool_part_put(struct pool_part *part, struct pool_entry *e);
/* NULL: @c is in no pool, or has ended. */
struct pool_entry *pool_entry_of(struct np_conn *c);
/* Whether @c ended while @part had lent it; true once. */
bool pool_part_had(struct pool_part *part, struct np_conn *c);

#endif
