/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pollers: the pinned threads that servers and connections live on
 *
 * One set may carry several servers. Nothing here is global: two sets know nothing of each other.
 */
#ifndef NETPOLL_POLLERS_H
#define NETPOLL_POLLERS_H

#include <netpoll/opts.h>
#include <netpoll/status.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct np_pollers;

enum np_log_level { NP_LOG_INFO = 0, NP_LOG_WARNING = 1, NP_LOG_ERROR = 2, NP_LOG_BUG = 3 };

/* Zero means the default. */
struct np_pollers_opts {
	size_t sz;
	int count;         /* the CPUs this process may use: min(affinity mask, cgroup quota rounded up) */
	const int *cpus;   /* to pin to, in order, again from the first when there are more pollers */
	int n_cpus;        /* 0: the affinity mask */
	int no_pin;        /* nonzero: leave the threads to the scheduler */
	size_t stack_size; /* of a handler's fiber; 64 KiB */
	unsigned max_fibers; /* for each poller; 65536 */
	/* One line without a newline; the library prints nothing itself. Thread: any poller, or one that watches them. */
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;
};
NP_OPTS_INIT(np_pollers_opts)

/*
 * np_pollers_start() - threads that wait for work
 *
 * Thread: setup; not from a poller. Lifetime: *o is copied; freed by np_pollers_free().
 * Return: 0; -EINVAL (negative count, no CPU in the list), -E2BIG, -ENOMEM, -EMFILE, -EAGAIN (no more
 *         threads). A CPU that cannot be had is logged and lived with.
 */
NP_API int np_pollers_start(const struct np_pollers_opts *o, struct np_pollers **ret);

/*
 * np_pollers_stop() - end the threads; servers on them are stopped first
 *
 * Thread: setup; not from a poller. Return: 0, also when repeated; -EDEADLK on a poller.
 */
NP_API int np_pollers_stop(struct np_pollers *p, int timeout_ms);

/* Return: 0; -EBUSY while they run, or while a fiber is parked or a reference to a connection held. */
NP_API int np_pollers_free(struct np_pollers *p);

/* Thread: any. */
NP_API int np_pollers_count(const struct np_pollers *p);
/* The index of the poller whose thread this is, -1 elsewhere. Thread: any. */
NP_API int np_poller_self(void);

#ifdef __cplusplus
}
#endif
#endif
