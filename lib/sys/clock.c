/* SPDX-License-Identifier: BSD-2-Clause */
/* clock: clock_gettime through the vDSO; it cannot fail for these clocks. */
#include "sys/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t clock_in_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

static inline uint64_t clock_ns(clockid_t of)
{
	struct timespec t;

	clock_gettime(of, &t);
	return clock_in_ns(&t);
}

uint64_t sys_clock_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t sys_clock_coarse_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

uint64_t sys_clock_thread_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t sys_clock_tick_ns(void)
{
	struct timespec t;

	clock_getres(CLOCK_MONOTONIC_COARSE, &t);
	return clock_in_ns(&t);
}

int64_t sys_clock_timens_offset_ns(void)
{
	char name[32];
	long long s, n;
	int64_t off = 0;
	FILE *f = fopen("/proc/self/timens_offsets", "re");

	if (!f)
		return 0;
	while (fscanf(f, "%31s %lld %lld", name, &s, &n) == 3)
		if (name[0] == 'm')
			off = s * 1000000000ll + n;
	fclose(f);
	return off;
}
