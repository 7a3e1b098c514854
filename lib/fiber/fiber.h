/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fiber: a function on a stack of its own, which may stop in the middle and go on later
 *
 * Knows no I/O and no poller. One thread at a time uses a pool; a fiber goes on where it began.
 * The thread's own stack is "main": it starts and resumes fibers, and is where they come back
 * to. A fiber does not switch to another fiber. What a reader would get wrong: fiber_run() and
 * fiber_resume() return as soon as the fiber parks, not only when it ends.
 *
 *   state      leaves it by
 *   running    fiber_park() -> parked;  its function returns -> ended (stack back in the pool), or
 *              running again, what fiber_pool_opts.next has for it
 *   parked     fiber_resume() -> running
 */
#ifndef FIBER_FIBER_H
#define FIBER_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fiber;
struct fiber_pool;

/* fiber_run() outcomes */
#define FIBER_ENDED  0
#define FIBER_PARKED 1

struct fiber_call {
	void (*fn)(void *arg);
	void *arg;
};

struct fiber_pool_opts {
	size_t stack_size; /* bytes of usable stack, rounded up to pages; 0 = 64 KiB */
	unsigned max;      /* stacks at most; 0 = 65536 */
	unsigned keep;     /* free stacks that keep their pages over fiber_pool_trim(); 0 = 4 */
	/*
	 * What a fiber that ends without having parked runs next: on its stack, and without the two
	 * switches of an end and a start. Asked on that stack, as if on main: fiber_self() is NULL,
	 * and nothing may be run or resumed there. The answer is not looked at any more once its
	 * function has begun. NULL: back to main.
	 */
	const struct fiber_call *(*next)(void *arg);
	void *next_arg;
};

struct fiber_pool_stats {
	unsigned stacks;  /* mapped */
	unsigned in_use;  /* have parked and not ended */
	unsigned high;    /* most of these at once */
	unsigned refused; /* fiber_run() that found no stack */
	unsigned spare;   /* what fiber_pool_spare() says */
	/* bytes of all stacks that have been used, by where their fibers parked */
	size_t touched;
};

/* Return: 0, -ENOMEM. Maps nothing yet. */
int fiber_pool_new(const struct fiber_pool_opts *o, struct fiber_pool **ret);
/* -EBUSY while a fiber is parked: its stack holds live objects. */
int fiber_pool_free(struct fiber_pool *fp);
/* Gives the pages of long unused stacks back (madvise); call it now and then from the loop. */
void fiber_pool_trim(struct fiber_pool *fp);
/* Free stacks beyond @keep: what fiber_pool_trim() is for. */
unsigned fiber_pool_spare(const struct fiber_pool *fp);
void fiber_pool_stats(const struct fiber_pool *fp, struct fiber_pool_stats *ret);

/*
 * fiber_run() - start fn(arg) on a pooled stack, now; only from main
 *
 * It speaks of what ran last: of fn(arg), or what the pool's next() had behind it.
 * Return: FIBER_ENDED, FIBER_PARKED, or -EAGAIN (all @max stacks in use) or -ENOMEM; after an
 *         error fn was not called.
 */
int fiber_run(struct fiber_pool *fp, void (*fn)(void *), void *arg);
/* Go on with a parked fiber; only from main. Return: FIBER_ENDED or FIBER_PARKED. */
int fiber_resume(struct fiber *f);
/* Stop here until somebody resumes this fiber; only on a fiber. */
void fiber_park(void);
/* The fiber this code runs on, NULL on main. */
extern _Thread_local struct fiber *fiber_current
	__attribute__((tls_model("initial-exec"), visibility("hidden")));
static inline struct fiber *fiber_self(void)
{
	return fiber_current;
}
/* For the layer that runs fibers: what the fiber belongs to. NULL at the start of each run. */
void fiber_set_owner(struct fiber *f, void *owner);
void *fiber_owner(const struct fiber *f);
/* For the layer that parks fibers: this one waits no more. Unset at the start of each run. */
void fiber_cancel(struct fiber *f);
bool fiber_cancelled(const struct fiber *f);
/*
 * For the layer above that one: fn(the fiber's argument) runs on it before it parks, once; NULL: no
 * more. It is unset again before its function returns.
 */
void fiber_before_park(struct fiber *f, void (*fn)(void *arg));
/*
 * When every wait of this fiber is to end, in the units of the layer that parks it; 0: none. Unset
 * at the start of each run.
 */
void fiber_set_until(struct fiber *f, uint64_t until);
uint64_t fiber_until(const struct fiber *f);
/*
 * When what it does began, in the units of the layer that parks it: the first that is noted counts,
 * until fiber_begins_anew(). 0: nothing was noted.
 */
void fiber_note_begin(struct fiber *f, uint64_t when);
uint64_t fiber_began(const struct fiber *f);
/* The next piece of work on it: as at the start of each run, it has no limit, and has not begun. */
void fiber_begins_anew(struct fiber *f);
/* A link for a queue of parked fibers. */
void fiber_set_next(struct fiber *f, struct fiber *next);
struct fiber *fiber_next(const struct fiber *f);
/* For each one that runs or is parked. */
void fiber_pool_each(const struct fiber_pool *fp, void (*fn)(void *arg, struct fiber *f),
		     void *arg);
/* What it was started with. */
void (*fiber_fn(const struct fiber *f))(void *);
void *fiber_arg(const struct fiber *f);
/* Bytes of its stack. */
size_t fiber_stack_size(const struct fiber *f);
/* Whether @addr lies in the guard area below its stack (for crash reports). */
bool fiber_has_hit_guard(const struct fiber *f, const void *addr);
/* A word for the calling thread, and that of the thread which @f began on and goes on on. */
void fiber_host_set_tag(void *tag);
void *fiber_host_tag(const struct fiber *f);
/* How many fibers have parked on this thread and not ended. */
unsigned fiber_host_parked(void);

#endif
