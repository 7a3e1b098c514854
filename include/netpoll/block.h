/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * block: the memory behind the buffers: where it comes from, how much there is, who holds it
 *
 * Blocks come in powers of two. Each thread keeps freed ones for itself, so that a server in steady
 * state calls no allocator; a block freed on another thread finds its way back. What a thread
 * keeps is bounded, and shrinks again after a burst.
 */
#ifndef NETPOLL_BLOCK_H
#define NETPOLL_BLOCK_H

#include <stddef.h>

#include "netpoll/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct np_allocator {
	size_t sz; /* sizeof(struct np_allocator) */
	void *(*alloc)(size_t n, size_t align, void *arg); /* NULL: no memory. @align is a power of two */
	void (*free)(void *p, size_t n, void *arg);        /* @n as it was asked for */
	void *arg;
};

/*
 * np_set_allocator() - take all block memory from @a, or from the kernel's mmap(2) again for NULL
 *
 * Called for spans of blocks, not for every block; copied. Both functions may be called on any
 * thread and may not call this library.
 * Thread: setup: no block may be held anywhere, not even in another thread's cache.
 * May park: no.
 * Return: 0, -EBUSY (blocks exist: free the buffers, np_block_trim()), -EINVAL (a function is
 *         missing, or @a->sz is too small), -E2BIG (@a has a field that this library does not know).
 */
NP_API int np_set_allocator(const struct np_allocator *a);

struct np_block_stats {
	size_t sz;             /* in: sizeof(struct np_block_stats) */
	size_t blocks_in_use;  /* blocks with data that some buffer holds */
	size_t bytes_in_use;
	size_t blocks_cached;  /* blocks that wait in a thread's cache */
	size_t bytes_cached;
	size_t bytes_high;     /* bytes_in_use at its highest, each block size taken for itself */
	size_t cells_in_use;   /* buffers, slices and references: what needs no block */
	size_t bytes_mapped;   /* what the allocator has given and not got back */
	size_t allocs, frees;  /* calls to the allocator */
	size_t bytes_copied;   /* by write(), copy(), dup(), and by next() and peek() across blocks */
};

/*
 * np_block_stats() - the sums over all threads
 *
 * Exact where no other thread uses buffers meanwhile, else a recent picture.
 * Thread: any. May park: no.
 * Return: 0, -EINVAL (@ret->sz is smaller than the first field).
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

#ifdef __cplusplus
}
#endif
#endif
