/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * idle: the clock of a pair on which nothing moves, on the poller where the pair is
 *
 *   state     is left by
 *   stopped   idle_start() -> running
 *   running   idle_stop() -> stopped;  nothing moved for ms -> over() is called, stopped
 */
#ifndef PROXY_IDLE_H
#define PROXY_IDLE_H

#include <stdint.h>

struct np_timer;

struct idle {
	int ms; /* 0: never */
	void (*over)(void *arg);
	void *arg;
	struct np_timer *timer;
	uint64_t moved_ms; /* when something did last */
};

/* Thread: of the pair's poller, all of them. Return: 0; -ENOMEM. */
int idle_start(struct idle *i);
void idle_stop(struct idle *i);
void idle_moved(struct idle *i);

#endif
