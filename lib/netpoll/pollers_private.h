/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pollers: the inside of struct np_pollers, for the files of the facade
 *
 *   phase     leaves it by
 *   RUNNING   np_pollers_stop() -> STOPPING, once no server runs
 *   STOPPING  every thread has ended -> ENDED;
 *             np_pollers_stop() ran out of time: it stays, stop again
 *   ENDED     np_pollers_free()
 */
#ifndef NETPOLL_POLLERS_PRIVATE_H
#define NETPOLL_POLLERS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "netpoll/handlers.h"
#include "netpoll/registry.h"
#include "netpoll/stop_report.h"
#include "poll/list.h"
#include "poll/mailbox.h"
#include "poll/poller.h"

/* So many at most where no number is asked for: a server with more cannot listen on TCP. */
#define POLLERS_UNASKED 256

struct crew;
struct offload;
struct stall;

enum pollers_phase { POLLERS_RUNNING, POLLERS_STOPPING, POLLERS_ENDED };

/* poller slot: the facade's data for one poller, which is its poller_owner() */
struct poller_slot {
	struct np_pollers *pollers;
	struct poller *poller;
	unsigned index;

	/* owner thread */
	struct list own_groups; /* connections of no server */
	/* all of struct np_timer; after the end np_pollers_free() gives back what is left */
	struct list timers;
	unsigned spread; /* where NP_SPREAD goes next */
	/* functions of np_post() that have run, those of them in the time of a stop, the last */
	uint64_t posts, posts_in_time;
	void (*posted)(void *);
	bool cancel_comes; /* with the turn after next */

	/* any thread */
	_Atomic(unsigned) entering __attribute__((aligned(64))); /* threads in pollers_post() */

	/* control thread; the function of a mail runs on its poller */
	struct mail retire; /* posted once, when a stop begins */
	struct mail cancel; /* posted at most once, when the time of a stop is over */
	bool cancelled;
	struct stop_report report;
};

struct np_pollers {
	struct noted noted;
	unsigned n;
	struct poller **poller; /* by index */
	struct poller_slot *slots;
	struct offload *offload;
	struct crew *crew;
	bool observed;       /* it has joined the observer */
	struct stall *stall; /* NULL: no log is told of hogs */
	struct resolver *resolver;
	pthread_mutex_t lock; /* stop */
	_Atomic(int) phase;
	_Atomic(unsigned) servers; /* started and not stopped: np_pollers_stop() is refused */
	_Atomic(unsigned) spread;  /* NP_SPREAD of threads that are no pollers */
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;
};

/* Of the poller whose thread this is, NULL elsewhere. */
struct poller_slot *poller_slot_self(void);
/*
 * pollers_post() - poller_post(), refused once the poller may be about to end
 *
 * To the own poller it never is: that runs. To others it is from the beginning of a stop on.
 * Thread: any. Return: 0; -ECANCELED: m was not posted.
 */
int pollers_post(struct np_pollers *p, unsigned index, struct mail *m);
/*
 * pollers_pick() - which one @poller means: an index, NP_HERE or NP_SPREAD
 *
 * *p NULL becomes the set of the poller whose thread this is. Return: an index; -EINVAL: no such
 * index, or *p NULL elsewhere; -EPERM: NP_HERE, and here is no poller of *p.
 */
int pollers_pick(struct np_pollers **p, int poller);
/* In np_handlers.flags: handlers of the library's own, which are never left alone. */
#define HANDLERS_OURS (1u << 31)

/* What a user's handlers are. Return: 0; -EINVAL, -E2BIG. */
int pollers_take_handlers(struct np_handlers *ret, const struct np_handlers *h);
/* Whether a stop has begun: new work for the pollers is refused. Thread: any. */
bool pollers_stopping(const struct np_pollers *p);
/*
 * pollers_serve() - a server starts, which needs their threads until pollers_unserve()
 *
 * Return: 0; -ECANCELED: a stop has begun, and no poller would answer.
 */
int pollers_serve(struct np_pollers *p);
void pollers_unserve(struct np_pollers *p);
/* np_pollers_stop() that gives handlers no time before their waits are cancelled. */
int pollers_stop_now(struct np_pollers *p);
/* After that: whether a reference to a connection of theirs is held still. */
bool pollers_are_kept(struct np_pollers *p);

#endif
