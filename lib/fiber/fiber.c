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

#define LINE    64u /* bytes of a cache line */
#define COLOURS 16u

enum fiber_state { FIBER_FREE, FIBER_RUNNING, FIBER_STOPPED };

struct fiber {
	/* what a switch touches, in one cache line */
	struct place place; /* where it goes on; meaningful while parked */
	struct fiber_pool *pool;
	struct fiber *next_free; /* in the pool; while parked, the link of fiber_set_next() */
	void *owner;
	uint64_t until;
	enum fiber_state state;
	bool cancelled;

	struct exceptions ex; /* this fiber's while it does not run, main's while it does */
	void (*fn)(void *);
	void *arg;
	struct fiber *next, *prev; /* all stacks of the pool */
	struct stack stack;
	char *low; /* the deepest page in which it parked */
#ifdef NP_DEBUG
	struct fiber **home; /* the thread it began on: where that keeps its `current` */
#endif
	struct sanitizer san;
};

struct fiber_pool {
	/* the one used last is the next to be used: its pages are in the cache */
	struct fiber *free;
	struct fiber *all;
	struct place main_place;
	/* the thread's, once it has had a stack; NULL: no C++ in this process */
	struct exceptions *ex;
	exceptions_fn *find_ex;
	struct sanitizer main_san;
	size_t stack_size;
	unsigned max, keep;
	unsigned stacks, in_use, high, refused;
	size_t touched;    /* see fiber_pool_stats */
	unsigned idle_low; /* fewest free stacks since the last trim: so many were of no use */
};

static _Thread_local struct fiber *current __attribute__((tls_model("initial-exec")));

/* ------------------------------------------------------------------ pool */

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
	fp->find_ex = exceptions_find();
	*ret = fp;
	return 0;
}

/*
 * The fiber lies at the top of its own stack: nothing of it stays anywhere else when that is
 * unmapped. Not at the same place in each: stacks begin at multiples of a page, and what is used in
 * all of them at once would meet in the same few sets of the CPU's cache.
 */
static struct fiber *place_in(const struct stack *s, unsigned nth)
{
	size_t colour = nth % COLOURS * LINE;

	return (struct fiber *)(stack_top(s) -
				((sizeof(struct fiber) + LINE - 1) & ~(size_t)(LINE - 1)) - colour);
}

/* A page below the one it parked in: what it calls between two waits goes deeper and comes back. */
#define PAGE 4096u

static size_t fiber_touched(const struct fiber *f)
{
	return (size_t)(stack_top(&f->stack) - f->low) + PAGE;
}

static void fiber_note_depth(struct fiber *f, char *sp)
{
	size_t was = f->low ? fiber_touched(f) : 0;

	f->low = (char *)((uintptr_t)sp & ~(uintptr_t)(PAGE - 1));
	f->pool->touched += fiber_touched(f) - was;
}

static struct fiber *fiber_new(struct fiber_pool *fp, int *ret_err)
{
	struct stack stack;
	struct fiber *f;

	*ret_err = stack_map(&stack, fp->stack_size);
	if (*ret_err < 0)
		return NULL;
	f = place_in(&stack, fp->stacks);
	*f = (struct fiber){ .pool = fp, .stack = stack, .next = fp->all };
	/* Here, since the pool may have been made by another thread than the one it belongs to. */
	if (!fp->ex && fp->find_ex)
		fp->ex = fp->find_ex();
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
	if (fp->in_use)
		return -EBUSY;
	while ((f = fp->free)) {
		fp->free = f->next_free;
		fiber_free(f);
	}
	free(fp);
	return 0;
}

/* Stacks that nobody needed since the last trim go back to the kernel, the coldest first. */
void fiber_pool_trim(struct fiber_pool *fp)
{
	unsigned idle = fp->stacks - fp->in_use;
	unsigned excess = fp->idle_low > fp->keep ? fp->idle_low - fp->keep : 0;
	struct fiber **at = &fp->free, *f;

	for (unsigned stay = idle - excess; stay > 0; stay--)
		at = &(*at)->next_free;
	f = *at;
	*at = NULL;
	while (f) {
		struct fiber *next = f->next_free;

		fiber_free(f);
		f = next;
	}
	fp->idle_low = fp->stacks - fp->in_use;
}

void fiber_pool_stats(const struct fiber_pool *fp, struct fiber_pool_stats *ret)
{
	unsigned idle = fp->stacks - fp->in_use;

	*ret = (struct fiber_pool_stats){
		.stacks = fp->stacks,
		.in_use = fp->in_use,
		.high = fp->high,
		.refused = fp->refused,
		.spare = idle > fp->keep ? idle - fp->keep : 0,
		.touched = fp->touched,
	};
}

void fiber_pool_each(const struct fiber_pool *fp, void (*fn)(void *arg, struct fiber *f), void *arg)
{
	for (struct fiber *f = fp->all; f; f = f->next)
		if (f->state != FIBER_FREE)
			fn(arg, f);
}

