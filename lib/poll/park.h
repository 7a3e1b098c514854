/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * park: a fiber's wait for one thing, the only way in which a fiber stops and goes on
 *
 * A wait is ended once: the first park_wake() takes the fiber out of it and queues it, and each
 * later one finds none and says so. A wake that comes before park_wait() is kept. Besides its waker
 * a wait is ended by its own limit, by the deadline of its fiber (fiber_set_until()) and by a
 * cancel of the fiber or the poller; each of these asks `end` first.
 *
 * A wait whose waker is on its way (a mail of another thread that has not arrived yet) can neither
 * time out nor be cancelled, for the sender still holds it: its `end` says so. A wait lies on its
 * fiber's stack, and keeps its poller alive.
 *
 *   state      leaves it by
 *   made       park_wait() -> waiting;  park_wake() -> woken
 *   waiting    park_wake() -> woken
 *   woken      its fiber runs in this turn's or the next turn's run phase, and park_wait() returns
 */
#ifndef POLL_PARK_H
#define POLL_PARK_H

#include <stdbool.h>
#include <stdint.h>

#include "poll/list.h"
#include "poll/timer.h"

struct fiber;
struct poller;
struct park;

/*
 * The wait is to end with *@why, which is -ETIMEDOUT or -ECANCELED. Takes it away from its waker,
 * and looks whether what it waits for has come: then *@why becomes the result that the waker would
 * have given.
 * Return: whether the wait ends; false: its waker is on its way, or has been here just now.
 */
typedef bool (*park_end_fn)(struct park *k, int *why);

struct park {
	struct list link; /* in the poller's list while waiting */
	struct poller *poller;
	struct fiber *fiber; /* NULL once woken */
	struct timer timer;
	park_end_fn end;     /* NULL: nothing has to be told */
	const void *handler; /* which function waits: noted again when its fiber goes on, */
	int fd;              /* and whose it is, */
	const char *tag;     /* and what it does */
	const char *what;    /* it waits for, in a word: a literal */
	uint64_t since_ms;   /* of the turn in which it began */
	int result;
	bool by_deadline; /* the timer is the fiber's deadline, not this wait's own limit */
};

/*
 * park_init() - for the calling fiber
 *
 * @what: what is waited for, in a word, for those who look: a literal.
 * Return: 0; -NP_ENOTFIBER; -ECANCELED after poller_cancel() or fiber_cancel(). Then it may be
 * waited for all the same, if its waker is sure to come.
 */
int park_init(struct park *k, park_end_fn end, const char *what);
/*
 * park_wait() - at most once for each park_init(); @until_ms of poller_after_ms(), 0 = for ever
 *
 * A limit that has passed already ends it in this or the next turn, after `end` has looked.
 * Return: what park_wake() was given; -ETIMEDOUT; -ECANCELED.
 */
int park_wait(struct park *k, uint64_t until_ms);
/* Owner. Another limit for one that waits. */
void park_set_until(struct park *k, uint64_t until_ms);
/* Owner. Return: whether it was the first. */
bool park_wake(struct park *k, int result);

/* Owner. Every wait ends with -ECANCELED, and those to come are refused. There is no way back. */
void poller_cancel(struct poller *p);
/* Owner. The waits of this fiber, now and from now on, end with -ECANCELED; not of one that runs on
 * main. */
void park_cancel_fiber(struct fiber *f);
/* Owner. The function that waits on a parked fiber, as poller_note_handler() was told; or NULL. */
const void *park_handler(const struct fiber *f);
/* A fiber that is parked. Times are those of the turns, as poller_now_ms() has them. */
struct park_sight {
	const void *handler; /* as park_handler() */
	const char *what, *tag;
	int fd;              /* whose the handler is; -1: no connection's */
	uint64_t handler_ms; /* since when: its first wait at the latest */
	uint64_t since_ms;   /* since when it waits */
	uint64_t until_ms;   /* 0: no limit */
	bool woken;          /* it goes on in this turn, or the next */
};
/* Owner. Return: false: it is not parked. */
bool park_look(const struct fiber *f, struct park_sight *ret);
/* Owner. The descriptor of the connection that waits on it is given away, or closed. */
void park_forget_fd(struct fiber *f);
/* Owner. Whether the poller is, or the fiber that asks. */
bool poller_cancelled(const struct poller *p);

#endif
