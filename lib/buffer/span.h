/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * span: one allocation: blocks of one class behind one page of their headers
 *
 *   | span | header 0 | header 1 | ... |  (page)  | data 0 | data 1 | ... |
 *
 * Headers are apart from the data, so that a free block's pages can go back to the kernel while its
 * header stays, and so that data starts at a page. A header's span is found by its address.
 *
 * Thread: any, under the lock of the cache the span belongs to.
 */
#ifndef BUFFER_SPAN_H
#define BUFFER_SPAN_H

#include "buffer/block.h"

struct cache;

struct span {
	struct cache *home;
	struct span *next, *prev; /* among those of its class with something to take */
	struct block *free;
	unsigned cls;
	unsigned total;
	unsigned taken;  /* given to the cache and not put back */
	unsigned carved; /* headers in use so far; the rest has never been touched */
};

#define SPAN_PAGE 4096u

static inline struct span *span_of(const struct block *b)
{
	return (struct span *)((uintptr_t)b & ~(uintptr_t)(SPAN_PAGE - 1));
}

/* A block with header, base and mem set, from the spans in *list or a new one. NULL: no memory. */
struct block *span_take(struct span **list, struct cache *home, uint16_t id, unsigned cls);
/* Back into its span; a span with nothing taken goes back to the allocator. */
void span_put(struct span **list, struct block *b);

#endif
