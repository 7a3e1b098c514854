/* SPDX-License-Identifier: BSD-2-Clause */
/* latch: a counter under a mutex, waited for on the monotonic clock. */
#include "netpoll/latch.h"

#include <errno.h>

#include "sys/cond.h"

void latch_init(struct latch *l)
{
	l->left = 0;
	l->disturbed = false;
	sys_cond_init(&l->opened);
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

void latch_add(struct latch *l)
{
	pthread_mutex_lock(&l->lock);
	l->left++;
	pthread_mutex_unlock(&l->lock);
}

void latch_arrive(struct latch *l)
{
	pthread_mutex_lock(&l->lock);
	if (--l->left == 0)
		pthread_cond_broadcast(&l->opened);
	pthread_mutex_unlock(&l->lock);
}

void latch_disturb(struct latch *l)
{
	pthread_mutex_lock(&l->lock);
	l->disturbed = true;
	pthread_cond_broadcast(&l->opened);
	pthread_mutex_unlock(&l->lock);
}

int latch_wait(struct latch *l, uint64_t until_ns)
{
	int r = 0;

	pthread_mutex_lock(&l->lock);
	while (l->left && !l->disturbed && r == 0)
		r = sys_cond_wait(&l->opened, &l->lock, until_ns);
	if (!l->left)
		r = 0;
	else if (l->disturbed)
		r = -EINTR;
	l->disturbed = false;
	pthread_mutex_unlock(&l->lock);
	return r;
}
