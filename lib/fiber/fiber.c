/* SPDX-License-Identifier: BSD-2-Clause */
/* fiber: the pool, and the three switches: run, park, resume. */
#include "fiber/fiber.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "fiber/exceptions.h"
#include "fiber/sanitizer.h"
#include "fiber/stack.h"
#include "fiber/switch.h"

#define FIBER_LINE    64u /* bytes of a cache line */
#define FIBER_COLOURS 16u

/* A thread that runs fibers: where they come back to. */
struct fiber_host {
	struct place main_place;
	struct exceptions *ex; /* its own; NULL: not asked for yet, or no C++ in this process */
	struct sanitizer main_san;
	void *tag;
	unsigned parked; /* those that have parked here and not ended: they go on here alone */
};

struct fiber {
	/* what a switch touches, in one cache line */
	struct place place;      /* where it goes on; of a free one, where it begins */
	struct fiber_host *host; /* the thread it began on */
	struct fiber_pool *pool;
	struct fiber *next_free; /* in the pool; while parked, the link of fiber_set_next() */
	struct fiber_call call;  /* fn NULL: free */
	void *owner;

	uint64_t until, began;
	bool cancelled;
	bool has_parked; /* in this run */
	void (*before_park)(void *arg);
	struct exceptions ex;      /* this fiber's while it is parked */
	struct fiber *next, *prev; /* all stacks of the pool */
	struct stack stack;
	char *low; /* the deepest page in which it parked */
	struct sanitizer san;
};

struct fiber_pool {
	/* the one used last is the next to be used: its pages are in the cache */
	struct fiber *free;
	struct fiber *all;
	exceptions_fn *find_ex;                      /* NULL: no C++ in this process */
	const struct fiber_call *(*next)(void *arg); /* fiber_pool_opts, or one that has none */
	void *next_arg;
	size_t stack_size;
	unsigned max, keep;
	unsigned stacks, refused;
	unsigned parked, high; /* those that have parked and not ended; most of them at once, */
	unsigned peak;         /* and most since the last trim: other stacks were of no use */
	size_t touched;        /* see fiber_pool_stats */
};

_Thread_local struct fiber *fiber_current;
static _Thread_local struct fiber_host fiber_here;

/* ------------------------------------------------------------------ pool */

static const struct fiber_call *fiber_no_next(void *arg)
{
	return NULL;
}

int fiber_pool_new(const struct fiber_pool_opts *o, struct fiber_pool **ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = o && o->stack_size ? o->stack_size : 64u * 1024;
	struct fiber_pool *fp = calloc(1, sizeof *fp);

	if (!fp)
		return -ENOMEM;
	fp->stack_size = (size + page - 1) / page * page;
	fp->max = o && o->max ? o->max : 65536;
	fp->keep = o && o->keep ? o->keep : 4;
	fp->next = o && o->next ? o->next : fiber_no_next;
	fp->next_arg = o ? o->next_arg : NULL;
	fp->find_ex = exceptions_find();
	*ret = fp;
	return 0;
}

/*
 * The fiber lies at the top of its own stack: nothing of it stays anywhere else when that is
 * unmapped. Not at the same place in each: stacks begin at multiples of a page, and what is used in
 * all of them at once would meet in the same few sets of the CPU's cache.
 */
static struct fiber *fiber_place(const struct stack *s, unsigned nth)
{
	size_t colour = nth % FIBER_COLOURS * FIBER_LINE;

	return (struct fiber *)(stack_top(s) -
				((sizeof(struct fiber) + FIBER_LINE - 1) &
				 ~(size_t)(FIBER_LINE - 1)) -
				colour);
}

/* A page below the one it parked in: what it calls between two waits goes deeper and comes back. */
#define FIBER_PAGE 4096u

static size_t fiber_touched(const struct fiber *f)
{
	return (size_t)(stack_top(&f->stack) - f->low) + FIBER_PAGE;
}

static void fiber_note_depth(struct fiber *f, char *sp)
{
	size_t was = f->low ? fiber_touched(f) : 0;

	f->low = (char *)((uintptr_t)sp & ~(uintptr_t)(FIBER_PAGE - 1));
	f->pool->touched += fiber_touched(f) - was;
}

static struct fiber *fiber_new(struct fiber_pool *fp, int *ret_err)
{
	struct stack stack;
	struct fiber *f;

	*ret_err = stack_map(&stack, fp->stack_size);
	if (*ret_err < 0)
		return NULL;
	f = fiber_place(&stack, fp->stacks);
	*f = (struct fiber){ .pool = fp, .stack = stack, .next = fp->all };
	place_begin(&f->place, stack_bottom(&f->stack), (char *)f);
	sanitizer_stack_new(&f->san, stack_bottom(&f->stack),
			    (size_t)((char *)f - stack_bottom(&f->stack)));
	if (f->next)
		f->next->prev = f;
	fp->all = f;
	fp->stacks++;
	fiber_note_depth(f, (char *)f);
	return f;
}

