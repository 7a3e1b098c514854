/* SPDX-License-Identifier: BSD-2-Clause */
/* latency: how long things took, counted in buckets that are a sixteenth of their value wide */
#ifndef SCALE_LATENCY_H
#define SCALE_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS 1024

struct latency {
	uint64_t n, max_ns;
	uint32_t buckets[LATENCY_BUCKETS];
};

void latency_add(struct latency *l, uint64_t ns);
void latency_merge(struct latency *to, const struct latency *from);
/* The value that @share of them do not exceed; microseconds. */
double latency_us(const struct latency *l, double share);

#endif
