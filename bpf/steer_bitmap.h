/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* steer_bitmap: a worker out of the published set, np_service.set */
#ifndef STEER_BITMAP_H
#define STEER_BITMAP_H

#include "steer_abi.h"
#include "steer_search.h"
#include "steer_source.h"

static __always_inline __u32 bitmap_ones(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ull;
	x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (__u32)(x * 0x0101010101010101ull >> 56);
}

/* Where the one is in @x that has @rank ones below it: of those in @x. */
static __always_inline __u32 bitmap_place(__u64 x, __u32 rank)
{
	__u32 place = 0, step, n, above;

	/* Without a branch: six of them are 64 ways to verify. */
	for (step = 32; step; step >>= 1) {
		n = bitmap_ones(x & (((__u64)1 << step) - 1));
		above = (__u32)((__s32)(rank - n) >> 31) ^ ~0u; /* rank and n are at most 64 */
		rank -= n & above;
		x >>= step & above;
		place += step & above;
	}
	return place;
}

/*
 * A member of the set, evenly, by the flow's hash; 0: it is empty. The @i-th choice is so many
 * strides of the flow's own further on, so that it is another member.
 */
static __always_inline __u32 bitmap_member(struct run *r, __u32 i)
{
	__u32 total = 0, rank, n, k, at = NP_WORKERS;
	__u64 word, found = 0;

	UNROLLED
	for (k = 0; k < NP_WORKERS / 64; k++)
		total += bitmap_ones(input_set(r, k));
	if (!total)
		return 0;
	rank = below(rehash(r->s->hash, 0), total) +
	       i * (1 + below(rehash(r->s->hash, 1), total - 1));
	rank %= total;
	UNROLLED
	for (k = 0; k < NP_WORKERS / 64; k++) {
		word = input_set(r, k);
		n = bitmap_ones(word);
		if (rank < n) {
			found = word;
			at = 64 * k;
			break;
		}
		rank -= n;
	}
	return found ? at + bitmap_place(found, rank) + 1 : 0; /* or it shrank meanwhile */
}

RUN_ONCE int steer_published(RUN_PARAMS, __u32 i)
{
	RUN_TAKE(r);
	return (int)bitmap_member(&r, i);
}

static __always_inline __u32 bitmap_member_once(struct run *r, __u32 i)
{
	return (__u32)steer_published(RUN_ARGS(r), i);
}

#endif
