/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_run: one run of the program, and how it is handed to functions that are verified by
 * themselves
 */
#ifndef STEER_RUN_H
#define STEER_RUN_H

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"
#include "steer_level.h"
#include "steer_maps.h"
#include "steer_search.h"

MAP(np_search, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct search, NP_GROUPS, 0);

static __always_inline bool run_sees_queues(const struct run *r)
{
	return STEER_LEVEL >= 4;
}

static __always_inline bool run_is_old(const struct run *r)
{
	return STEER_LEVEL < 3;
}

/*
 * run_turns() - a loop whose body is a callback, which is verified once: RUN_TURN(name) { ... }
 *
 * As many turns as there are workers, until one returns 1. Level 4 has kernels that make a loop of
 * this, with calls that go through no pointer, and so costs a third for each turn; before, the
 * entries of a map give the turns, from 5.13 on.
 */
#if STEER_LEVEL >= 4
#define RUN_TURN(name) static long name(__u32 turn, struct run *r)

static __always_inline void run_turns(struct run *r, long (*turn)(__u32, struct run *))
{
	bpf_loop(NP_WORKERS, turn, r, 0);
}
#else
#define RUN_TURN(name) static long name(void *map, const void *key, void *value, struct run *r)

static __always_inline void run_turns(struct run *r,
				      long (*turn)(void *, const void *, void *, struct run *))
{
	bpf_for_each_map_elem(&np_ctl, turn, r, 0);
}
#endif

/* False only where a map is missing, which the loader rules out. */
static __always_inline bool run_open(struct run *r)
{
	__u32 zero = 0, g = r->group;

	r->cfg = bpf_map_lookup_elem(&np_config, &zero);
	r->stats = bpf_map_lookup_elem(&np_stats, &zero);
	r->s = bpf_map_lookup_elem(&np_search, &g);
	return r->cfg && r->stats && r->s;
}

/*
 * Functions that are not static are verified once, whatever their callers know: following each way
 * through each candidate of each policy takes the verifier seconds, and more jumps than it allows.
 * Pointers into maps may be passed to them since Linux 5.12.
 */
#define RUN_ONCE __attribute__((noinline))

/* clang-format off */
#if STEER_LEVEL >= 3
#define RUN_PARAMS                                                                     \
	struct sk_reuseport_md *md, struct np_config *cfg, struct np_verdicts *stats,  \
	struct search *s
#define RUN_ARGS(r) (r)->md, (struct np_config *)(r)->cfg, (r)->stats, (struct search *)(r)->s
#define RUN_TAKE(r)                                                                    \
	struct run r = { .md = md, .cfg = cfg, .stats = stats, .s = s };               \
	if (!cfg || !stats || !s)                                                      \
		return 0;                                                              \
	r.group = s->group
#else
#define RUN_PARAMS  struct sk_reuseport_md *md, __u32 group
#define RUN_ARGS(r) (r)->md, (r)->group
#define RUN_TAKE(r)                                                                    \
	struct run r = { .md = md, .group = group };                                   \
	if (!run_open(&r))                                                             \
		return 0
#endif
/* clang-format on */

#endif
