/* SPDX-License-Identifier: BSD-2-Clause */
/* memory: what the data of one shard takes: counted where it is taken and given back */
#ifndef KV_MEMORY_H
#define KV_MEMORY_H

#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>

/* Of this thread, which is one shard. What another thread gives back is not counted: text.h. */
extern _Thread_local size_t memory_used;

static inline void *memory_count(void *p)
{
	if (p)
		memory_used += malloc_usable_size(p);
	return p;
}

static inline void memory_uncount(void *p)
{
	memory_used -= malloc_usable_size(p);
}

static inline void *memory_alloc(size_t n)
{
	return memory_count(malloc(n));
}

static inline void memory_free(void *p)
{
	if (p) {
		memory_uncount(p);
		free(p);
	}
}

#endif
