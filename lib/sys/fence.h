/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fence: two threads that each write one word and read the other's, where one of them does so all
 * the time
 *
 * Between its write and its read each needs a full fence, or both may read what was there before.
 * The busy one says sys_fence_light(), which costs nothing where sys_fence_heavy() of the rare one
 * is membarrier(2): that makes every running thread of the process fence at that moment. Where the
 * kernel has none, or a filter forbids it, both fence for themselves, since sys_fence_find() has
 * said so before the first of them.
 */
#ifndef SYS_FENCE_H
#define SYS_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>

/* Neither has to be paired with the other kind: false before sys_fence_find(). */
extern _Atomic(bool) sys_fence_by_kernel __attribute__((visibility("hidden")));

/* How it is done from here on: the first call of a process settles it. Thread: any. */
void sys_fence_find(void);

static inline void sys_fence_light(void)
{
	if (__builtin_expect(atomic_load_explicit(&sys_fence_by_kernel, memory_order_relaxed),
			     true))
		atomic_signal_fence(memory_order_seq_cst);
	else
		atomic_thread_fence(memory_order_seq_cst);
}

/*
 * Return: 0; -errno: nothing is known of the other side. From then on both fence for themselves:
 * try again, later.
 */
int sys_fence_heavy(void);

#ifdef NP_FAULT
/* For tests: as in a process that has not asked yet. */
void sys_fence_forget(void);
#endif

#endif
