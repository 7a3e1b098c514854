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

#define OFFLOAD_THREADS_DEFAULT   4u
#define OFFLOAD_QUEUE_MAX_DEFAULT 4096u

/* Lives on the stack of the fiber that waits for it. */
struct awaited_job {
	struct offload_job job;
	struct park park;
};

struct offload {
	struct offload_opts opts;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t work;
	struct list queue;
	struct offload_stats n;
	unsigned idle; /* workers that wait for one */
	unsigned n_threads;
	bool ending;
	struct sys_thread threads[];
};

int offload_new(const struct offload_opts *opts, struct offload **ret)
{
	unsigned max = opts && opts->threads ? opts->threads : OFFLOAD_THREADS_DEFAULT;
	struct offload *o = calloc(1, sizeof *o + max * sizeof o->threads[0]);

	if (!o)
		return -ENOMEM;
	if (opts)
		o->opts = *opts;
	o->opts.threads = max;
	if (!o->opts.queue_max)
		o->opts.queue_max = OFFLOAD_QUEUE_MAX_DEFAULT;
	list_init(&o->queue);
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
	queued = o->n.queued > 0;
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

static void offload_back(struct mail *m)
{
	struct awaited_job *j = container_of(m, struct awaited_job, job.done);

	park_wake(&j->park, 0);
}

/* Under the lock. */
static void offload_begins(struct offload *o)
{
	o->n.queued--;
	o->n.running++;
}

/* After poller_post() the job is gone: whoever waits for it may run, and free all of this, at
 * once. */
static void offload_run_job(struct offload_job *j)
{
	struct offload *o = j->offload;

	j->fn(j->arg);
	pthread_mutex_lock(&o->lock);
	o->n.running--;
	o->n.done++;
	pthread_mutex_unlock(&o->lock);
	poller_post(j->poller, &j->done);
}

/* What an executor gets. */
static void offload_execute(void *arg)
{
	struct offload_job *j = arg;

	pthread_mutex_lock(&j->offload->lock);
	offload_begins(j->offload);
	pthread_mutex_unlock(&j->offload->lock);
	offload_run_job(j);
}

/* ------------------------------------------------------------------ workers */

static struct offload_job *offload_pop(struct offload *o)
{
	struct offload_job *j;

	if (list_empty(&o->queue))
		return NULL;
	j = container_of(list_pop(&o->queue), struct offload_job, link);
	offload_begins(o);
	return j;
}

static void offload_work(void *arg)
{
	struct offload *o = arg;
	struct offload_job *j;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		j = offload_pop(o);
		if (j) {
			pthread_mutex_unlock(&o->lock);
			offload_run_job(j);
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

/* One more worker where all have something to do. That none can be had matters only if there is
 * none. */
static int offload_staff(struct offload *o)
{
	char name[16];
	int r;

	if (o->idle > o->n.queued || o->n_threads == o->opts.threads)
		return 0;
	snprintf(name, sizeof name, "np-work-%u", o->n_threads);
	r = sys_thread_start(&o->threads[o->n_threads], name, offload_work, o);
	if (r == 0)
		o->n_threads++;
	return o->n_threads ? 0 : r;
}

/* Jobs that no worker is free for are those that wait. */
static bool offload_is_full(const struct offload *o)
{
	unsigned can_begin = o->opts.executor ? 0 : o->idle + (o->opts.threads - o->n_threads);

	return o->opts.queue_max > 0 && o->n.queued >= (unsigned)o->opts.queue_max + can_begin;
}

/* Under the lock. */
static int offload_enter(struct offload *o, struct offload_job *j)
{
	int r = offload_is_full(o) ? -EAGAIN : 0;

	if (r == 0 && !o->opts.executor)
		r = offload_staff(o);
	if (r < 0) {
		o->n.refused++;
		return r;
	}
	o->n.queued++;
	if (!o->opts.executor) {
		list_append(&o->queue, &j->link);
		pthread_cond_signal(&o->work);
	}
	return 0;
}

static int offload_submit(struct offload *o, struct offload_job *j)
{
	int r;

	pthread_mutex_lock(&o->lock);
	r = offload_enter(o, j);
	pthread_mutex_unlock(&o->lock);
	if (r < 0 || !o->opts.executor)
		return r;
	r = o->opts.executor(o->opts.executor_arg, offload_execute, j);
	if (r < 0) {
		pthread_mutex_lock(&o->lock);
		o->n.queued--;
		o->n.refused++;
		pthread_mutex_unlock(&o->lock);
	}
	return r;
}

/*
 * A job that has begun goes on, for fn may use the caller's stack; and one that an executor has is
 * not ours to take back. One that still waits in our queue is taken out of it.
 */
static bool offload_end(struct park *k, int *why)
{
	struct awaited_job *a = container_of(k, struct awaited_job, park);
	struct offload_job *j = &a->job;
	struct offload *o = j->offload;
	bool waits;

	pthread_mutex_lock(&o->lock);
	waits = !list_empty(&j->link);
	if (waits) {
		list_remove(&j->link);
		o->n.queued--;
		o->n.given_up++;
	}
	pthread_mutex_unlock(&o->lock);
	return waits;
}

/* Whether a worker would take it before its wait ended would be chance. */
static bool offload_is_late(const struct park *k)
{
	uint64_t until = fiber_until(k->fiber);

	return until && poller_now_ms(k->poller) >= until;
}

int offload_begin(struct offload *o, struct offload_job *j)
{
	j->offload = o;
	list_init(&j->link);
	return offload_submit(o, j);
}

int offload_run(struct offload *o, void (*fn)(void *), void *arg)
{
	struct awaited_job a = { .job = { .fn = fn, .arg = arg, .done.fn = offload_back } };
	int r = park_init(&a.park, offload_end, "offload");

	if (r < 0)
		return r;
	if (offload_is_late(&a.park))
		return -ETIMEDOUT;
	a.job.poller = a.park.poller;
	r = offload_begin(o, &a.job);
	return r < 0 ? r : park_wait(&a.park, 0);
}

void offload_get_stats(struct offload *o, struct offload_stats *ret)
{
	pthread_mutex_lock(&o->lock);
	*ret = o->n;
	pthread_mutex_unlock(&o->lock);
}
