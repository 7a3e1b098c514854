/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_policy: the worker that each policy wants for a flow
 *
 * policy_choose_first() is what it wants most, policy_next() what it wants where the guard says no.
 * Policies that compare have each candidate weighed, and policy_settle() on the best.
 *
 * A candidate is selected when it becomes the best one so far. What is queued at it is seen only
 * then, and may be too much: so policy_settle() goes back to the best.
 */
#ifndef STEER_POLICY_H
#define STEER_POLICY_H

#include <stdbool.h>

#include "steer_abi.h"
#include "steer_bitmap.h"
#include "steer_guard.h"
#include "steer_search.h"
#include "steer_source.h"

/*
 * Draws before the search becomes a walk over the whole roster. Before 5.13 no callback can do the
 * walk, and a loop of that many turns is more than the verifier takes from CAP_BPF alone: there
 * the search ends with the draws.
 */
#define DRAWS     4
#define OLD_DRAWS 16

/* So many workers are scanned for each SYN under "auto"; more are drawn from. */
#define SCANNED_MAX 32

/* The rule that is in force here for the policy that is wanted. */
static __always_inline __u32 policy_rule(const struct run *r, __u32 policy)
{
	if (policy == NP_POLICY_AUTO)
		policy = r->s->roster <= SCANNED_MAX ? NP_POLICY_LEAST_QUEUED :
						       NP_POLICY_P2C_QUEUED;
	else if (!run_sees_queues(r) && policy == NP_POLICY_LEAST_QUEUED)
		return NP_POLICY_LEAST;
	if (!run_sees_queues(r) &&
	    (policy == NP_POLICY_LEAST_QUEUED || policy == NP_POLICY_P2C_QUEUED))
		return NP_POLICY_P2C;
	return policy;
}

/* Whether what waits at a candidate's listener counts as its load. */
static __always_inline bool policy_counts_queued(const struct run *r)
{
	__u32 p = r->s->policy;

	return run_sees_queues(r) &&
	       (p == NP_POLICY_LEAST_QUEUED || p == NP_POLICY_P2C_QUEUED || p == NP_POLICY_CPU);
}

/* ------------------------------------------------------------------ loads */

static __always_inline __u64 policy_whole_weight(__u64 load)
{
	return LOAD_WEIGHT(load) ? LOAD_WEIGHT(load) : WEIGHT_DEFAULT;
}

/*
 * Worker @w's share: its weight, less of it while the worker is new, and never nothing. "maglev"
 * compares it with a mean in which every worker has its whole weight.
 */
static __always_inline __u64 policy_weight(struct run *r, __u32 w, __u64 load)
{
	__u64 weight = policy_whole_weight(load), ramp = (__u64)r->cfg->slow_start_ms * 1000000;
	__u64 since, age;

	if (!ramp || r->s->policy == NP_POLICY_MAGLEV)
		return weight;
	since = input_since(r, w);
	if (!since)
		return weight;
	age = guard_elapsed(r, since);
	if (age >= ramp)
		return weight;
	/* in steps of a millisecond: no overflow */
	weight = weight * (age >> 20) / ((ramp >> 20) + 1);
	return weight ? weight : 1;
}

/*
 * Connections for each unit of weight, @queued ones and one that is about to come included: an
 * empty worker counts its weight too. @in: input_load()'s.
 */
static __always_inline __u64 policy_load_with(__u64 in, __u32 queued, __u64 weight)
{
	__u64 n = LOAD_CONNS(in) + queued + 1;

	return weight == WEIGHT_DEFAULT ? n << LOAD_BITS : n * LOAD_UNIT / weight;
}

static __always_inline __u64 policy_load(struct run *r, __u32 w1)
{
	__u64 in = input_load(r, w1 - 1);

	return policy_load_with(in, 0, policy_weight(r, w1 - 1, in));
}

/* The load of eight connections at the usual weight: what a worker may always have, whatever the
 * others have. */
#define UNBOUND (8ull << LOAD_BITS)

/* What waits for less says nothing: some ticks, or a time slice of others. */
#define LATE_NS (16ull * 1000000)

/*
 * Whether the first of one queue has waited for so much longer than that of another that its worker
 * seems to take nothing: by much, since queues that were filled together are alike.
 *
 * A worker that stalls keeps its few connections, and would be the least loaded one until its queue
 * is as long as those of siblings that wait for a CPU, or until hang_ms is over. So the later one
 * counts UNBOUND more.
 */
