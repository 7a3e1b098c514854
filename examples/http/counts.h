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

/* Thread: the poller whose counts they are; with --may-block there may be two at once. */
static inline void counts_add(struct counts *c, int status)
{
	atomic_fetch_add_explicit(&c->answers[status / 100 % COUNT_CLASSES], 1,
				  memory_order_relaxed);
}

#endif
