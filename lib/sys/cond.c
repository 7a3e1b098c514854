/* SPDX-License-Identifier: BSD-2-Clause */
/* cond: CLOCK_MONOTONIC, and errors below zero. */
#include "sys/cond.h"

#include <time.h>

void sys_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(c, &a);
	pthread_condattr_destroy(&a);
}

int sys_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, uint64_t until_ns)
{
	struct timespec t = { .tv_sec = (time_t)(until_ns / 1000000000u),
			      .tv_nsec = (long)(until_ns % 1000000000u) };

	return until_ns ? -pthread_cond_timedwait(c, lock, &t) : -pthread_cond_wait(c, lock);
}
