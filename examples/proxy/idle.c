/* SPDX-License-Identifier: BSD-2-Clause */
/* idle: its timer is not set anew for each byte: it looks, when it fires, how much is left. */
#include "idle.h"

#include <netpoll/pollers.h>
#include <time.h>

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void fired(void *arg);

static int restart(struct idle *i, uint64_t ms)
{
	idle_stop(i);
	return np_timer_start((int)ms, fired, i, &i->timer);
}

static void fired(void *arg)
{
	struct idle *i = arg;
	uint64_t now = now_ms(), until = i->moved_ms + (uint64_t)i->ms;

	if (now < until && restart(i, until - now) == 0)
		return;
	idle_stop(i);
	i->over(i->arg);
}

int idle_start(struct idle *i)
{
	if (!i->ms)
		return 0;
	i->moved_ms = now_ms();
	return restart(i, (uint64_t)i->ms);
}

void idle_stop(struct idle *i)
{
	if (i->timer)
		np_timer_stop(&i->timer);
}

void idle_moved(struct idle *i)
{
	if (i->ms)
		i->moved_ms = now_ms();
}