static void fiber_free(struct fiber *f)
{
	struct fiber_pool *fp = f->pool;
	struct stack stack = f->stack;

	if (f->next)
		f->next->prev = f->prev;
	if (f->prev)
		f->prev->next = f->next;
	else
		fp->all = f->next;
	fp->stacks--;
	fp->touched -= fiber_touched(f);
	sanitizer_stack_free(&f->san);
	stack_unmap(&stack);
}

int fiber_pool_free(struct fiber_pool *fp)
{
	struct fiber *f;

	if (!fp)
		return 0;
	if (fp->parked)
		return -EBUSY;
	while ((f = fp->free)) {
		fp->free = f->next_free;
		fiber_free(f);
	}
	free(fp);
	return 0;
}

/* Of those that are not parked, some may run, each on its thread. */
static unsigned fiber_pool_count_free(const struct fiber_pool *fp)
{
	unsigned n = 0;

	for (const struct fiber *f = fp->free; f; f = f->next_free)
		n++;
	return n;
}

/*
 * Stacks that no fiber needed since the last trim go back to the kernel, the coldest first. One
 * more than have parked may have been in use: it is among those to keep.
 */
void fiber_pool_trim(struct fiber_pool *fp)
{
	unsigned idle = fiber_pool_count_free(fp), unused = fp->stacks - fp->peak;
	unsigned excess = unused > fp->keep ? unused - fp->keep : 0;
	struct fiber **at = &fp->free, *f;

	if (excess > idle)
		excess = idle;
	for (unsigned stay = idle - excess; stay > 0; stay--)
		at = &(*at)->next_free;
	f = *at;
	*at = NULL;
	while (f) {
		struct fiber *next = f->next_free;

		fiber_free(f);
		f = next;
	}
	fp->peak = fp->parked;
}

unsigned fiber_pool_spare(const struct fiber_pool *fp)
{
	unsigned idle = fp->stacks - fp->parked;

	return idle > fp->keep ? idle - fp->keep : 0;
}

void fiber_pool_stats(const struct fiber_pool *fp, struct fiber_pool_stats *ret)
{
	*ret = (struct fiber_pool_stats){
		.stacks = fp->stacks,
		.in_use = fp->parked,
		.high = fp->high,
		.refused = fp->refused,
		.spare = fiber_pool_spare(fp),
		.touched = fp->touched,
	};
}

void fiber_pool_each(const struct fiber_pool *fp, void (*fn)(void *arg, struct fiber *f), void *arg)
{
	for (struct fiber *f = fp->all; f; f = f->next)
		if (f->call.fn)
			fn(arg, f);
}

bool fiber_has_hit_guard(const struct fiber *f, const void *addr)
{
	return (const char *)addr >= f->stack.map && (const char *)addr < stack_bottom(&f->stack);
}

/* ------------------------------------------------------------------ switches */

/*
 * For functions that contain a switch: the compiler may not build on what it sees in there, since a
 * switch uses more registers than it tells.
 */
#if defined(__GNUC__) && !defined(__clang__)
#define SWITCHES __attribute__((noipa))
#else
#define SWITCHES __attribute__((noinline))
#endif
#define INLINE static inline __attribute__((always_inline))

#ifdef NP_DEBUG
#define fiber_assert(x) assert(x)
#else
#define fiber_assert(x) ((void)0)
#endif

/* From a fiber back to main, until main goes on with it. */
INLINE struct fiber *fiber_to_main(struct fiber *f, int ends)
{
	struct fiber_host *h = f->host;

	fiber_current = NULL;
	sanitizer_leave(&f->san, &h->main_san, ends);
	f = fiber_switch(&f->place, &h->main_place, f);
	sanitizer_arrive(&f->san, &f->host->main_san);
	return f;
}

INLINE void fiber_begins(struct fiber *f, struct fiber_call call)
{
	f->call = call;
	f->owner = NULL;
	f->until = f->began = 0;
	f->cancelled = f->has_parked = false;
}

/* Its function has returned. Return: whether it has another one now. */
INLINE bool fiber_goes_on(struct fiber *f)
{
	const struct fiber_call *c;

	f->call.fn = NULL;
	if (f->has_parked)
		return false;
	fiber_current = NULL;
	c = f->pool->next(f->pool->next_arg);
	if (!c)
		return false;
	fiber_begins(f, *c);
	fiber_current = f;
	return true;
}

/*
 * The first frame of every fiber; called by fiber_begin. One that has ended stops here, and its
 * next run goes on from here.
 */
SWITCHES FIBER_NO_TSAN void fiber_main(struct fiber *f)
{
	sanitizer_arrive(&f->san, &f->host->main_san);
	for (;;) {
		do
			f->call.fn(f->call.arg);
		while (fiber_goes_on(f));
		f = fiber_to_main(f, 1);
	}
}

