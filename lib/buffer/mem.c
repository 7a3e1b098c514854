/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mem: the allocator under the blocks: mmap(2), or the caller's
 *
 * mmap and not malloc: the memory of a burst has to go back to the kernel in the middle of the heap
 * too, and free(3) only ever shrinks the top of it.
 */
#include "buffer/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "netpoll/block.h"
#include "sys/mem.h"
#include "sys/opts.h"

#define DEBUG_ALL (NP_BLOCK_APART | NP_BLOCK_POISON | NP_BLOCK_HOLDERS)

#ifdef __SANITIZE_ADDRESS__
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif

static void *mem_map_alloc(size_t n, size_t align, void *arg)
{
	void *p;

	return sys_mem_map(n, &p) < 0 ? NULL : p;
}

static void mem_map_free(void *p, size_t n, void *arg)
{
	sys_mem_unmap(p, n);
}

static void *mem_heap_alloc(size_t n, size_t align, void *arg)
{
	void *p;

	return posix_memalign(&p, align, n) ? NULL : p;
}

static void mem_heap_free(void *p, size_t n, void *arg)
{
	free(p);
}

static const struct np_allocator mapped = { sizeof mapped, mem_map_alloc, mem_map_free, NULL };
static const struct np_allocator heap = { sizeof heap, mem_heap_alloc, mem_heap_free, NULL };
static struct np_allocator theirs; /* alloc NULL: none was set */
static struct np_allocator allocator;
unsigned mem_flags;

static atomic_size_t bytes, allocs, frees;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void mem_choose(void)
{
	if (theirs.alloc)
		allocator = theirs;
	else
		allocator = mem_flags ? heap : mapped;
}

static void mem_first_use(void)
{
	const char *env = secure_getenv("NP_BLOCK_DEBUG");

	if (UNDER_ASAN)
		mem_flags = NP_BLOCK_APART | NP_BLOCK_POISON;
	if (env)
		mem_flags = (unsigned)strtoul(env, NULL, 0) & DEBUG_ALL;
	mem_choose();
}

unsigned mem_debug(void)
{
	pthread_once(&once, mem_first_use);
	return mem_flags;
}

/* mem_debug() has run: block_get_slow() and its like ask it first. */
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
	atomic_fetch_sub_explicit(&bytes, n, memory_order_release);
	atomic_fetch_add_explicit(&frees, 1, memory_order_relaxed);
}

void mem_idle(void *p, size_t n)
{
	if (allocator.free == mem_map_free && n >= 4096)
		sys_mem_advise(p, n, MADV_DONTNEED);
}

struct mem_count mem_counted(void)
{
	return (struct mem_count){
		.bytes = atomic_load_explicit(&bytes, memory_order_acquire),
		.allocs = atomic_load_explicit(&allocs, memory_order_relaxed),
		.frees = atomic_load_explicit(&frees, memory_order_relaxed),
	};
}

int np_set_allocator(const struct np_allocator *a)
{
	struct np_allocator t;
	int r = sys_opts_take(&t, sizeof t, a);

	if (r < 0)
		return r;
	if (a && (!t.alloc || !t.free))
		return -EINVAL;
	mem_debug();
	if (mem_counted().bytes)
		return -EBUSY;
	theirs = t;
	mem_choose();
	return 0;
}

int np_block_debug(unsigned flags)
{
	if (flags & ~(unsigned)DEBUG_ALL)
		return -EINVAL;
	mem_debug();
	if (mem_counted().bytes)
		return -EBUSY;
	mem_flags = flags;
	mem_choose();
	return 0;
}
