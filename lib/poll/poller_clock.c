/* SPDX-License-Identifier: BSD-2-Clause */
/* poller_clock: the time a poller goes by. How far it is trusted: enum poller_clock. */
#include "poll/poller_private.h"
#include "sys/clock.h"

/* Inside user code it stays USER: the next reader is to read anew. */
static void poller_clock_set(struct poller *p, uint64_t ns)
{
	p->now_ms = ns / 1000000u;
	if (p->clock == CLOCK_STALE)
		p->clock = CLOCK_FRESH;
}

uint64_t poller_refresh_now(struct poller *p)
{
	poller_assert_owner(p);
	poller_clock_set(p, sys_clock_ns());
	return p->now_ms;
}

uint64_t poller_now_ms(struct poller *p)
{
	poller_assert_owner(p);
	return p->clock == CLOCK_FRESH ? p->now_ms : poller_refresh_now(p);
}

uint64_t poller_turn_ms(const struct poller *p)
{
	poller_assert_owner(p);
	return p->now_ms;
}

uint64_t poller_stamp_ms(struct poller *p)
{
	uint64_t coarse;

	poller_assert_owner(p);
	if (p->clock == CLOCK_FRESH)
		return p->now_ms;
	coarse = sys_clock_coarse_ns() / 1000000u;
	return coarse > p->now_ms ? coarse : p->now_ms;
}

uint64_t poller_after_ms(struct poller *p, int ms)
{
	uint64_t ns = sys_clock_ns();

	poller_assert_owner(p);
	poller_clock_set(p, ns);
	return (ns + (uint64_t)ms * 1000000u + 999999u) / 1000000u;
}
