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

static inline void fiber_switch(struct place *save, struct place *to, struct fiber *f)
{
	ucontext_t here, begin, *there = to->at;

	save->at = &here;
	if (!there) {
		there = &begin;
		getcontext(&begin);
		begin.uc_link = NULL;
		begin.uc_stack.ss_sp = to->bottom;
		begin.uc_stack.ss_size = (size_t)(to->top - to->bottom);
		makecontext(&begin, (void (*)(void))fiber_begin, 2,
			    (unsigned)((uintptr_t)f >> 16 >> 16), (unsigned)(uintptr_t)f);
	}
	swapcontext(&here, there);
}

#endif
