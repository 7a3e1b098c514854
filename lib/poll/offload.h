/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * offload: blocking or CPU-heavy work on worker threads; the calling fiber parks, or none waits
 *
 * Once fn has begun the fiber goes on only after it has returned, whatever happened meanwhile: fn
 * may use memory on the fiber's stack. Until then its deadline and a cancel take the job back,
 * unless an executor has it. A job lies on that stack too, so nothing is allocated for it. Where it
 * is taken from is one queue for all pollers, under a lock: a job is worth a thread's while, a lock
 * is not what it waits for.
 */
#ifndef POLL_OFFLOAD_H
#define POLL_OFFLOAD_H

#include <stdint.h>

#include "poll/list.h"
#include "poll/mailbox.h"

struct offload;
struct poller;

/* Work for a worker. It lies where its caller says, until done.fn begins. */
struct offload_job {
	void (*fn)(void *); /* on the worker */
	void *arg;
	struct mail done; /* on @poller, behind fn, whichever thread has it then */
	struct poller *poller;
	struct offload *offload;
	struct list link; /* in the queue while it waits there for one of our own workers */
};

struct offload_opts {
	unsigned threads; /* at most; started when needed; 0 = 4 */
	/*
	 * A replaceable executor: must call job(job_arg) exactly once, on any thread, the calling
	 * one included; or return a negative code and never call it.
	 */
	int (*executor)(void *executor_arg, void (*job)(void *), void *job_arg);
	void *executor_arg;
	int queue_max; /* jobs that wait for a worker, at most; 0 = 4096; -1 = no limit */
};

struct offload_stats {
	uint64_t queued, running; /* now */
	uint64_t done;
	/* the queue was full, the executor did not want it, no thread was to be had */
	uint64_t refused;
	uint64_t given_up; /* by their fibers, before they began */
};

/* Return: 0, -ENOMEM. Starts no thread yet. @o may be NULL. */
int offload_new(const struct offload_opts *o, struct offload **ret);
/* Waits for the jobs that run, and ends the workers. Return: 0, also for NULL; -EBUSY while a job
 * is queued. */
int offload_free(struct offload *o);
/*
 * offload_run() - fn(arg) on a worker; parks, and holds the poller
 *
 * Thread: a fiber on a poller. Return: 0 after fn returned. Or, and then fn was not called:
 * -NP_ENOTFIBER elsewhere; -ETIMEDOUT: the fiber's deadline; -ECANCELED; -EAGAIN: the queue is
 * full, or not even one thread could be had; what the executor says.
 */
int offload_run(struct offload *o, void (*fn)(void *), void *arg);
/*
 * offload_begin() - @j->fn on a worker, and @j->done behind it, for which no fiber waits
 *
 * It does not hold the poller: that is the caller's to do. Nothing takes it back.
 * Thread: owner of @j->poller. Return: 0; or, and then neither is called: -EAGAIN and what the
 * executor says, as offload_run().
 */
int offload_begin(struct offload *o, struct offload_job *j);
/* Thread: any. */
void offload_get_stats(struct offload *o, struct offload_stats *ret);

#endif
