/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stack: mmap and guard
 *
 * The guard is larger than a page, because a frame with a big array may step over one page without
 * touching it. MADV_GUARD_INSTALL (Linux 6.13) needs no mapping of its own; where the kernel lacks
 * it, mprotect splits the mapping, and two mappings a stack count against vm.max_map_count.
 */
#include "fiber/stack.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "sys/mem.h"

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(from, to) 0u
#define VALGRIND_STACK_DEREGISTER(id)     ((void)(id))
#define RUNNING_ON_VALGRIND               0
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

/*
 * qemu-user says 0 to advice that it does not know, and guards nothing: the first guard of a
 * process is tried. Not under valgrind, which does sigprocmask itself and dies of a set that cannot
 * be read; the advice it passes on.
 */
static bool stack_guard_holds(const void *p)
{
	static _Atomic(int) known; /* 1: it does, -1: it does not */
	int k = atomic_load_explicit(&known, memory_order_relaxed);

	if (!k) {
		k = !RUNNING_ON_VALGRIND && sys_mem_readable(p) ? -1 : 1;
		atomic_store_explicit(&known, k, memory_order_relaxed);
	}
	return k > 0;
}

static int stack_install_guard(void *p)
{
	if (sys_mem_advise(p, STACK_GUARD, MADV_GUARD_INSTALL) == 0 && stack_guard_holds(p))
		return 0;
	return sys_mem_protect(p, STACK_GUARD, PROT_NONE);
}

int stack_map(struct stack *s, size_t size)
{
	void *p;
	int r;

	r = sys_mem_map(STACK_GUARD + size, &p);
	if (r < 0)
		return r;
	r = stack_install_guard(p);
	if (r < 0) {
		sys_mem_unmap(p, STACK_GUARD + size);
		return r;
	}
	s->map = p;
	s->size = size;
	s->valgrind = VALGRIND_STACK_REGISTER(stack_bottom(s), stack_top(s));
	return 0;
}

/* munmap(2) fails for a wrong range or for want of memory to split a mapping: then it leaks. */
void stack_unmap(struct stack *s)
{
	VALGRIND_STACK_DEREGISTER(s->valgrind);
	sys_mem_unmap(s->map, STACK_GUARD + s->size);
	s->map = NULL;
}
