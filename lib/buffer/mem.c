/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mem: the allocator under the blocks: mmap(2), or the caller's
 *
 * mmap and not malloc: what a burst took has to go back to the kernel in the middle of the heap too,
 * and free(3) only ever shrinks the top of it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "buffer/span.h"
#include "netpoll/block.h"
#include "sys/mem.h"

static void *map_alloc(size_t n, size_t align, void *arg)
{
	void *p;

	return sys_mem_map(n, &p) < 0 ? NULL : p; /* a page's alignment is all that is ever asked for */
}

static void map_free(void *p, size_t n, void *arg)
{
	sys_mem_unmap(p, n);
}

static const struct np_allocator mapped = { sizeof mapped, map_alloc, map_free, NULL };
static struct np_allocator allocator = { sizeof allocator, map_alloc, map_free, NULL };

static atomic_size_t bytes, allocs, frees;

void *mem_alloc(size_t n, size_t align)
{
	void *p = allocator.alloc(n, align, allocator.arg);

	if (!p)
		return NULL;
	atomic_fetch_add_explicit(&bytes, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&allocs, 1, memory_order_relaxed);
	return p;
}

void mem_free(void *p, size_t n)
{
	allocator.free(p, n, allocator.arg);
	atomic_fetch_sub_explicit(&bytes, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&frees, 1, memory_order_relaxed);
}

void mem_idle(void *p, size_t n)
{
	if (allocator.free == map_free && n >= SPAN_PAGE)
		sys_mem_advise(p, n, MADV_DONTNEED);
}

struct mem_count mem_counted(void)
{
	return (struct mem_count){
		.bytes = atomic_load_explicit(&bytes, memory_order_relaxed),
		.allocs = atomic_load_explicit(&allocs, memory_order_relaxed),
		.frees = atomic_load_explicit(&frees, memory_order_relaxed),
	};
}

static int check_allocator(const struct np_allocator *a)
{
	const unsigned char *p = (const unsigned char *)a;

	if (a->sz < sizeof *a)
		return -EINVAL;
	for (size_t i = sizeof *a; i < a->sz; i++)
		if (p[i])
			return -E2BIG;
	return a->alloc && a->free ? 0 : -EINVAL;
}

int np_set_allocator(const struct np_allocator *a)
{
	int r = a ? check_allocator(a) : 0;

	if (r < 0)
		return r;
	if (atomic_load_explicit(&bytes, memory_order_acquire))
		return -EBUSY;
	allocator = a ? *a : mapped;
	return 0;
}
