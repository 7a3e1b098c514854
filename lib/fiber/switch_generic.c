/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * switch for every other architecture, over ucontext(3): right, but 260 ns instead of 6, since
 * swapcontext() saves the signal mask with a system call. -DFIBER_GENERIC forces it, for tests.
 */
#if defined(FIBER_GENERIC) || (!defined(__x86_64__) && !defined(__aarch64__))
#include "fiber/switch.h"

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

/* A place is the ucontext_t that lies on the stack which waits there. */
void fiber_switch(void **save, void *to)
{
	ucontext_t here;

	*save = &here;
	swapcontext(&here, to);
}

/* makecontext(3) passes ints: two halves make a pointer. */
static void begin(unsigned entry_hi, unsigned entry_lo, unsigned f_hi, unsigned f_lo)
{
	void (*entry)(struct fiber *) = (void (*)(struct fiber *))(((uintptr_t)entry_hi << 16 << 16) | entry_lo);

	entry((struct fiber *)(((uintptr_t)f_hi << 16 << 16) | f_lo));
}

void *fiber_prepare(void *top, void (*entry)(struct fiber *), struct fiber *f)
{
	ucontext_t *uc = (ucontext_t *)(((uintptr_t)top - sizeof *uc) & ~(uintptr_t)63);
	uintptr_t e = (uintptr_t)entry, p = (uintptr_t)f;

	getcontext(uc);
	uc->uc_link = NULL;
	/* The stack below the context; its lower end is the guard's business. */
	uc->uc_stack.ss_size = 32768;
	uc->uc_stack.ss_sp = (char *)uc - uc->uc_stack.ss_size;
	makecontext(uc, (void (*)(void))begin, 4, (unsigned)(e >> 16 >> 16), (unsigned)e, (unsigned)(p >> 16 >> 16),
		    (unsigned)p);
	return uc;
}
#endif