static __always_inline bool policy_is_later(__u64 waited, __u64 other)
{
	return waited > 4 * other + LATE_NS;
}

/* By what is published: what is queued only adds to @load, and the best may be the later one. */
static __always_inline bool policy_may_be_best(const struct run *r, __u64 load)
{
	__u64 late = policy_is_later(r->s->waited_of_best, 0) ? UNBOUND : 0;

	return !r->s->best || load < r->s->least + late;
}

/* Of the candidate whose queue was looked at last. */
static __always_inline bool policy_is_best(const struct run *r, __u64 load)
{
	__u64 least = r->s->least;

	if (policy_is_later(r->s->waited_of_best, r->s->waited))
		least += UNBOUND;
	if (policy_is_later(r->s->waited, r->s->waited_of_best))
		load += UNBOUND;
	return !r->s->best || load < least;
}

/*
 * policy_weigh() - a candidate becomes the best one so far, if it is fit and less loaded
 *
 * It is selected for that: what its worker has published stays when that dies, and would be the
 * least for ever. What is queued, which is seen then, only adds: of a worker that has too much
 * without it nothing else is read, and selecting is what costs.
 */
static __always_inline void policy_weigh(struct run *r, __u32 w1)
{
	__u32 w = w1 - 1, queued;
	__u64 in, weight, load;

	if (w >= NP_WORKERS)
		return;
	in = input_load(r, w);
	weight = policy_weight(r, w, in);
	load = policy_load_with(in, 0, weight);
	if (!policy_may_be_best(r, load) || guard_fit(r, w) != FIT_READY)
		return;
	if (!guard_try(r, w, FIT_READY) || r->s->fit != FIT_READY)
		return;
	if (policy_counts_queued(r)) {
		queued = NP_QUEUE_SYN(r->s->queue);
		if (!(in & LOAD_COUNTED))
			queued += NP_QUEUE_ACCEPT(r->s->queue);
		load = policy_load_with(in, queued, weight);
		if (!policy_is_best(r, load))
			return;
		r->s->waited_of_best = r->s->waited;
	}
	r->s->best = w1;
	r->s->least = load;
	r->s->queue_of_best = r->s->queue;
}

RUN_ONCE int steer_weigh(RUN_PARAMS, __u32 w1)
{
	RUN_TAKE(r);
	policy_weigh(&r, w1);
	return 0;
}

static __always_inline void policy_weigh_once(struct run *r, __u32 w1)
{
	steer_weigh(RUN_ARGS(r), w1);
}

/* Whether the best of those that were weighed is selected now, and fit. */
static __always_inline bool policy_settle(struct run *r)
{
	__u32 w = r->s->best - 1;

	if (w >= NP_WORKERS)
		return false;
	if (r->s->policy == NP_POLICY_WEIGHTED)
		return guard_try(r, w, FIT_READY) && r->s->fit == FIT_READY;
	if (w != r->s->worker && input_select(r, w)) {
		r->s->worker = w;
		r->s->queue = r->s->queue_of_best;
	}
	return r->s->fit == FIT_READY;
}

/* ------------------------------------------------------------------ hash, rr, p2c */

static __always_inline __u32 policy_drawn(struct run *r, __u32 i)
{
	__u32 w1 = input_roster(r, below(rehash(r->s->hash, i), r->s->roster));

	return w1 <= NP_WORKERS ? w1 : 0;
}

/* rr advances for each candidate: a worker passed over costs its neighbour nothing extra. */
static __always_inline __u32 policy_in_turn(struct run *r)
{
	return input_roster(r, (__u32)(input_turn(r) % r->s->roster));
}

/* The less loaded one of two draws. */
static __always_inline __u32 policy_better_of_two(struct run *r)
{
	__u32 a = policy_drawn(r, 0), b = policy_drawn(r, 1);

	if (!a || !b || a == b)
		return a ? a : b;
	return policy_load(r, b) < policy_load(r, a) ? b : a;
}

static __always_inline void policy_weigh_two(struct run *r)
{
	__u32 a = policy_drawn(r, 0), b = policy_drawn(r, 1);

	policy_weigh_once(r, a);
	if (b != a)
		policy_weigh_once(r, b);
}

