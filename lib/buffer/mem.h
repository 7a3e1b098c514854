/* SPDX-License-Identifier: BSD-2-Clause */
/* mem: the allocator under the blocks, with its calls counted. */
#ifndef BUFFER_MEM_H
#define BUFFER_MEM_H

#include <stddef.h>

/* @align is at most a page's. NULL: no memory. */
void *mem_alloc(size_t n, size_t align);
void mem_free(void *p, size_t n);
/* The @n bytes at @p hold nothing: their pages may go. */
void mem_idle(void *p, size_t n);

struct mem_count {
	size_t bytes, allocs, frees;
};
struct mem_count mem_counted(void);

/* How blocks are taken: enum np_block_debug. Constant while memory is held; mem_debug() sees to its
 * first value. */
extern unsigned mem_flags;
unsigned mem_debug(void);

#endif
