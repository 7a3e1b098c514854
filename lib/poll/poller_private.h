/* SPDX-License-Identifier: BSD-2-Clause */
/* poller: the inside of struct poller, for the files of lib/poll. */
#ifndef POLL_POLLER_PRIVATE_H
#define POLL_POLLER_PRIVATE_H

#include <stdatomic.h>
#include <sys/epoll.h>

#include "poll/baton.h"
#include "poll/hog.h"
#include "poll/mailbox.h"
#include "poll/meter.h"
#include "poll/poller.h"
#include "poll/watch.h"
#include "poll/wheel.h"
#include "sys/thread.h"

#define POLLER_LOADS 16

/*
 * Reading the clock costs as much as the shortest handlers do, so not each one of a row publishes
 * its beginning: one of so many. They are twice as many each time while the clock stands still.
 */
#define POLLER_PUBLISH_MIN 8u
#define POLLER_PUBLISH_MAX 64u

/*
 * What an epoll event's data leads to; stale when the generations differ. A free slot's generation
 * has never been told to the kernel, so no event leads to what is in it. Twelve bytes: there is one
 * for each connection.
 */
struct watch_slot {
	union {
		struct watch *watch;
		uint32_t next_free; /* while free */
	};
	uint32_t generation;
} __attribute__((packed, aligned(4)));

#define SLOT_NONE UINT32_MAX

/*
 * How far now_ms is to be trusted.
 *
 *   state   leaves it by
 *   FRESH   poller_note_handler(), a fiber goes on -> USER
 *   USER    the loop's next dispatch -> STALE
 *   STALE   poller_now_ms() -> FRESH
 */
enum poller_clock { CLOCK_FRESH, CLOCK_STALE, CLOCK_USER };

enum poller_state { POLLER_MADE, POLLER_RUNNING, POLLER_ENDED };

/* Where @first is NULL it is empty, and @last not looked at. */
struct spawn_queue {
	struct spawn *first, *last;
};

/*
 * One thread at a time touches a poller, its owner: the one that holds its baton, or whichever it
 * has none. What takes that for granted, and where it is asserted in debug builds
 * (poller_assert_owner()):
 *
 *   queues, watches, timers, parks, clock,   at the entry of each function; disarming a timer and
 *   counters, load lines, notes for hogs     list.h know no poller and hold no assert
 *   poller_post(): a mail of the looper's    the thread that will look into the mailbox before it
 *   wakes nobody                             sleeps is this one
 *   a fiber goes on where it began           fiber_resume(); each thread has a queue of its own
 *   a handler's frames stand on the loop's   fiber_run() and fiber_resume(): not from a fiber;
 *   alone                                    poller_begin_fiber() is the way from a dispatch, and
 *                                            watch_next_fiber() between two
 *   overflow.c walks the fibers              in a signal handler of the owner's
 */

/* turn_run() has them in this order. */
enum turn_phase {
	TURN_OVER,
	TURN_MAIL,
	TURN_WATCHES,
	TURN_FIBERS,
	TURN_HOSTS, /* fibers of other threads */
	TURN_TIMERS,
	TURN_DEFERRED
};

/*
 * What is in flight in a turn stands here and not on the stack, so that the loop can be entered
 * again while a function that it has called does not return: turn_go_on() takes up what is left,
 * and then the phases that had not begun.
 * Each loop over one of these reads it anew after each dispatch. All belongs to the poller's owner,
 * and all is empty between two turns.
 *
 *   in flight    holds                                 filled by             emptied by
 *   tail         fibers begun by the dispatch          poller_begin_fiber()  poller_run_tail()
 *   mail         this turn's mail, oldest first        turn_run_mail()       its loop
 *   event        what epoll_wait() has said            turn_take_events()    watch_go_on()
 *   watches      those left ready by turns before      watch_dispatch()      watch_go_on(), a close
 *   dispatched   the watch whose function runs, while  watch_go_on()         the same, a close
 *                it is open; linked nowhere
 *   spawn        fibers to be started                  spawn_take()          spawn_go_on()
 *   due          timers, disarmed one by one           turn_fire_timers()    its loop, a disarm
 *   deferred     what was put off to the turn's end    turn_run_deferred()   its loop
 *
 * An event whose watch is closed before its turn comes leads nowhere. Parked fibers to go on with
 * are in their threads' riders.
 */
