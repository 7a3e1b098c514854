/* SPDX-License-Identifier: BSD-2-Clause */
/* deadline: the moment at which every wait of a fiber ends; kept in the fiber, looked at where it
 * parks. */
#include <errno.h>
#include <limits.h>

#include "fiber/fiber.h"
#include "netpoll/pollers.h"
#include "poll/baton.h"
#include "poll/poller.h"

int np_deadline(int ms, uint64_t *ret_outer)
{
	NP_GATE(np_deadline(ms, ret_outer));

	struct poller *p = poller_self();
	struct fiber *f = fiber_self();
	uint64_t outer, until;

	if (!p || !f)
		return -NP_ENOTFIBER;
	if (ms < NP_NOW)
		return -EINVAL;
	outer = fiber_until(f);
	until = ms == NP_NOW ? poller_now_ms(p) : ms > 0 ? poller_after_ms(p, ms) : 0;
	if (until && (!outer || until < outer))
		fiber_set_until(f, until);
	if (ret_outer)
		*ret_outer = outer;
	return 0;
}

int np_deadline_restore(uint64_t outer)
{
	NP_GATE(np_deadline_restore(outer));

	if (!poller_self() || !fiber_self())
		return -NP_ENOTFIBER;
	fiber_set_until(fiber_self(), outer);
	return 0;
}

/* Out of line, so that the verb has no register to save twice on its way through the gate. */
static __attribute__((noinline)) int deadline_until(uint64_t until)
{
	uint64_t now = poller_now_ms(poller_self());

	if (until <= now)
		return 0;
	return until - now < INT_MAX ? (int)(until - now) : INT_MAX;
}

int np_deadline_left(void)
{
	NP_GATE(np_deadline_left());

	struct fiber *f = fiber_self();
	uint64_t until = f ? fiber_until(f) : 0;

	return until ? deadline_until(until) : -1;
}
