/* SPDX-License-Identifier: BSD-2-Clause */
/* gate: a counter under a mutex, waited for on the monotonic clock. */
#include "netpoll/gate.h"

#include <errno.h>
#include <time.h>

/* glibc's cond and mutex of these kinds cannot fail: they hold no resource. */
void gate_init(struct gate *g)
{
	pthread_condattr_t a;

	g->left = 0;
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&g->opened, &a);
	pthread_condattr_destroy(&a);
	pthread_mutex_init(&g->lock, NULL);
}

void gate_fini(struct gate *g)
{
	pthread_cond_destroy(&g->opened);
	pthread_mutex_destroy(&g->lock);
}

void gate_close(struct gate *g, unsigned n)
{
	pthread_mutex_lock(&g->lock);
	g->left = n;
	pthread_mutex_unlock(&g->lock);
}

void gate_arrive(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	if (--g->left == 0)
		pthread_cond_broadcast(&g->opened);
	pthread_mutex_unlock(&g->lock);
}

int gate_wait(struct gate *g, uint64_t until_ns)
{
	struct timespec t = { .tv_sec = (time_t)(until_ns / 1000000000u),
			      .tv_nsec = (long)(until_ns % 1000000000u) };
	int r = 0;

	pthread_mutex_lock(&g->lock);
	while (g->left && r == 0)
		r = until_ns ? pthread_cond_timedwait(&g->opened, &g->lock, &t) :
			       pthread_cond_wait(&g->opened, &g->lock);
	r = g->left ? -r : 0;
	pthread_mutex_unlock(&g->lock);
	return r;
}
