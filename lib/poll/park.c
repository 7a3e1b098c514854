/* SPDX-License-Identifier: BSD-2-Clause */
/* park: waits of fibers, and the list of them that poller_cancel() goes through. */
#include "poll/park.h"

#include <errno.h>

#include "netpoll/status.h"
#include "poll/poller_private.h"

static void give_up(struct park *k, int result)
{
	if (!k->unhook || k->unhook(k))
		park_wake(k, result);
}

static void expired(struct timer *t)
{
	give_up(container_of(t, struct park, timer), -ETIMEDOUT);
}

int park_init(struct park *k, bool (*unhook)(struct park *))
{
	*k = (struct park){ .poller = poller_self(), .fiber = fiber_self(), .unhook = unhook };
	if (!k->poller || !k->fiber)
		return -NP_ENOTFIBER;
	list_init(&k->link);
	timer_init(&k->timer, expired);
	return poller_cancelled(k->poller) ? -ECANCELED : 0;
}

int park_wait(struct park *k, uint64_t until_ms)
{
	if (until_ms)
		timer_arm(k->poller, &k->timer, until_ms);
	list_append(&k->poller->parked, &k->link);
	poller_hold(k->poller);
	poller_park(k->poller);
	poller_unhold(k->poller);
	return k->result;
}

void park_wake(struct park *k, int result)
{
	list_remove(&k->link);
	timer_disarm(&k->timer);
	k->result = result;
	poller_ready(k->poller, k->fiber);
}

static void cancel(struct poller *p, bool all)
{
	struct list was, *l;

	list_move_all(&p->parked, &was);
	while ((l = list_pop(&was))) {
		struct park *k = container_of(l, struct park, link);

		list_append(&p->parked, l); /* it may not be meant, or its end may be on the way */
		if (all || fiber_cancelled(k->fiber))
			give_up(k, -ECANCELED);
	}
}

void poller_cancel(struct poller *p)
{
	p->cancelled = true;
	cancel(p, true);
}

void poller_cancel_marked(struct poller *p)
{
	cancel(p, false);
}

bool poller_cancelled(const struct poller *p)
{
	struct fiber *f = fiber_self();

	return p->cancelled || (f && fiber_cancelled(f));
}
