/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * poller: one pinned thread and its loop
 *
 * One turn: publish idle -> epoll_wait -> mailbox (a snapshot) -> ready watches (a snapshot; those
 * with more to do stay on the list) -> new fibers and runnable ones (a snapshot of each) -> timers
 * -> deferred work (reap). Each of these is a dispatch, and behind each come the fibers that it has
 * begun: a fiber has no frames below it but the loop's. epoll_wait gets 0 ms while anything is left
 * over.
 *
 * A reader would get wrong: nothing here locks. Everything except poller_post(), poller_stop() and
 * poller_index() belongs to the poller's own thread, or to the thread that made it before
 * poller_start().
 *
 *   state      leaves it by
 *   made       poller_start() -> running;  poller_free()
 *   running    poller_stop() -> stopping
 *   stopping   no hold, no mail and nothing runnable is left -> ended
 *   ended      poller_join(), then poller_free()
 */
#ifndef POLL_POLLER_H
#define POLL_POLLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fiber/fiber.h"
#include "poll/list.h"
#include "poll/mailbox.h"

struct crew;
struct offload;
struct poller;

/*
 * A turn's byte budget for one watch; honoured by the code that moves bytes. Messages are often of
 * a power of two and have a head each: so many of them as make 256 KiB end within it.
 */
#define POLLER_BUDGET (272u * 1024)

/*
 * The 64-byte line on which a poller publishes how it is. The steering program reads it. Plain
 * stores, one writer. lib/steer's worker line has the same layout (asserted by the facade).
 */
struct poller_load {
	uint64_t busy_since_ns; /* 0: in epoll_wait. Kernel's monotonic clock. */
	uint64_t conns;
	uint64_t accepted_total;
	uint64_t closed_total;
	uint64_t _reserved[2];
	uint64_t handoffs;            /* it went on with another thread */
	uint32_t moved_in, moved_out; /* connections, from and to another poller or process */
};

struct poller_opts {
	int index;               /* among its siblings, what poller_index() says */
	int cpu;                 /* to pin to, -1 = do not */
	int64_t clock_offset_ns; /* sys_clock_timens_offset_ns() */
	struct fiber_pool_opts fibers;
	bool report_overflow; /* the thread gets a stack for the handler of overflow_report() */
	/* Everything worth telling goes here; may be NULL. Thread: the poller's. */
	void (*log)(void *arg, int level, const char *msg);
	void *log_arg;
	/* a handler that keeps the thread for so long is counted and logged; 0: none is */
	int hog_ms;
	void *owner; /* what poller_owner() says: whom this poller belongs to */
	/* who carries on with it while a handler keeps its thread; NULL: none does */
	struct crew *crew;
	bool metrics;            /* its meter is on */
	struct offload *offload; /* what poller_offload() says */
};

/* A fiber that waits to be started. The node is its caller's until fn begins. */
struct spawn {
	struct spawn *next;
	struct fiber_call call;
};

struct poller_stats {
	uint64_t turns, waits, events, stale_events, mails, timers_fired, fibers_run;
	uint64_t second_wakes; /* of one wait: harmless, and a bug of the caller's */
};

int poller_new(const struct poller_opts *o, struct poller **ret);
/*
 * poller_free() - mail that came after the end is run here, on the calling thread
 *
 * So a mail is never lost: the last reference to something on this poller may go after its thread
 * has ended. Return: 0; -EBUSY unless made or joined, while a fiber is parked or waits for its
 * start, and while poller_keep() is in force.
 */
int poller_free(struct poller *p);
/*
 * poller_free()'s first part, for several that may write to each other. Return: whether any came.
 */
bool poller_run_late_mail(struct poller *p);
/* Whether poller_keep() is in force. */
bool poller_is_kept(const struct poller *p);
/* The thread: "np-<index>", pinned (a failure is logged and lived with), deaf to signals
 * (sys/thread.h). */
