/* SPDX-License-Identifier: BSD-2-Clause */
/* latch: a counter under a mutex, waited for on the monotonic clock. */
#include "netpoll/latch.h"

#include <errno.h>
#include <time.h>

/* glibc's cond and mutex of these kinds cannot fail: they hold no resource. */
void latch_init(struct latch *l)
{
	pthread_condattr_t a;

	l->left = 0;
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&l->opened, &a);
	pthread_condattr_destroy(&a);
	pthread_mutex_init(&l->lock, NULL);
}

void latch_fini(struct latch *l)
{
	pthread_cond_destroy(&l->opened);
	pthread_mutex_destroy(&l->lock);
}

void latch_set(struct latch *l, unsigned n)
{
	pthread_mutex_lock(&l->lock);
	l->left = n;
	pthread_mutex_unlock(&l->lock);
}

void latch_arrive(struct latch *l)
{
	pthread_mutex_lock(&l->lock);
	if (--l->left == 0)
		pthread_cond_broadcast(&l->opened);
	pthread_mutex_unlock(&l->lock);
}

int latch_wait(struct latch *l, uint64_t until_ns)
{
	struct timespec t = { .tv_sec = (time_t)(until_ns / 1000000000u),
			      .tv_nsec = (long)(until_ns % 1000000000u) };
	int r = 0;

	pthread_mutex_lock(&l->lock);
	while (l->left && r == 0)
		r = until_ns ? pthread_cond_timedwait(&l->opened, &l->lock, &t) :
			       pthread_cond_wait(&l->opened, &l->lock);
	r = l->left ? -r : 0;
	pthread_mutex_unlock(&l->lock);
	return r;
}
