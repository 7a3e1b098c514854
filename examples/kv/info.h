/* SPDX-License-Identifier: BSD-2-Clause */
/* info: what INFO says: each shard gives its counts, and they are added up */
#ifndef KV_INFO_H
#define KV_INFO_H

#include "expiry.h"
#include "writer.h"

struct shard;

/* All of them 64 bits: they travel as they lie. */
struct info_counts {
	uint64_t clients, connections, commands, refused, dropped;
	uint64_t expired, hits, misses, memory, channels, patterns;
	uint64_t keys[DATABASES], ending[DATABASES];
};

/* Both on the shard's thread. */
void info_take(struct shard *s, struct info_counts *ret);
/* As they lie, for info_add(). */
void info_give(struct shard *s, struct writer *w);
/* The answer of a shard. Return: 0. */
int info_add(struct info_counts *sum, const char *answer, size_t n);
/* INFO's answer. */
void info_write(const struct info_counts *c, struct writer *w);

#endif
