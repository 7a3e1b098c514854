/* SPDX-License-Identifier: BSD-2-Clause */
/* latency: the highest bit and the four behind it are the bucket. */
#include "latency.h"

static unsigned bucket_of(uint64_t ns)
{
	unsigned bit;

	if (ns < 16)
		return (unsigned)ns;
	bit = 63 - (unsigned)__builtin_clzll(ns);
	return (bit - 3) * 16 + (unsigned)(ns >> (bit - 4) & 15);
}

/* The end of a bucket. */
static uint64_t bucket_ns(unsigned b)
{
	return b < 16 ? b : ((uint64_t)(17 + b % 16) << (b / 16 - 1)) - 1;
}

void latency_add(struct latency *l, uint64_t ns)
{
	l->n++;
	l->max_ns = ns > l->max_ns ? ns : l->max_ns;
	l->buckets[bucket_of(ns)]++;
}

void latency_merge(struct latency *to, const struct latency *from)
{
	to->n += from->n;
	to->max_ns = from->max_ns > to->max_ns ? from->max_ns : to->max_ns;
	for (int i = 0; i < LATENCY_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
}

double latency_us(const struct latency *l, double share)
{
	uint64_t seen = 0, wanted = (uint64_t)(share * (double)l->n), ns = l->max_ns;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		seen += l->buckets[i];
		if (seen > wanted) {
			ns = bucket_ns(i) < ns ? bucket_ns(i) : ns;
			break;
		}
	}
	return (double)ns / 1000;
}
