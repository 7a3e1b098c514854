/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * park: a fiber that waits for one thing, with a deadline, until the poller's waits are cancelled
 *
 * What a reader would get wrong: a wait whose end is already on its way (a mail of another thread
 * that has not arrived yet) can neither time out nor be cancelled any more, for the sender still
 * holds it. That is what unhook is for. A wait lies on its fiber's stack, and keeps its poller alive.
 *
 *   state      leaves it by
 *   made       park_wait() -> waiting
 *   waiting    park_wake(), the deadline, poller_cancel() or poller_cancel_marked() -> woken
 *   woken      its fiber runs in this turn's or the next turn's run phase, and park_wait() returns
 */
#ifndef POLL_PARK_H
#define POLL_PARK_H

#include <stdbool.h>
#include <stdint.h>

#include "poll/list.h"
#include "poll/timer.h"

struct fiber;
struct poller;

struct park {
	struct list link; /* in the poller's list while waiting */
	struct poller *poller;
	struct fiber *fiber;
	struct timer timer;
	/* Takes the wait away from whoever would wake it. Return: false: too late, park_wake() is on its way. */
	bool (*unhook)(struct park *);
	int result;
};

/*
 * park_init() - for the calling fiber; @unhook may be NULL
 *
 * Return: 0; -NP_ENOTFIBER; -ECANCELED after poller_cancel() or fiber_cancel(). Then it may be waited for all
 * the same, if whoever is to wake it is sure to come.
 */
int park_init(struct park *k, bool (*unhook)(struct park *));
/*
 * park_wait() - at most once for each park_init(); @until_ms of poller_after_ms(), 0 = for ever
 *
 * Return: what park_wake() was given; -ETIMEDOUT; -ECANCELED.
 */
int park_wait(struct park *k, uint64_t until_ms);
/* Thread: its poller's. Exactly once, and only where unhook did not say that it has gone. */
void park_wake(struct park *k, int result);

/* Owner. Every wait ends with -ECANCELED, and those to come are refused. There is no way back. */
void poller_cancel(struct poller *p);
/* Owner. The waits of fibers that fiber_cancel() has marked end with -ECANCELED. */
void poller_cancel_marked(struct poller *p);
/* Owner. Whether the poller is, or the fiber that asks. */
bool poller_cancelled(const struct poller *p);

#endif