/* From main to a fiber, until it parks or ends. */
INLINE struct fiber *fiber_enter(struct fiber *f, struct fiber_host *h)
{
	fiber_current = f;
	sanitizer_main(&h->main_san);
	sanitizer_leave(&h->main_san, &f->san, 0);
	f = fiber_switch(&h->main_place, &f->place, f);
	sanitizer_arrive(&f->host->main_san, NULL);
	return f;
}

static inline int fiber_ended(struct fiber *f)
{
	f->next_free = f->pool->free;
	f->pool->free = f;
	return FIBER_ENDED;
}

/* Main handles no exceptions, so there is nothing to exchange before the first park. */
static __attribute__((noinline)) int fiber_has_parked(struct fiber *f)
{
	struct fiber_pool *fp = f->pool;

	f->has_parked = true;
	f->host->parked++;
	fp->parked++;
	if (fp->parked > fp->peak)
		fp->peak = fp->parked;
	if (fp->parked > fp->high)
		fp->high = fp->parked;
	return FIBER_PARKED;
}

/* A new stack among the free ones. Out of line: fiber_run() is left without a frame of its own. */
static __attribute__((noinline)) int fiber_run_grown(struct fiber_pool *fp, void (*fn)(void *),
						     void *arg)
{
	struct fiber *f;
	int r = -EAGAIN;

	f = fp->stacks < fp->max ? fiber_new(fp, &r) : NULL;
	if (!f) {
		fp->refused++;
		return r;
	}
	f->next_free = fp->free;
	fp->free = f;
	return fiber_run(fp, fn, arg);
}

SWITCHES int fiber_run(struct fiber_pool *fp, void (*fn)(void *), void *arg)
{
	struct fiber *f = fp->free;

	fiber_assert(!fiber_current);
	if (!f)
		return fiber_run_grown(fp, fn, arg);
	fp->free = f->next_free;
	f->host = &fiber_here;
	fiber_begins(f, (struct fiber_call){ fn, arg });
	sanitizer_stack_begins(&f->san);
	f = fiber_enter(f, &fiber_here);
	return f->call.fn ? fiber_has_parked(f) : fiber_ended(f);
}

static __attribute__((noinline)) void fiber_find_exceptions(struct fiber *f)
{
	f->host->ex = f->pool->find_ex();
}

INLINE void fiber_swap_exceptions(struct fiber *f)
{
	if (!f->pool->find_ex)
		return;
	if (!f->host->ex)
		fiber_find_exceptions(f);
	exceptions_swap(f->host->ex, &f->ex);
}

SWITCHES int fiber_resume(struct fiber *f)
{
	/* errno, thread-locals and mutexes stay what they were */
	fiber_assert(!fiber_current && f->call.fn && f->host == &fiber_here);
	fiber_swap_exceptions(f);
	f = fiber_enter(f, f->host);
	if (f->call.fn)
		return FIBER_PARKED;
	f->host->parked--;
	f->pool->parked--;
	return fiber_ended(f);
}

static __attribute__((noinline)) void fiber_run_before_park(struct fiber *f)
{
	void (*fn)(void *) = f->before_park;

	f->before_park = NULL;
	fn(f->call.arg);
}

SWITCHES void fiber_park(void)
{
	struct fiber *f = fiber_current;

	fiber_assert(f);
	if (f->before_park)
		fiber_run_before_park(f);
	if ((char *)__builtin_frame_address(0) < f->low)
		fiber_note_depth(f, __builtin_frame_address(0));
	fiber_swap_exceptions(f);
	fiber_to_main(f, 0);
}

void fiber_host_set_tag(void *tag)
{
	fiber_here.tag = tag;
}

void *fiber_host_tag(const struct fiber *f)
{
	return f->host->tag;
}

unsigned fiber_host_parked(void)
{
	return fiber_here.parked;
}

void fiber_set_owner(struct fiber *f, void *owner)
{
	f->owner = owner;
}

void *fiber_owner(const struct fiber *f)
{
	return f->owner;
}

void fiber_cancel(struct fiber *f)
{
	f->cancelled = true;
}

bool fiber_cancelled(const struct fiber *f)
{
	return f->cancelled;
}

void fiber_before_park(struct fiber *f, void (*fn)(void *arg))
{
	f->before_park = fn;
}

void fiber_set_until(struct fiber *f, uint64_t until)
{
	f->until = until;
}

uint64_t fiber_until(const struct fiber *f)
{
	return f->until;
}

void fiber_note_begin(struct fiber *f, uint64_t when)
{
	if (!f->began)
		f->began = when;
}

uint64_t fiber_began(const struct fiber *f)
{
	return f->began;
}

void fiber_begins_anew(struct fiber *f)
{
	f->until = f->began = 0;
}

void fiber_set_next(struct fiber *f, struct fiber *next)
{
	f->next_free = next;
}

struct fiber *fiber_next(const struct fiber *f)
{
	return f->next_free;
}

void (*fiber_fn(const struct fiber *f))(void *)
{
	return f->call.fn;
}

void *fiber_arg(const struct fiber *f)
{
	return f->call.arg;
}

size_t fiber_stack_size(const struct fiber *f)
{
	return f->stack.size;
}
