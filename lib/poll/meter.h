/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * meter: what one poller notes for np_metrics_write(): how many requests, and how long some of them
 * took
 *
 * A look at the clock costs half of what the shortest handler does, so where requests are many one
 * of METER_EVERY is looked at, which ones is left to chance, and it stands for all that came since
 * the last. Where they are few each one is. What happens once to a connection is noted each time.
 *
 *   each      so many in a row, faster than METER_MANY a second -> some
 *   some      METER_EVERY took longer than they should -> each
 *
 * Off, the countdown never ends: off and on are the same instructions.
 */
#ifndef POLL_METER_H
#define POLL_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "poll/histogram.h"

struct poller;

#define METER_EVERY 256u
#define METER_MANY  2000u /* a second */

enum meter_kind {
	METER_ACCEPT, /* from the handshake's end to accept4(2): the wait in a listener's queue */
	METER_FIRST_BYTE, /* from accept4(2) to the end of the first request */
	METER_AGE,        /* from the peer's last byte to the handler's call */
	METER_HANDLER,    /* a call of on_request, its waits included */
	METER_DRAIN,      /* from the drain's beginning to the connection's end */
	METER_KINDS,
};

struct meter {
	/* owner; any thread reads, relaxed */
	int64_t left;         /* requests until one is looked at */
	int64_t behind;       /* all of them are behind - left */
	struct histogram *of; /* METER_KINDS; NULL: off */

	/* owner */
	int64_t interval; /* for how many the next one stands */
	unsigned every;
	uint64_t in_row, since_ns; /* how many came since then */
	uint32_t chance;
};

/* Thread: before the poller starts. Return: 0; -ENOMEM. */
int meter_init(struct meter *m, bool on);
void meter_fini(struct meter *m);
/* It is the first thing in a poller. */
static inline struct meter *poller_meter(struct poller *p)
{
	return (struct meter *)p;
}

static inline bool meter_is_on(const struct meter *m)
{
	return m->of;
}

/* Whether the request that comes is to be looked at. */
static inline bool meter_is_due(const struct meter *m)
{
	return __builtin_expect(m->left <= 0, 0);
}

/* So many requests have been handled. */
static inline void meter_count(struct meter *m, unsigned n)
{
	__atomic_store_n(&m->left, m->left - (int64_t)n, __ATOMIC_RELAXED);
}

/*
 * meter_take() - one that was due is looked at, at @now_ns
 *
 * Return: for how many it stands; 0: the meter is off.
 */
uint64_t meter_take(struct meter *m, uint64_t now_ns);
/* Where the meter is on. */
void meter_note(struct meter *m, enum meter_kind kind, uint64_t us, uint64_t weight);
/* Of how many accepts one is looked at; 0: of none. */
static inline unsigned meter_accepts_every(const struct meter *m)
{
	return !m->of ? 0 : m->every > 1 ? METER_EVERY / 16u : 1u;
}

/* Requests ever, as any thread sees it. */
uint64_t meter_requests(const struct meter *m);

#endif
