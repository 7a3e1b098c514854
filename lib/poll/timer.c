/* SPDX-License-Identifier: BSD-2-Clause */
/* timer: arm and disarm; the wheel does the rest. */
#include "poll/timer.h"

#include "poll/poller.h"
#include "poll/poller_private.h"

void timer_init(struct timer *t, void (*fn)(struct timer *))
{
	list_init(&t->link);
	t->when_ms = 0;
	t->fn = fn;
}

bool timer_armed(const struct timer *t)
{
	return !list_empty(&t->link);
}

void timer_arm(struct poller *p, struct timer *t, uint64_t when_ms)
{
	poller_assert_owner(p);
	list_remove(&t->link);
	t->when_ms = when_ms;
	wheel_put(&p->wheel, t);
}

void timer_disarm(struct timer *t)
{
	list_remove(&t->link);
}
