/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * switch: from one stack to another
 *
 * Keeps what the C ABI calls callee-saved, except the floating-point control words (mxcsr, x87 cw,
 * fpcr): they belong to the thread. A handler that changes the rounding mode puts it back before
 * it parks.
 */
#ifndef FIBER_SWITCH_H
#define FIBER_SWITCH_H

struct fiber;

/* Saves this stack's place in *save and goes on at @to. Returns when somebody switches back. */
void fiber_switch(void **save, void *to);
/* A place at which entry(f) begins, on the stack that ends at @top; entry never returns. */
void *fiber_prepare(void *top, void (*entry)(struct fiber *), struct fiber *f);

#endif