/* ------------------------------------------------------------------ least, weighted */

/*
 * A candidate of "weighted": of all that are offered, each ends up as the best with the chance that
 * is its share of their weights (a reservoir of one).
 */
static __always_inline void policy_offer(struct run *r, __u32 w1, __u32 i)
{
	__u32 w = w1 - 1;
	__u64 weight;

	if (w >= NP_WORKERS || guard_fit(r, w) != FIT_READY)
		return;
	weight = policy_weight(r, w, input_load(r, w));
	r->s->least += weight; /* of all so far */
	if (below(rehash(r->s->hash, NP_WORKERS + i), (__u32)r->s->least) < weight)
		r->s->best = w1;
}

/* Whether @w1's connections are too many by themselves, and with all of its weight. */
static __always_inline bool policy_cannot_win(struct run *r, __u32 w1)
{
	__u32 w = w1 - 1;
	__u64 in;

	if (w >= NP_WORKERS)
		return true;
	if (!r->s->best || policy_is_later(r->s->waited_of_best, 0))
		return false;
	in = input_load(r, w);
	return (LOAD_CONNS(in) + 1) * LOAD_UNIT >= r->s->least * policy_whole_weight(in);
}

/*
 * policy_scan_next() - the next worker of the roster, from a place of the flow's own on
 *
 * Of several with the same load the first one met is taken: from different places, different ones.
 * Return: whether there is one more.
 */
static __always_inline bool policy_scan_next(struct run *r, __u32 *ret_w1)
{
	__u32 n = r->s->roster, i = r->s->step++;

	if (i >= n)
		return false;
	i += r->s->begin;
	*ret_w1 = input_roster(r, (i < n ? i : i - n) & (NP_WORKERS - 1));
	return true;
}

/* Nearly all cannot win: no call for those. Return: whether the scan is over. */
static __always_inline bool policy_scan_step(struct run *r)
{
	__u32 w1;

	if (!policy_scan_next(r, &w1))
		return true;
	if (!policy_cannot_win(r, w1))
		policy_weigh_once(r, w1);
	return false;
}

RUN_TURN(policy_scan_turn)
{
	return policy_scan_step(r);
}

RUN_TURN(policy_offer_turn)
{
	__u32 w1;

	if (!policy_scan_next(r, &w1))
		return true;
	policy_offer(r, w1, r->s->step);
	return false;
}

/*
 * So many turns are unrolled: a call for each would take as long as the look at a worker. The
 * verifier follows each one: more of them would be felt where 16 programs are loaded.
 */
#define SCAN_FIRST 8

RUN_ONCE int steer_scan(RUN_PARAMS)
{
	__u32 i;

	RUN_TAKE(r);
	r.s->begin = below(rehash(r.s->hash, 0), r.s->roster);
	if (r.s->policy == NP_POLICY_WEIGHTED) {
		run_turns(&r, policy_offer_turn);
	} else {
		UNROLLED
		for (i = 0; i < SCAN_FIRST; i++)
			if (policy_scan_step(&r))
				break;
		if (i == SCAN_FIRST && r.s->step < r.s->roster)
			run_turns(&r, policy_scan_turn);
	}
	r.s->step = 0; /* for the walk */
	return 0;
}

/* Before 5.13 there is no callback to scan with: a few draws have to do. */
#define OLD_OFFERS 8

static __always_inline void policy_scan(struct run *r)
{
	__u32 i;

	if (!run_is_old(r)) {
		steer_scan(RUN_ARGS(r));
	} else if (r->s->policy == NP_POLICY_WEIGHTED) {
		for (i = 0; i < OLD_OFFERS; i++)
			policy_offer(r, policy_drawn(r, i), i);
	} else {
		policy_weigh_two(r);
	}
}

/* -------------------------------------------------- cpu, maglev: a flow has a worker of its own */

/* The others were weighed since: the flow's own worker @own1, if it was fit, may not be the best
 * any more. */
static __always_inline void policy_count_spilled(struct run *r, __u32 own1)
{
	if (own1 && r->s->best != own1)
		COUNT(r->stats->spilled);
}

/*
 * The worker of the CPU that got the SYN, or one by the hash if it has more than spill % of that
 * one's load. A CPU that no worker serves falls to the hash.
 */
