/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_once: the parts of a choice that the verifier looks at once, and not after each way that
 * leads to them
 *
 * Two kinds: callbacks, which are the loops of kernels from 5.13 on, and functions that are not
 * static.
 */
#ifndef STEER_ONCE_H
#define STEER_ONCE_H

#if STEER_LEVEL >= 3

/*
 * A callback of bpf_for_each_map_elem(), which is verified once; the map gives the turns, no more.
 */
static long walk_turn(void *map, const void *key, void *value, struct run *r)
{
	return walk_step(r);
}

static __always_inline void walk(struct run *r)
{
	bpf_for_each_map_elem(&np_ctl, walk_turn, r, 0);
}

static long scan_turn(void *map, const void *key, void *value, struct run *r)
{
	return scan_step(r);
}

static __always_inline void scan(struct run *r)
{
	bpf_for_each_map_elem(&np_ctl, scan_turn, r, 0);
}

#else

static __always_inline void walk(struct run *r)
{
}

static __always_inline void scan(struct run *r)
{
}

#endif

__attribute__((noinline)) int steer_weigh(RUN_PARAMS, __u32 w1)
{
	RUN_TAKE(r);
	weigh(&r, w1);
	return 0;
}

static __always_inline void weigh_one(struct run *r, __u32 w1)
{
	steer_weigh(RUN_ARGS(r), w1);
}

__attribute__((noinline)) int steer_weigh_own(RUN_PARAMS)
{
	RUN_TAKE(r);
	weigh_own(&r);
	return 0;
}

static __always_inline void weigh_own_once(struct run *r)
{
	steer_weigh_own(RUN_ARGS(r));
}

__attribute__((noinline)) int steer_published(RUN_PARAMS, __u32 i)
{
	RUN_TAKE(r);
	return (int)published(&r, i);
}

static __always_inline __u32 published_one(struct run *r, __u32 i)
{
	return (__u32)steer_published(RUN_ARGS(r), i);
}

__attribute__((noinline)) int steer_consider(RUN_PARAMS, __u32 w1)
{
	RUN_TAKE(r);
	return consider(&r, w1);
}

static __always_inline bool consider_one(struct run *r, __u32 w1)
{
	return steer_consider(RUN_ARGS(r), w1);
}

/* The first is the last, nearly always. At level 4 a copy of its own doubles what there is to
 * verify. */
static __always_inline bool consider_first(struct run *r, __u32 w1)
{
	return sees_queues(r) ? consider_one(r, w1) : consider(r, w1);
}

/* Else what comes of a choice would be verified after each of the ways to it. */
__attribute__((noinline)) int steer_choose(RUN_PARAMS)
{
	RUN_TAKE(r);
	choose(&r);
	return 0;
}

#endif
