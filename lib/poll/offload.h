/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * offload: blocking or CPU-heavy work on worker threads, while the calling fiber parks
 *
 * The fiber goes on only after fn has returned, whatever happened meanwhile: fn may use memory on
 * the fiber's stack.
 */
#ifndef POLL_OFFLOAD_H
#define POLL_OFFLOAD_H

struct offload;

struct offload_opts {
	unsigned threads; /* at most; started when needed; 0 = 4 */
	/* A replaceable executor: must call job(job_arg) exactly once, on any thread. */
	int (*executor)(void *executor_arg, void (*job)(void *), void *job_arg);
	void *executor_arg;
};

int offload_new(const struct offload_opts *o, struct offload **ret);
/* Waits for the jobs that run. -EBUSY where jobs are queued. */
int offload_free(struct offload *o);
/*
 * offload_run() - fn(arg) on a worker; parks
 *
 * Thread: a fiber on a poller. Return: 0 after fn returned; -NP_ENOTFIBER off a fiber; -EAGAIN or
 * -ENOMEM where no thread could be had: then fn was not called.
 */
int offload_run(struct offload *o, void (*fn)(void *), void *arg);

#endif
