/* SPDX-License-Identifier: BSD-2-Clause */
/* offload: the queue, its workers, and the way back to the poller. */
#include "poll/offload.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "netpoll/status.h"
#include "poll/park.h"
#include "poll/poller.h"
#include "sys/thread.h"

#define THREADS_DEFAULT 4u

/* Lives on the stack of the fiber that waits for it. */
struct job {
	struct job *next;
	void (*fn)(void *);
	void *arg;
	struct mail done;
	struct park park;
};

struct offload {
	struct offload_opts opts;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t work;
	struct job *first, *last;
	unsigned queued;
	unsigned idle;        /* workers that wait for one */
	unsigned n_threads;
	bool ending;
	struct sys_thread threads[];
};

int offload_new(const struct offload_opts *opts, struct offload **ret)
{
	unsigned max = opts && opts->threads ? opts->threads : THREADS_DEFAULT;
	struct offload *o = calloc(1, sizeof *o + max * sizeof o->threads[0]);

	if (!o)
		return -ENOMEM;
	if (opts)
		o->opts = *opts;
	o->opts.threads = max;
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->work, NULL);
	*ret = o;
	return 0;
}

int offload_free(struct offload *o)
{
	bool queued;

	if (!o)
		return 0;
	pthread_mutex_lock(&o->lock);
	queued = o->queued > 0;
	o->ending = !queued;
	pthread_cond_broadcast(&o->work);
	pthread_mutex_unlock(&o->lock);
	if (queued)
		return -EBUSY;
	for (unsigned i = 0; i < o->n_threads; i++)
		sys_thread_join(&o->threads[i], 0);
	pthread_cond_destroy(&o->work);
	pthread_mutex_destroy(&o->lock);
	free(o);
	return 0;
}

/* ------------------------------------------------------------------ one job */

static void back(struct mail *m)
{
	struct job *j = container_of(m, struct job, done);

	park_wake(&j->park, 0);
}

/* After poller_post() the job is gone: its fiber may run, and return, at once. */
static void run_job(void *arg)
{
	struct job *j = arg;

	j->fn(j->arg);
	poller_post(j->park.poller, &j->done);
}

/* ------------------------------------------------------------------ workers */

static struct job *pop(struct offload *o)
{
	struct job *j = o->first;

	if (!j)
		return NULL;
	o->first = j->next;
	if (!o->first)
		o->last = NULL;
	o->queued--;
	return j;
}

static void push(struct offload *o, struct job *j)
{
	j->next = NULL;
	if (o->last)
		o->last->next = j;
	else
		o->first = j;
	o->last = j;
	o->queued++;
}

static void work(void *arg)
{
	struct offload *o = arg;
	struct job *j;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		j = pop(o);
		if (j) {
			pthread_mutex_unlock(&o->lock);
			run_job(j);
			pthread_mutex_lock(&o->lock);
		} else if (o->ending) {
			break;
		} else {
			o->idle++;
			pthread_cond_wait(&o->work, &o->lock);
			o->idle--;
		}
	}
	pthread_mutex_unlock(&o->lock);
}

/* One more worker where all have something to do. That none can be had matters only if there is none. */
static int staff(struct offload *o)
{
	char name[16];
	int r;

	if (o->idle > o->queued || o->n_threads == o->opts.threads)
		return 0;
	snprintf(name, sizeof name, "np-work-%u", o->n_threads);
	r = sys_thread_start(&o->threads[o->n_threads], name, work, o);
	if (r == 0)
		o->n_threads++;
	return o->n_threads ? 0 : r;
}

static int submit(struct offload *o, struct job *j)
{
	int r;

	if (o->opts.executor)
		return o->opts.executor(o->opts.executor_arg, run_job, j);
	pthread_mutex_lock(&o->lock);
	r = staff(o);
	if (r == 0) {
		push(o, j);
		pthread_cond_signal(&o->work);
	}
	pthread_mutex_unlock(&o->lock);
	return r;
}

/* A worker holds the job, and fn may use the caller's stack: the wait lasts until it comes back. */
static bool offload_goes_on(struct park *k, int *why)
{
	return false;
}

int offload_run(struct offload *o, void (*fn)(void *), void *arg)
{
	struct job j = { .fn = fn, .arg = arg, .done.fn = back };
	int r = park_init(&j.park, offload_goes_on);

	if (r == -NP_ENOTFIBER)
		return r;
	r = submit(o, &j);
	return r < 0 ? r : park_wait(&j.park, 0);
}
