/* SPDX-License-Identifier: BSD-2-Clause */
/* pace: -w and -n: how often, and how many times. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "npsteer.h"

double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void pause_for(double s)
{
	struct timespec t = { .tv_sec = (time_t)s,
			      .tv_nsec = (long)((s - (double)(time_t)s) * 1e9) };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

int parse_interval(struct npsteer *n, double *ret_every, long *ret_count)
{
	char *end;

	*ret_every = 0;
	*ret_count = 0;
	if (n->interval) {
		*ret_every = strtod(n->interval, &end);
		if (end == n->interval || *end || !(*ret_every >= 0.001 && *ret_every <= 86400))
			return fail(n, MISUSED, "-w takes seconds, such as 1 or 0.5, not \"%s\"",
				    n->interval);
	}
	if (n->count && (!parse_number(n->count, 1000000000, ret_count) || *ret_count == 0))
		return fail(n, MISUSED, "-n takes a number of times, not \"%s\"", n->count);
	return DONE;
}
