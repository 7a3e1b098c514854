/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crew: the spare threads of a set of pollers, and the watchdog that hands pollers on to them
 *
 * There is none until one is needed. A spare thread carries one poller at a time, and is free again
 * when no fiber is left that began on it. The watchdog sleeps while no handler that may block runs:
 * the first one that does wakes it.
 */
#ifndef POLL_CREW_H
#define POLL_CREW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "poll/baton.h"

struct crew_opts {
	int handoff_ms;   /* -1: no watchdog */
	unsigned threads; /* at most */
	const int *cpus;  /* copied: where spare threads may run; none: where they like */
	int n_cpus;
	bool report_overflow;
	/*
	 * @f runs code of the user's on a thread that does not hold the baton, or does so again.
	 * Thread: one that may touch the poller. May be NULL.
	 */
	void (*set_aside)(struct fiber *f, bool aside);
	/* @f was set aside, and this is the first that is done by whom the loop has gone to. */
	void (*send_aside)(struct fiber *f);
	void (*on_idle)(void); /* a spare thread has nothing to do; may be NULL */
};

struct crew_stats {
	uint64_t handoffs, refused;
	unsigned away;
};

/* Waits for a spare thread to carry @poller. */
struct crew_waiter {
	struct list link;
	struct poller *poller;
	void (*fn)(struct crew_waiter *w); /* one is free; called once, on any thread */
};

/* Return: 0; -ENOMEM. */
int crew_new(const struct crew_opts *o, struct crew **ret);
/* Once no poller runs that has it: its threads end. NULL is none. */
void crew_end(struct crew *c);
/* Ended, and once its pollers are freed: they count there. */
void crew_free(struct crew *c);
void crew_get_stats(struct crew *c, struct crew_stats *ret);

/* Behind the last wait of @w, however it has ended. Thread: any. */
void crew_wait_no_more(struct crew *c, struct crew_waiter *w);

/* ---- for lib/poll */

/* What the watchdog is told of: while its loop runs. */
void crew_add(struct crew *c, struct baton *b);
void crew_remove(struct crew *c, struct baton *b);
/*
 * crew_take() - one that carries @p from now on; under its gate
 *
 * Return: NULL: all are taken, or not one more is to be had; *ret_any: there are others, that come
 * free.
 */
struct rider *crew_take(struct crew *c, struct poller *p, bool *ret_any);
/*
 * crew_wait() - from here on w->fn is called, once; or at once, where one is free already
 *
 * Under the gate under which none was found: none begins to host in between.
 */
void crew_wait(struct crew *c, struct crew_waiter *w);
/* Free again; under the gate of the poller that it has carried. */
void crew_give(struct crew *c, struct rider *r);
/* A spare thread of @p can be its looper again; under the gate. */
void crew_hosts(struct crew *c, const struct poller *p);
void crew_count_handoff(struct crew *c);
void crew_count_refused(struct crew *c);
void crew_count_away(struct crew *c, int n);
void crew_aside(struct crew *c, struct fiber *f, bool aside);
void crew_send_aside(struct crew *c, struct fiber *f);
/* Whether the watchdog would find a thread, were one needed at this moment. Thread: any. */
bool crew_has_spare(const struct crew *c);
/* Code of the user's begins that may block. */
void crew_rouse(struct crew *c);
/* The watchdog sleeps, or has not begun. */
bool crew_is_asleep(const struct crew *c);

#endif
