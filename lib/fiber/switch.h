/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * switch: from one stack to another
 *
 * Inline on purpose. A function would be called on one stack and left on another, and the CPU's
 * record of calls, from which it predicts where each `ret` goes, would from then on be two entries
 * off: every caller up to the poller's loop would return to where nobody expected. Inlined there is
 * no call: only a jump, which is predicted by where it went last time.
 *
 * The floating-point control words (mxcsr and the x87 control word, fpcr) belong to the thread: a
 * handler that changes the rounding mode puts it back before it parks. Saving them would cost more
 * than the rest of the switch, for what no server does.
 */
#ifndef FIBER_SWITCH_H
#define FIBER_SWITCH_H

#include <stddef.h>

#if !defined(FIBER_GENERIC) && !defined(__x86_64__) && !defined(__aarch64__)
#define FIBER_GENERIC 1
#endif

struct fiber;

void fiber_main(struct fiber *f);

#ifdef FIBER_GENERIC
#include "fiber/switch_generic.h"
#else

/* Where a stack goes on. */
struct place {
	void *sp;
	void *fp; /* the frame pointer: the one register that a compiler will not save for us */
	void *pc;
};

/* The first instructions on a new stack; they find the fiber in the register of fiber_switch()'s
 * @f. */
void fiber_begin(void);

static inline void place_begin(struct place *p, char *bottom, char *top)
{
	p->sp = top;
	p->fp = NULL; /* where a walk along frame pointers stops */
	p->pc = (void *)fiber_begin;
}

/*
 * fiber_switch() - goes on at @to with @f, and returns the @f of the switch back to @save
 *
 * To the compiler it is an instruction that changes every register: so it saves those that hold
 * something, and no others. Only for functions that no other is inlined into and of whose register
 * use no caller knows (noipa): vector, mask and x87 registers beyond those named are not saved.
 */
#if defined(__x86_64__)
static inline __attribute__((always_inline)) struct fiber *
fiber_switch(struct place *save, struct place *to, struct fiber *f)
{
	__asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
			 "movq 16(%1), %%rcx\n\t"
			 "movq %%rsp, 0(%0)\n\t"
			 "movq %%rbp, 8(%0)\n\t"
			 "movq %%rax, 16(%0)\n\t"
			 "movq 8(%1), %%rbp\n\t"
			 "movq 0(%1), %%rsp\n\t"
			 "jmp *%%rcx\n"
			 "1:\n\t"
			 "endbr64"
			 : "+S"(save), "+d"(to), "+D"(f)
			 :
			 : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
			   "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
			   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
			   "cc", "memory");
	return f;
}
#else
static inline __attribute__((always_inline)) struct fiber *
fiber_switch(struct place *save, struct place *to, struct fiber *f)
{
	register struct place *s __asm__("x1") = save;
	register struct place *t __asm__("x2") = to;
	register struct fiber *a __asm__("x0") = f;

	__asm__ volatile("adr x9, 1f\n\t"
			 "mov x10, sp\n\t"
			 "stp x10, x29, [%0]\n\t"
			 "str x9, [%0, #16]\n\t"
			 "ldp x10, x29, [%1]\n\t"
			 "ldr x16, [%1, #16]\n\t"
			 "mov sp, x10\n\t"
			 "br x16\n"
			 "1:\n\t"
			 "hint #36" /* bti j */
			 : "+r"(s), "+r"(t), "+r"(a)
			 :
			 : "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
			   "x14", "x15", "x16", "x17", "x19", "x20", "x21", "x22", "x23", "x24",
			   "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5",
			   "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
			   "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
			   "v27", "v28", "v29", "v30", "v31", "cc", "memory");
	return a;
}
#endif

#endif
#endif
