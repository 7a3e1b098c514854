/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * switch_generic: every other architecture, over ucontext(3): right, but 40 times slower, since
 * swapcontext() saves the signal mask with a system call. -DFIBER_GENERIC forces it, for tests.
 */
#ifndef FIBER_SWITCH_GENERIC_H
#define FIBER_SWITCH_GENERIC_H

#include <stdint.h>
#include <ucontext.h>

struct place {
	ucontext_t *at; /* on the stack that goes on there; NULL: it has not begun */
	char *bottom, *top;
};

static inline void place_begin(struct place *p, char *bottom, char *top)
{
	*p = (struct place){ NULL, bottom, top };
}

/* makecontext(3) passes ints: two halves make a pointer. */
static void fiber_begin(unsigned high, unsigned low)
{
	fiber_main((struct fiber *)((uintptr_t)high << 16 << 16 | low));
}

/* Out of line: getcontext(3) returns twice, which is not for the function of a switch to know. */
static __attribute__((noinline)) void place_first(const struct place *p, struct fiber *f,
						  ucontext_t *ret)
{
	getcontext(ret);
	ret->uc_link = NULL;
	ret->uc_stack.ss_sp = p->bottom;
	ret->uc_stack.ss_size = (size_t)(p->top - p->bottom);
	makecontext(ret, (void (*)(void))fiber_begin, 2, (unsigned)((uintptr_t)f >> 16 >> 16),
		    (unsigned)(uintptr_t)f);
}

static inline struct fiber *fiber_switch(struct place *save, struct place *to, struct fiber *f)
{
	ucontext_t here, first, *there = to->at;

	save->at = &here;
	if (!there) {
		there = &first;
		place_first(to, f, there);
	}
	swapcontext(&here, there);
	return f;
}

#endif
