/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * histogram: how often something took how long, in microseconds
 *
 * Log-linear: each power of two is four buckets, so that a bucket is a quarter wide of what it
 * begins at; up to 67 seconds. One thread notes, with plain stores; any thread adds what it reads
 * to a sum of its own. A reader may see a count before its sum, and the other way round.
 */
#ifndef POLL_HISTOGRAM_H
#define POLL_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_OCTAVES 25u /* from 2^2 us on; below, a bucket for each microsecond */
#define HISTOGRAM_BUCKETS (4u + 4u * (HISTOGRAM_OCTAVES - 1u) + 1u) /* the last: what is longer */

struct histogram {
	uint64_t sum_us;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* Which bucket @us is in. */
unsigned histogram_bucket(uint64_t us);
/* What lies in bucket @i is below so many microseconds; UINT64_MAX: the last. */
uint64_t histogram_below_us(unsigned i);
/* It stands for @weight of its kind. Thread: the owner. */
void histogram_note(struct histogram *h, uint64_t us, uint64_t weight);
/* Thread: any; of @sum it is the caller's own. */
void histogram_add(struct histogram *sum, const struct histogram *h);
/* How many are in it. */
uint64_t histogram_count(const struct histogram *h);

#endif
