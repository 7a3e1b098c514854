/* SPDX-License-Identifier: BSD-2-Clause */
/* upstream: which ones were tried is a bit each; there are no more than 64. */
#include "upstream.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool is_dead(const struct upstream *up, uint64_t now)
{
	return atomic_load_explicit(&up->dead_until_ms, memory_order_relaxed) > now;
}

/* The next one that is not in @tried, the dead left out unless @any; NULL: none. */
static struct upstream *next(struct upstreams *u, uint64_t tried, bool any)
{
	unsigned start = atomic_fetch_add_explicit(&u->turn, 1, memory_order_relaxed);
	struct upstream *best = NULL;
	uint64_t now = now_ms();

	for (int i = 0; i < u->n; i++) {
		unsigned k = (start + (unsigned)i) % (unsigned)u->n;
		struct upstream *up = &u->up[k];

		if (tried & (uint64_t)1 << k || (!any && is_dead(up, now)))
			continue;
		if (!u->by_load)
			return up;
		if (!best || atomic_load(&up->conns) < atomic_load(&best->conns))
			best = up;
	}
	return best;
}

static int try_one(struct upstreams *u, struct upstream *up, const struct np_dial_opts *o,
		   struct np_conn **ret)
{
	int r;

	atomic_fetch_add(&up->conns, 1);
	r = np_dial(NULL, NP_HERE, up->network, up->address, o, ret);
	if (r == 0) {
		atomic_store_explicit(&up->dead_until_ms, 0, memory_order_relaxed);
		return 0;
	}
	atomic_fetch_sub(&up->conns, 1);
	if (r != -ECANCELED && r != -ENOMEM && r != -EMFILE && r != -ENFILE) /* those are ours */
		atomic_store_explicit(&up->dead_until_ms, now_ms() + (uint64_t)u->retry_ms,
				      memory_order_relaxed);
	return r;
}

int upstream_dial(struct upstreams *u, const struct np_dial_opts *o, struct upstream **ret_up,
		  struct np_conn **ret)
{
	uint64_t tried = 0;
	struct upstream *up;
	int r = -EHOSTDOWN;

	for (int any = 0; any < 2; any++)
		while ((up = next(u, tried, any))) {
			r = try_one(u, up, o, ret);
			*ret_up = up;
			if (r == 0 || r == -ECANCELED)
				return r;
			tried |= (uint64_t)1 << (up - u->up);
		}
	return r;
}

struct upstream *upstream_enter(struct upstreams *u, const char *address, size_t n)
{
	for (int i = 0; i < u->n; i++) {
		struct upstream *up = &u->up[i];

		if (strlen(up->address) != n || memcmp(up->address, address, n) != 0)
			continue;
		atomic_fetch_add(&up->conns, 1);
		return up;
	}
	return NULL;
}

void upstream_leave(struct upstream *up)
{
	atomic_fetch_sub(&up->conns, 1);
}
