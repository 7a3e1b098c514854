/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * latch: a thread waits until so many parts of a job are done
 *
 * Control path only: start and stop of a server, a thread that waits for an event. The last arrival
 * opens it.
 */
#ifndef NETPOLL_LATCH_H
#define NETPOLL_LATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct latch {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	unsigned left;
	bool disturbed;
};

void latch_init(struct latch *l);
void latch_fini(struct latch *l);
/* How many arrivals open it. Only while none is under way. */
void latch_set(struct latch *l, unsigned n);
/* One more, also where some are under way. */
void latch_add(struct latch *l);
void latch_arrive(struct latch *l);
/* The wait that is under way, or the next, ends. Thread: any. */
void latch_disturb(struct latch *l);
/* @until_ns of sys_clock_ns(), 0 = for ever. Return: 0; -ETIMEDOUT; -EINTR: disturbed. */
int latch_wait(struct latch *l, uint64_t until_ns);

#endif