struct poller_now {
	enum turn_phase next; /* behind what is in flight */
	struct spawn_queue tail;
	struct mail *mail;
	const struct epoll_event *event, *event_end;
	struct list watches;
	struct watch *dispatched;
	struct spawn_queue spawn;
	struct list due;
	struct mail *deferred;
};

/* sample.c */
struct poller_sampling {
	const struct poller_sampler *sampler; /* NULL: nothing is sampled */
	unsigned users;
	unsigned in;    /* dispatches until one is looked at */
	unsigned every; /* one of so many is, on average */
	unsigned taken; /* since window_ms */
	uint32_t chance;
	uint64_t window_ms;
	uint64_t overhead_ns; /* of one look */
	uint64_t slept_ns;    /* in handlers that blocked, extrapolated */
};

struct poller {
	struct meter meter; /* first: poller_meter() */

	/* owner thread */
	struct poller_now now;
	int epoll_fd;
	union {
		struct {
			bool shared; /* there are spare threads, or were: looper_goes_on() */
			/* no stack was free; until a fiber ends or spawn_retry fires */
			bool spawn_blocked;
			bool sampled; /* sampling.sampler is set */
			bool unused;
		};
		uint32_t between; /* what may come between two dispatches: 0: none of it */
	};
	struct watch wake; /* its events end a wait; that is all, so nothing is wanted of it */
	struct list ready; /* watches with want & ready */
	struct spawn_queue spawn;
	struct timer spawn_retry;
	uint64_t spawn_logged_ms;
	struct mail *deferred_first, *deferred_last;
	struct wheel wheel;
	uint64_t now_ms; /* poller_now_ms() reads and renews it */
	enum poller_clock clock;
	struct timer trim; /* armed while the pool has stacks to give back */
	struct watch_slot *slots;
	uint32_t n_slots, used_slots, free_slot;
	struct epoll_event *events;
	int n_events;
	struct fiber_pool *fibers;
	struct poller_load *loads[POLLER_LOADS];
	unsigned n_loads;
	unsigned publish_in; /* short pieces of work until one publishes its beginning */
	unsigned publish_every;
	uint64_t published_ns; /* by the coarse clock */
	unsigned holds, keeps;
	struct list parked; /* fibers in park_wait() */
	bool cancelled;     /* poller_cancel(): none may be added */
	void *local;
	void (*local_free)(void *);
	struct poller_stats stats;
	struct hog hog;
	struct poller_sampling sampling;
	struct poller_opts opts;
	bool wait_failed; /* epoll_wait failed and it has been logged */

	/* which thread this owner is */
	struct baton baton;

	/* control thread */
	struct sys_thread thread;
	enum poller_state state;

	/* any thread */
	int wake_fd;
	_Atomic(bool) stop;
	struct mailbox mailbox __attribute__((aligned(64)));
	/* threads between mailbox_put() and the end of their wake-up */
	_Atomic(unsigned) posting;
};

/* Reads the clock; the loop does at the beginning of a turn. */
uint64_t poller_refresh_now(struct poller *p);
/* Owner. A parked fiber goes on in the run phase: for park_wake() alone, which is asked once for
 * each wait. */
void poller_ready(struct poller *p, struct fiber *f);

/* What ran before may have been user code; what follows begins with code of ours. */
static inline void poller_left_user(struct poller *p)
{
	if (p->clock == CLOCK_USER)
		p->clock = CLOCK_STALE;
}

