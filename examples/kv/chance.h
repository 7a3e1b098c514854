/* SPDX-License-Identifier: BSD-2-Clause */
/* chance: numbers that look random, without a system call: xorshift, one for each thread */
#ifndef KV_CHANCE_H
#define KV_CHANCE_H

#include <stddef.h>
#include <stdint.h>

extern _Thread_local uint64_t chance_state;

static inline uint64_t chance_bits(void)
{
	uint64_t x = chance_state ? chance_state : (uintptr_t)&chance_state | 1;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	chance_state = x;
	return x * 0x2545f4914f6cdd1du;
}

/* 0 to @n - 1. */
static inline size_t chance(size_t n)
{
	return (size_t)((unsigned __int128)chance_bits() * n >> 64);
}

#endif