static __always_inline void policy_weigh_near(struct run *r)
{
	__u32 spill = r->cfg->spill, own1;

	policy_weigh_once(r, input_cpu(r));
	own1 = r->s->best;
	if (own1 && (!spill || r->s->least <= UNBOUND))
		return;
	if (own1)
		r->s->least = r->s->least * 100 / (spill ? spill : 1);
	policy_weigh_once(r, policy_drawn(r, 0));
	policy_count_spilled(r, own1);
}

/*
 * The first worker of the client's own order that has no more than bound % of the mean load, and
 * what it may always have: consistent hashing with bounded loads. There is no bound before the mean
 * is known. Where the first few have more, the least loaded of all: the bound holds, and only what
 * is too much for all of those loses its home. Before 5.13, the least loaded of the few.
 */
static __always_inline void policy_weigh_sticky(struct run *r)
{
	__u64 limit = ~0ull, mean = r->cfg->bound ? input_mean(r) : 0;
	__u32 own1, i;

	if (mean)
		limit = mean * r->cfg->bound / 100 + UNBOUND;
	policy_weigh_once(r, input_table(r, rehash(r->s->hash, 0)));
	own1 = r->s->best;
	for (i = 1; i < DRAWS && (!r->s->best || r->s->least > limit); i++)
		policy_weigh_once(r, input_table(r, rehash(r->s->hash, i)));
	if (r->s->best && r->s->least > limit && !run_is_old(r))
		policy_scan(r);
	policy_count_spilled(r, own1);
}

static __always_inline void policy_weigh_own(struct run *r)
{
	if (r->s->policy == NP_POLICY_CPU)
		policy_weigh_near(r);
	else
		policy_weigh_sticky(r);
}

RUN_ONCE int steer_weigh_own(RUN_PARAMS)
{
	RUN_TAKE(r);
	policy_weigh_own(&r);
	return 0;
}

static __always_inline void policy_weigh_own_once(struct run *r)
{
	steer_weigh_own(RUN_ARGS(r));
}

/* ------------------------------------------------------------------ all of them */

/* Whether the best of several candidates of the policy is selected now, and fit. */
static __always_inline bool policy_compare(struct run *r)
{
	if (r->s->policy == NP_POLICY_CPU || r->s->policy == NP_POLICY_MAGLEV)
		policy_weigh_own_once(r);
	else if (run_sees_queues(r) && r->s->policy == NP_POLICY_P2C_QUEUED)
		policy_weigh_two(r);
	else
		policy_scan(r);
	return policy_settle(r);
}

static __always_inline bool policy_compares(const struct run *r)
{
	__u32 p = r->s->policy;

	return p == NP_POLICY_CPU || p == NP_POLICY_MAGLEV || p == NP_POLICY_P2C_QUEUED ||
	       p == NP_POLICY_LEAST || p == NP_POLICY_LEAST_QUEUED || p == NP_POLICY_WEIGHTED;
}

/* A draw from the published set; of none, from the roster. */
static __always_inline __u32 policy_drawn_published(struct run *r, __u32 i)
{
	__u32 w1 = bitmap_member_once(r, i);

	return w1 ? w1 : policy_drawn(r, i);
}

static __always_inline __u32 policy_first(struct run *r)
{
	if (r->s->policy == NP_POLICY_RR)
		return policy_in_turn(r);
	if (r->s->policy == NP_POLICY_P2C)
		return policy_better_of_two(r);
	return r->s->policy == NP_POLICY_BITMAP ? policy_drawn_published(r, 0) : policy_drawn(r, 0);
}

/* Whether the policy's own choice is fit. */
static __always_inline bool policy_choose_first(struct run *r)
{
	return policy_compares(r) ? policy_compare(r) : guard_consider_first(r, policy_first(r));
}

/*
 * The @i-th choice after that is another draw of the same flow: never the neighbour, which would
 * inherit everything.
 */
static __always_inline __u32 policy_next(struct run *r, __u32 i)
{
	if (r->s->policy == NP_POLICY_RR)
		return policy_in_turn(r);
	/* Before 5.14 there is no walk that would meet those that are not in the set. */
	return r->s->policy == NP_POLICY_BITMAP && i < OLD_DRAWS / 2 ?
		       policy_drawn_published(r, i) :
		       policy_drawn(r, i);
}

#endif