/* The short piece that comes next publishes its beginning. */
static inline void poller_publish_next(struct poller *p)
{
	p->publish_in = 1;
}

/* Before each mail, fiber, timer and deferred work. */
static inline void poller_begin_dispatch(struct poller *p)
{
	poller_left_user(p);
	if (!p->n_loads && !p->hog.each)
		return;
	poller_publish_busy(p);
	if (!p->hog.each)
		return;
	/* What is found now was none of the user's, until one is noted. */
	__atomic_store_n(&p->hog.handler, NULL, __ATOMIC_RELAXED);
}

/* One of a row whose beginning is published. */
void poller_begin_published(struct poller *p);

/* Before each of a row of watch functions, or of fibers behind one dispatch. */
static inline void poller_begin_short_dispatch(struct poller *p)
{
	if (__builtin_expect(!--p->publish_in, 0))
		poller_begin_published(p);
}

/* No longer busy: on every line. */
void poller_publish_idle(struct poller *p);

/* ---- poller.c */
void poller_wake(struct poller *p);
/* A spare thread that the crew has given to @p: until it carries it no more. */
void poller_carry(struct poller *p, struct rider *r);

/*
 * ---- turn.c
 *
 * What returns a bool says whether this thread is the looper still. If not, it is no longer the
 * owner: all returns, and leaves what is in flight to the thread that is.
 */
bool turn_run(struct poller *p, struct rider *r);
/* What was begun before there was a loop, and what a turn has left that does not go on. */
bool turn_go_on(struct poller *p, struct rider *r);
/* This thread's fibers that can go on, where another is the looper. */
void turn_run_own(struct poller *p, struct rider *r);
bool turn_run_mail(struct poller *p);
bool turn_run_deferred(struct poller *p);
void turn_trim_stacks(struct timer *t);

/* @q is not empty. */
static inline struct spawn *spawn_pop(struct spawn_queue *q)
{
	struct spawn *s = q->first;

	q->first = s->next;
	return s;
}

/* ---- spawn.c */
void spawn_again(struct timer *t);
/* Those that are queued, as far as there are stacks; settled before the parked ones go on. */
void spawn_take(struct poller *p);
bool spawn_go_on(struct poller *p);
/* What a guest has begun is the looper's to start. */
void spawn_leave_tail(struct poller *p);
/* The fibers that the dispatch has begun, and those that these begin, while this is the looper. */
void poller_run_tail(struct poller *p);
/* Likewise, and lets those have the poller that wait for it. */
bool poller_end_shared(struct poller *p);

/* A part of poller_end_dispatch(), for what is measured. */
static inline void poller_end_fibers(struct poller *p)
{
	if (p->now.tail.first)
		poller_run_tail(p);
}

/* After each watch function, mail, fiber, timer and deferred work. */
static inline bool poller_end_dispatch(struct poller *p)
{
	poller_end_fibers(p);
	return __builtin_expect(!p->shared, true) || poller_end_shared(p);
}

/* ---- sample.c */
/* run(p, run_arg), looked at now and then; it is fn(arg) for the sampler, which there is. */
void sample_dispatch(struct poller *p, const void *fn, void *arg,
		     void (*run)(struct poller *, void *), void *run_arg);

/* ---- watch.c */
/*
 * watch_next_fiber() - fiber_pool_opts.next: a fiber that has ended goes on with the row of events,
 * and is the fiber which the next of them begins
 *
 * A handler that does not wait is then a call, and its stack has been switched to once for the row.
 * Only with shallow watches: their functions take little stack, and call nothing of the user's that
 * has to be on the thread's own. The loop goes on with what this has left.
 */
const struct fiber_call *watch_next_fiber(void *poller);
/*
 * Runs the watches that have events, and those that were ready before; one that still has more to
 * do stays for the next turn.
 */
bool watch_dispatch(struct poller *p);
bool watch_go_on(struct poller *p);

#endif
