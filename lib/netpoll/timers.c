/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timers: np_timer, a function called later on the same poller's own stack
 *
 *   state     leaves it by
 *   pending   it fires -> firing;  np_timer_stop() -> freed
 *   firing    fn returns -> fired;
 *             or freed: np_timer_stop() was called meanwhile, or it is not kept
 *   fired     np_timer_stop() -> freed
 */
#include "netpoll/timers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "netpoll/pollers.h"
#include "netpoll/pollers_private.h"
#include "poll/baton.h"
#include "poll/timer.h"

struct np_timer {
	struct timer timer;
	struct list link; /* in its slot's list, all its life */
	struct poller_slot *slot;
	void (*fn)(void *);
	void *arg;
	bool kept; /* its user has a pointer to it, and will stop it */
	bool firing;
};

static void timers_drop(struct np_timer *t)
{
	timer_disarm(&t->timer);
	list_remove(&t->link);
	free(t);
}

static void timers_fired(struct timer *timer)
{
	struct np_timer *t = container_of(timer, struct np_timer, timer);

	poller_note_handler(t->slot->poller, t->fn, -1);
	t->firing = true;
	t->fn(t->arg);
	t->firing = false;
	if (!t->kept)
		timers_drop(t);
}

int np_timer_start(int ms, void (*fn)(void *), void *arg, struct np_timer **ret)
{
	NP_GATE(np_timer_start(ms, fn, arg, ret));

	struct poller_slot *here = poller_slot_self();
	struct np_timer *t;

	if (ms < 0 || !fn)
		return -EINVAL;
	if (!here)
		return -EPERM;
	t = malloc(sizeof *t);
	if (!t)
		return -ENOMEM;
	*t = (struct np_timer){ .slot = here, .fn = fn, .arg = arg, .kept = ret != NULL };
	timer_init(&t->timer, timers_fired);
	list_append(&here->timers, &t->link);
	timer_arm(here->poller, &t->timer, poller_after_ms(here->poller, ms));
	if (ret)
		*ret = t;
	return 0;
}

int np_timer_stop(struct np_timer **p)
{
	NP_GATE(np_timer_stop(p));

	struct np_timer *t = *p;

	if (!t)
		return 0;
	if (t->slot != poller_slot_self())
		return -EPERM;
	*p = NULL;
	t->kept = false;
	if (!t->firing)
		timers_drop(t);
	return 0;
}

void timers_free(struct poller_slot *s)
{
	struct list *l;

	while ((l = list_pop(&s->timers)))
		free(container_of(l, struct np_timer, link));
}