int poller_start(struct poller *p);
/* Thread: any. Asks the loop to end after the turn in which it sees it and its mailbox is empty. */
void poller_stop(struct poller *p);
/* @until_ns of sys_clock_ns(), 0 = for ever. Return: 0, also when it does not run; -ETIMEDOUT: it
 * still does. */
int poller_join(struct poller *p, uint64_t until_ns);
/* For tests and for users with a thread of their own: run the loop here until poller_stop(). */
int poller_loop(struct poller *p);

/* The poller whose thread this is, NULL elsewhere. Thread: any. */
struct poller *poller_self(void);
/* Whether this thread carries it, and may touch it at this moment. */
bool poller_is_here(const struct poller *p);
/* Likewise, or it runs nowhere. For asserts. */
bool poller_is_owner(const struct poller *p);
int poller_index(const struct poller *p);
/* The CPU it was to be pinned to, -1 for none. */
int poller_cpu(const struct poller *p);
void *poller_owner(const struct poller *p);
/* Where its fibers send what would keep the thread: offload_run(). */
struct offload *poller_offload(const struct poller *p);

/* Thread: any. FIFO per sender. Wakes the loop if need be. */
void poller_post(struct poller *p, struct mail *m);

/*
 * Owner. Milliseconds of the monotonic clock, for deadlines and what is judged by them.
 *
 * Read once a turn, and once more after each piece of user code, which may have taken a second: by
 * the first reader that comes behind it. Inside user code each call reads the clock.
 */
uint64_t poller_now_ms(struct poller *p);
/*
 * Owner. The same for stamps: behind user code, the kernel's last tick, for a quarter of the price.
 * That is 1 to 4 ms ago at most, and more on a virtual machine that gets its ticks late.
 */
uint64_t poller_stamp_ms(struct poller *p);
/* Owner. Likewise, without a look at the clock: when this turn began, or somebody read it since. */
uint64_t poller_turn_ms(const struct poller *p);
/*
 * Owner. When @ms milliseconds from this moment have passed whole, for timer_arm(). poller_now_ms()
 * + ms would be early: by what this turn has lasted, and by the part of a millisecond that had gone
 * before it.
 */
uint64_t poller_after_ms(struct poller *p, int ms);

/*
 * Owner. Start fn(arg) on a fiber in this turn's or the next turn's run phase; from main or a
 * fiber. -ENOMEM. When all stacks are taken it waits in the queue until one is free.
 */
int poller_spawn(struct poller *p, void (*fn)(void *), void *arg);
/* The same with a node of the caller's, so it cannot fail. */
void poller_spawn_node(struct poller *p, struct spawn *s);
/*
 * poller_begin_fiber() - start s->call on a fiber as soon as the dispatch in progress is over
 *
 * That is when the function of the watch, mail, timer or deferred work has returned to the loop, or
 * the fiber that calls this has parked or ended; before the loop's next dispatch. So nothing of
 * what called this is left below the fiber's frames. Where no stack is free it moves to the queue
 * of poller_spawn() and waits there in order. The node is its caller's until fn begins.
 *
 * Thread: owner.
 */
void poller_begin_fiber(struct poller *p, struct spawn *s);
struct fiber_pool *poller_fibers(struct poller *p);

/* Owner. m->fn runs at the end of this turn, after every event of this batch. */
void poller_defer(struct poller *p, struct mail *m);

/* Owner (or before start). Where to publish; up to 16. Return: 0, -ENOSPC. */
int poller_add_load(struct poller *p, struct poller_load *l);
void poller_del_load(struct poller *p, struct poller_load *l);
/* Owner. busy_since := now, on every line; the loop does it before each dispatch. Free while
 * there is no line. */
void poller_publish_busy(struct poller *p);
/* Owner. Likewise, where @n pieces of user code have run in a row: now and then, and more seldom
 * while they are over before the clock moves. */
void poller_publish_row(struct poller *p, unsigned n);

/*
 * Owner. A function of the user's is about to run: @fn, for log lines, and @fd where it is a
 * connection's, -1 elsewhere. From here on the clock is not trusted.
 */
