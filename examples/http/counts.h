/* SPDX-License-Identifier: BSD-2-Clause */
/* counts: answers by the first digit of their status, for each poller */
#ifndef HTTP_COUNTS_H
#define HTTP_COUNTS_H

#include <stdatomic.h>
#include <stdint.h>

#define COUNT_CLASSES 6 /* the first, [0], is requests that got no answer */

struct counts {
	_Atomic(uint64_t) answers[COUNT_CLASSES];
} __attribute__((aligned(64)));

/* Thread: the poller whose counts they are. No other one writes there, so nothing is locked. */
static inline void counts_add(struct counts *c, int status)
{
	_Atomic(uint64_t) *n = &c->answers[status / 100 % COUNT_CLASSES];

	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

#endif
