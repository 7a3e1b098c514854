/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timer: a hierarchical wheel with intrusive nodes, 1 ms steps, one for each poller
 *
 * Arming, re-arming and disarming are O(1) and touch no heap and no kernel. A timer never fires
 * early; it fires in the first turn at or after its time, after that turn's watches.
 * Thread: the poller's. fn runs on main; the timer is disarmed before fn is called, so fn may arm
 * it again, or free it.
 */
#ifndef POLL_TIMER_H
#define POLL_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "poll/list.h"

struct poller;

struct timer {
	struct list link;
	uint64_t when_ms; /* of poller_now_ms(); meaningful while armed */
	void (*fn)(struct timer *t);
};

void timer_init(struct timer *t, void (*fn)(struct timer *));
bool timer_armed(const struct timer *t);
/* Re-arming moves it. Times past fire in this or the next turn. */
void timer_arm(struct poller *p, struct timer *t, uint64_t when_ms);
void timer_disarm(struct timer *t);

#endif