void poller_note_handler(struct poller *p, const void *fn, int fd);
/* Owner. What the handler does: borrowed for the life of the poller, or NULL. Until the next one is
 * noted. */
void poller_note_tag(struct poller *p, const char *tag);
/* Whose one is that goes on, and what it does: park_wait()'s. */
void poller_note_again(struct poller *p, int fd, const char *tag);
/* Owner. Before a descriptor that may have been noted is closed or given away: its number may be
 * another's at once. */
void poller_fd_leaves(struct poller *p, int fd);
/*
 * What runs on the poller at this moment; the same dispatch has the same first three. Thread: any.
 */
struct poller_sight {
	/* of this turn, by sys_clock_ns(); 0: it waits for events, or hogs are not looked for */
	uint64_t began_ms;
	unsigned handlers; /* noted in this turn */
	const void *handler;
	int fd;          /* -1: no connection's */
	const char *tag; /* NULL: none */
};
void poller_look(const struct poller *p, struct poller_sight *ret);
/* ' ("GET /")', ' (descriptor 7, 192.0.2.1:4711)', both or "", for log lines. Thread: any. */
void poller_whose(const struct poller_sight *s, char *dst, size_t cap);
/*
 * poller_alarm() - for the one thread that looks at pollers now and then, and would sleep while
 * they do
 *
 * Counts its own calls since the last turn began, up to POLLER_QUIET; from then on the next turn
 * calls what poller_on_alarm() said, on the poller's thread. Nothing orders a turn's beginning with
 * this count but time: the caller that was told POLLER_QUIET looks at the poller itself before it
 * sleeps. Return: the count before this call.
 */
#define POLLER_QUIET 2
int poller_alarm(struct poller *p);
void poller_on_alarm(struct poller *p, void (*fn)(void *arg), void *arg);
/* The last one noted, or NULL. Thread: any. */
const void *poller_handler(const struct poller *p);
/*
 * How often the thread was kept for hog_ms: turns, and handlers known to have done it. Thread: any.
 */
void poller_hogs(const struct poller *p, uint64_t *ret_slow_turns, uint64_t *ret_hogs);

/*
 * Owner. What dispatches cost: @s is told of some, from poller_sample() on and until
 * poller_sample_no_more() was called as often. All that sample on one poller bring the same @s.
 */
struct poller_sampler {
	/* fn(arg) is about to run or go on: a watch's, or a fiber's. NULL: of no interest */
	void *(*begin)(const void *fn, void *arg);
	/* It has cost @ns, and so have those that were not looked at: their share is in it. */
	void (*end)(void *what, uint64_t ns);
};
void poller_sample(struct poller *p, const struct poller_sampler *s);
void poller_sample_no_more(struct poller *p);
/*
 * Owner, while it samples. What the threads that carry it have had of their CPUs for it, and how
 * long its dispatches have blocked them, by the samples; how long they were ready and had no CPU.
 */
void poller_spent(struct poller *p, uint64_t *ret_busy_ns, uint64_t *ret_waited_ns);

/* Owner. One pointer that belongs to the layer above; free_fn(v) runs in poller_free(). */
void *poller_local(const struct poller *p);
void poller_set_local(struct poller *p, void *v, void (*free_fn)(void *v));

/* Owner. Counts turns: two events in successive turns are a burst. */
uint64_t poller_turn(const struct poller *p);

/* Owner. Keeps the loop alive while > 0: poller_stop() waits for it. */
void poller_hold(struct poller *p);
void poller_unhold(struct poller *p);
/* Owner, or poller_free()'s caller through a late mail. Keeps the memory while > 0: poller_free()
 * is -EBUSY. */
void poller_keep(struct poller *p);
void poller_unkeep(struct poller *p);

void poller_get_stats(const struct poller *p, struct poller_stats *ret);
/* Owner. Timers that are armed. */
unsigned poller_timers(const struct poller *p);
void poller_log(struct poller *p, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef NP_DEBUG
#include <assert.h>
#define poller_assert_owner(p) assert(poller_is_owner(p))
#else
#define poller_assert_owner(p) ((void)0)
#endif

#endif
