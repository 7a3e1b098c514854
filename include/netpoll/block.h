/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * block: the memory behind the buffers: its origin, its amount, its holders
 *
 * Blocks come in powers of two. Each thread keeps freed ones for itself, so that a server in steady
 * state calls no allocator; a block freed on another thread finds its way back. A thread
 * keeps no more than a bounded amount, and less again after a burst.
 */
#ifndef NETPOLL_BLOCK_H
#define NETPOLL_BLOCK_H

#include <stddef.h>

#include "netpoll/opts.h"
#include "netpoll/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct np_allocator {
	size_t sz; /* sizeof(struct np_allocator) */
	/* NULL: no memory. @align is a power of two */
	void *(*alloc)(size_t n, size_t align, void *arg);
	void (*free)(void *p, size_t n, void *arg); /* @n as it was asked for */
	void *arg;
};
NP_OPTS_INIT(np_allocator)

/*
 * np_set_allocator() - take all block memory from @a, or from the kernel's mmap(2) again for NULL
 *
 * Called for spans of blocks, not for every block; copied. Both functions may be called on any
 * thread and may not call this library.
 * Thread: setup: no block may be held anywhere, not even in another thread's cache.
 * May park: no.
 * Return: 0, -EBUSY (blocks exist: free the buffers, np_block_trim()), -EINVAL (a function or
 *         @a->sz is missing), -E2BIG (@a has a field that this library does not know).
 */
NP_API int np_set_allocator(const struct np_allocator *a);

struct np_block_stats {
	size_t sz;
	size_t blocks_in_use; /* blocks with data that some buffer holds */
	size_t bytes_in_use;
	size_t blocks_cached; /* blocks that wait in a thread's cache */
	size_t bytes_cached;
	size_t bytes_high;    /* bytes_in_use at its highest, each block size taken for itself */
	size_t cells_in_use;  /* buffers, slices and references: what needs no block */
	size_t bytes_mapped;  /* what the allocator has given and not got back */
	size_t allocs, frees; /* calls to the allocator */
	/* by write(), copy(), dup(), and by next() and peek() across blocks */
	size_t bytes_copied;
};
NP_OPTS_INIT(np_block_stats)

/*
 * np_block_stats() - the sums over all threads
 *
 * Exact where no other thread uses buffers meanwhile, else a recent picture.
 * Thread: any. May park: no.
 * Return: 0, -EINVAL (@ret->sz is not set).
 */
NP_API int np_block_stats(struct np_block_stats *ret);

/*
 * np_block_trim() - give back what the calling thread keeps for later
 *
 * Pollers let go of what they do not need by themselves. A thread of the caller's that has filled
 * buffers and will not for a while can do it here; at its end it happens anyway.
 * Thread: any. May park: no.
 */
NP_API void np_block_trim(void);

/* ------------------------------------------------------------------ finding mistakes */

enum np_block_debug {
	/*
	 * nothing is cached: each block comes from malloc(3), or the allocator that was set, and
	 * goes back when it is let go of, so that valgrind and ASan see it
	 */
	NP_BLOCK_APART = 1,
	NP_BLOCK_POISON = 2,  /* as APART, and released bytes become NP_BLOCK_POISONED */
	NP_BLOCK_HOLDERS = 4, /* as APART, and np_block_holders() knows the taker of each block */
};
#define NP_BLOCK_POISONED 0xdb

/*
 * np_block_debug() - trade speed for finding mistakes with buffers
 *
 * @flags: of enum np_block_debug; 0 is off, the default. The environment variable NP_BLOCK_DEBUG,
 *         a number, sets it for a program that does not call this.
 * Thread: setup, as np_set_allocator(). May park: no.
 * Return: 0, -EBUSY (blocks exist), -EINVAL (an unknown flag).
 */
NP_API int np_block_debug(unsigned flags);

struct np_block_holder {
	const void *data; /* the block's memory; NULL for a buffer, slice or reference */
	size_t bytes;     /* its size */
	int tid;          /* thread that took it */
	int depth;        /* entries in stack */
	/* return addresses, innermost first, from outside of this library where it is shared */
	void *const *stack;
	const char *where; /* stack[0] in words, as backtrace_symbols(3) puts it */
};

/*
 * np_block_holders() - the blocks in use, and the taker of each
 *
 * Calls @fn for everything that is held, oldest first, until @fn returns nonzero; at a point where
 * nothing should be held, that is a list of leaks. Knows what was taken under NP_BLOCK_HOLDERS.
 * @fn may not use buffers.
 * Thread: any. May park: no. Lifetime: of *holder and all it points to, the call of @fn.
 * Return: what @fn returned last, or 0.
 */
NP_API int np_block_holders(int (*fn)(const struct np_block_holder *holder, void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
