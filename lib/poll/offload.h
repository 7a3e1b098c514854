/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * offload: blocking or CPU-heavy work on worker threads, while the calling fiber parks
 *
 * The fiber goes on only after fn has returned, whatever happened meanwhile: fn may use memory on
 * the fiber's stack. A job lies on that stack too, so nothing is allocated for it. Where it is taken
 * from is one queue for all pollers, under a lock: a job is worth a thread's while, a lock is not
 * what it waits for.
 */
#ifndef POLL_OFFLOAD_H
#define POLL_OFFLOAD_H

struct offload;

struct offload_opts {
	unsigned threads; /* at most; started when needed; 0 = 4 */
	/*
	 * A replaceable executor: must call job(job_arg) exactly once, on any thread, the calling one
	 * included; or return a negative code and never call it.
	 */
	int (*executor)(void *executor_arg, void (*job)(void *), void *job_arg);
	void *executor_arg;
};

/* Return: 0, -ENOMEM. Starts no thread yet. @o may be NULL. */
int offload_new(const struct offload_opts *o, struct offload **ret);
/* Waits for the jobs that run, and ends the workers. Return: 0, also for NULL; -EBUSY while a job is queued. */
int offload_free(struct offload *o);
/*
 * offload_run() - fn(arg) on a worker; parks, and holds the poller
 *
 * Thread: a fiber on a poller. Return: 0 after fn returned; -NP_ENOTFIBER elsewhere; what the executor
 * says, or why not even one thread could be had (-EAGAIN): then fn was not called.
 */
int offload_run(struct offload *o, void (*fn)(void *), void *arg);

#endif