struct fiber *fiber_guard_hit(const struct fiber_pool *fp, const void *addr)
{
	for (struct fiber *f = fp->all; f; f = f->next)
		if ((const char *)addr >= f->stack.map &&
		    (const char *)addr < stack_bottom(&f->stack))
			return f;
	return NULL;
}

/* A new stack among the free ones. Out of line: fiber_run() is left without a stack protector. */
static __attribute__((noinline)) int fiber_pool_grow(struct fiber_pool *fp)
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
	return 0;
}

static inline struct fiber *fiber_take(struct fiber_pool *fp)
{
	struct fiber *f = fp->free;

	fp->free = f->next_free;
	if (++fp->in_use > fp->high)
		fp->high = fp->in_use;
	if (fp->stacks - fp->in_use < fp->idle_low)
		fp->idle_low = fp->stacks - fp->in_use;
	return f;
}

/* ------------------------------------------------------------------ switches */

/*
 * Whoever contains a switch: the compiler may not build on what it sees in there, since a switch
 * uses more registers than it tells.
 */
#if defined(__GNUC__) && !defined(__clang__)
#define SWITCHES __attribute__((noipa))
#else
#define SWITCHES __attribute__((noinline))
#endif
#define INLINE static inline __attribute__((always_inline))

/* From a fiber back to main. */
INLINE void to_main(struct fiber *f, int ends)
{
	struct fiber_pool *fp = f->pool;

	current = NULL;
	sanitizer_leave(&f->san, &fp->main_san, ends);
	fiber_switch(&f->place, &fp->main_place, f);
	sanitizer_arrive(&f->san, &fp->main_san);
}

/* The first frame of every fiber; called by fiber_begin. */
SWITCHES FIBER_NO_TSAN void fiber_main(struct fiber *f)
{
	sanitizer_arrive(&f->san, &f->pool->main_san);
	f->fn(f->arg);
	f->state = FIBER_FREE;
	to_main(f, 1);
	__builtin_unreachable();
}

/* A fiber goes on only where it began: errno, thread-locals and mutexes stay what they were. */
#ifdef NP_DEBUG
#define fiber_begins_here(f)         ((f)->home = &current)
#define fiber_assert_goes_on_here(f) assert((f)->home == &current)
#else
#define fiber_begins_here(f)         ((void)0)
#define fiber_assert_goes_on_here(f) ((void)0)
#endif

/* From main to a fiber, until it parks or ends. */
INLINE int enter(struct fiber *f)
{
	struct fiber_pool *fp = f->pool;

	current = f;
	f->state = FIBER_RUNNING;
	if (fp->ex)
		exceptions_swap(fp->ex, &f->ex);
	sanitizer_main(&fp->main_san);
	sanitizer_leave(&fp->main_san, &f->san, 0);
	fiber_switch(&fp->main_place, &f->place, f);
	sanitizer_arrive(&fp->main_san, NULL);
	if (fp->ex)
		exceptions_swap(fp->ex, &f->ex);
	if (f->state != FIBER_FREE)
		return FIBER_PARKED;
	fp->in_use--;
	f->next_free = fp->free;
	fp->free = f;
	return FIBER_ENDED;
}

SWITCHES int fiber_run(struct fiber_pool *fp, void (*fn)(void *), void *arg)
{
	struct fiber *f;
	int r = fp->free ? 0 : fiber_pool_grow(fp);

	assert(!current);
	if (r < 0)
		return r;
	f = fiber_take(fp);
	fiber_begins_here(f);
	f->fn = fn;
	f->arg = arg;
	f->owner = NULL;
	f->cancelled = false;
	if (fp->ex)
		f->ex = (struct exceptions){ 0 };
	f->until = 0;
	f->san.fake = NULL;
	place_begin(&f->place, stack_bottom(&f->stack), (char *)f);
	return enter(f);
}

SWITCHES int fiber_resume(struct fiber *f)
{
	assert(!current && f->state == FIBER_STOPPED);
	fiber_assert_goes_on_here(f);
	return enter(f);
}

SWITCHES void fiber_park(void)
{
	struct fiber *f = current;

	assert(f);
	if ((char *)__builtin_frame_address(0) < f->low)
		fiber_note_depth(f, __builtin_frame_address(0));
	f->state = FIBER_STOPPED;
	to_main(f, 0);
}

struct fiber *fiber_self(void)
{
	return current;
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

void fiber_set_until(struct fiber *f, uint64_t until)
{
	f->until = until;
}

uint64_t fiber_until(const struct fiber *f)
{
	return f->until;
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
	return f->fn;
}

void *fiber_arg(const struct fiber *f)
{
	return f->arg;
}

size_t fiber_stack_size(const struct fiber *f)
{
	return f->stack.size;
}
