/* SPDX-License-Identifier: BSD-2-Clause */
/* histogram: buckets, and what they are of. */
#include "poll/histogram.h"

unsigned histogram_bucket(uint64_t us)
{
	unsigned e, i;

	if (us < 4)
		return (unsigned)us;
	e = 63u - (unsigned)__builtin_clzll(us);
	i = 4u * (e - 1u) + (unsigned)(us >> (e - 2u) & 3u);
	return i < HISTOGRAM_BUCKETS - 1u ? i : HISTOGRAM_BUCKETS - 1u;
}

uint64_t histogram_below_us(unsigned i)
{
	if (i == HISTOGRAM_BUCKETS - 1u)
		return UINT64_MAX;
	return i < 4 ? i + 1u : (uint64_t)(5u + i % 4u) << (i / 4u - 1u);
}

static void histogram_grow(uint64_t *n, uint64_t by)
{
	__atomic_store_n(n, *n + by, __ATOMIC_RELAXED);
}

void histogram_note(struct histogram *h, uint64_t us, uint64_t weight)
{
	histogram_grow(&h->bucket[histogram_bucket(us)], weight);
	histogram_grow(&h->sum_us, us * weight);
}

void histogram_add(struct histogram *sum, const struct histogram *h)
{
	sum->sum_us += __atomic_load_n(&h->sum_us, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum->bucket[i] += __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED);
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		n += h->bucket[i];
	return n;
}
