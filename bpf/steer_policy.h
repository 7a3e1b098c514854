/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_policy: the worker that each policy wants for a flow
 *
 * choose_first() is what it wants most, next_choice() what it wants where the guard says no.
 * Policies that compare have each candidate weighed, and settle() on the best.
 *
 * A reader would get wrong: a candidate is selected when it becomes the best one so far. The exact
 * policies may find then that too much is queued at it; so settle() goes back to the best.
 */
#ifndef STEER_POLICY_H
#define STEER_POLICY_H

#include <stdbool.h>

#include "steer_abi.h"
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
#define SCANNED_MAX 16

/* The rule that is in force here for the policy that is wanted. */
static __always_inline __u32 rule_of(const struct run *r, __u32 policy)
{
	if (policy == NP_POLICY_AUTO)
		policy = r->s->roster <= SCANNED_MAX ? NP_POLICY_LEAST_EXACT : NP_POLICY_P2C_EXACT;
	else if (!run_sees_queues(r) && policy == NP_POLICY_LEAST_EXACT)
		return NP_POLICY_LEAST;
	if (!run_sees_queues(r) &&
	    (policy == NP_POLICY_LEAST_EXACT || policy == NP_POLICY_P2C_EXACT))
		return NP_POLICY_P2C;
	return policy;
}

/* Whether what waits at a candidate's listener counts as its load. */
static __always_inline bool is_exact(const struct run *r)
{
	__u32 p = r->s->policy;

	return run_sees_queues(r) &&
	       (p == NP_POLICY_LEAST_EXACT || p == NP_POLICY_P2C_EXACT || p == NP_POLICY_CPU);
}

/* ------------------------------------------------------------------ loads */

/*
 * Worker @w's share: its weight, less of it while the worker is new, and never nothing. "maglev"
 * compares it with a mean that knows nothing of who is new.
 */
static __always_inline __u64 weight_of(struct run *r, __u32 w, __u64 load)
{
	__u64 weight = LOAD_WEIGHT(load), ramp = (__u64)r->cfg->slow_start_ms * 1000000, since, age;

	if (!weight)
		weight = WEIGHT_DEFAULT;
	if (!ramp || r->s->policy == NP_POLICY_MAGLEV)
		return weight;
	since = input_since(r, w);
	if (!since)
		return weight;
	age = passed(r, since);
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
static __always_inline __u64 load_with(__u64 in, __u32 queued, __u64 weight)
{
	return ((LOAD_CONNS(in) + queued + 1) << LOAD_UNIT) / weight;
}

static __always_inline __u64 load_of(struct run *r, __u32 w1)
{
	__u64 in = input_load(r, w1 - 1);

	return load_with(in, 0, weight_of(r, w1 - 1, in));
}

static __always_inline bool is_best(const struct run *r, __u64 load)
{
	return !r->s->best || load < r->s->least;
}

/*
 * weigh() - a candidate: the best one so far, if it is fit and has less load than those before it
 *
 * It is selected for that: what its worker has published stays when that dies, and would be the
 * least for ever. What is queued, which is seen then, only adds: who has too much without it is not
 * even selected, and that is what costs.
 */
static __always_inline void weigh(struct run *r, __u32 w1)
{
	__u32 w = w1 - 1, queued;
	__u64 in, weight, load;

	if (w >= NP_WORKERS || fit_of(r, w) != FIT_READY)
		return;
	in = input_load(r, w);
	weight = weight_of(r, w, in);
	load = load_with(in, 0, weight);
	if (!is_best(r, load))
		return;
	if (!try_worker(r, w, FIT_READY) || r->s->fit != FIT_READY)
		return;
	if (is_exact(r)) {
		queued = NP_QUEUE_ACCEPT(r->s->queue) + NP_QUEUE_SYN(r->s->queue);
		load = load_with(in, queued, weight);
		if (!is_best(r, load))
			return;
	}
	r->s->best = w1;
	r->s->least = load;
	r->s->queue_of_best = r->s->queue;
}

RUN_ONCE int steer_weigh(RUN_PARAMS, __u32 w1)
{
	RUN_TAKE(r);
	weigh(&r, w1);
	return 0;
}

static __always_inline void weigh_one(struct run *r, __u32 w1)
{
	steer_weigh(RUN_ARGS(r), w1);
}

/* Whether the best of those that were weighed is selected now, and fit. */
static __always_inline bool settle(struct run *r)
{
	__u32 w = r->s->best - 1;

	if (w >= NP_WORKERS)
		return false;
	if (r->s->policy == NP_POLICY_WEIGHTED)
		return try_worker(r, w, FIT_READY) && r->s->fit == FIT_READY;
	if (w != r->s->worker && input_select(r, w)) {
		r->s->worker = w;
		r->s->queue = r->s->queue_of_best;
	}
	return r->s->fit == FIT_READY;
}

/* ------------------------------------------------------------------ hash, rr, p2c */

static __always_inline __u32 drawn(struct run *r, __u32 i)
{
	__u32 w1 = input_roster(r, below(rehash(r->s->hash, i), r->s->roster));

	return w1 <= NP_WORKERS ? w1 : 0;
}

/* rr advances for each candidate: a worker passed over costs its neighbour nothing extra. */
static __always_inline __u32 in_turn(struct run *r)
{
	return input_roster(r, (__u32)(input_turn(r) % r->s->roster));
}

/* The less loaded one of two draws. */
static __always_inline __u32 better_of_two(struct run *r)
{
	__u32 a = drawn(r, 0), b = drawn(r, 1);

	if (!a || !b || a == b)
		return a ? a : b;
	return load_of(r, b) < load_of(r, a) ? b : a;
}

static __always_inline void weigh_two(struct run *r)
{
	__u32 a = drawn(r, 0), b = drawn(r, 1);

	weigh_one(r, a);
	if (b != a)
		weigh_one(r, b);
}

/* ------------------------------------------------------------------ least, weighted */

/*
 * A candidate of "weighted": of all that are offered, each ends up as the best with the chance that
 * is its share of their weights (a reservoir of one).
 */
static __always_inline void offer(struct run *r, __u32 w1, __u32 i)
{
	__u32 w = w1 - 1;
	__u64 weight;

	if (w >= NP_WORKERS || fit_of(r, w) != FIT_READY)
		return;
	weight = weight_of(r, w, input_load(r, w));
	r->s->least += weight; /* of all so far */
	if (below(rehash(r->s->hash, NP_WORKERS + i), (__u32)r->s->least) < weight)
		r->s->best = w1;
}

/*
 * scan_step() - the next worker of the roster, from a place of the flow's own on
 *
 * Of several with the same load the first one met is taken: from different places, different ones.
 * Return: whether the scan is over.
 */
static __always_inline bool scan_step(struct run *r)
{
	__u32 n = r->s->roster, i = r->s->step++, w1;

	if (i >= n)
		return true;
	i += below(rehash(r->s->hash, 0), n);
	w1 = input_roster(r, (i < n ? i : i - n) & (NP_WORKERS - 1));
	if (r->s->policy == NP_POLICY_WEIGHTED)
		offer(r, w1, r->s->step);
	else
		weigh_one(r, w1);
	return false;
}

static long scan_turn(void *map, const void *key, void *value, struct run *r)
{
	return scan_step(r);
}

/* Before 5.13 there is no callback to scan with: a few draws have to do. */
#define OLD_OFFERS 8

static __always_inline void scan_all(struct run *r)
{
	__u32 i;

	if (!run_is_old(r)) {
		run_turns(r, scan_turn);
		r->s->step = 0; /* for the walk */
	} else if (r->s->policy == NP_POLICY_WEIGHTED) {
		for (i = 0; i < OLD_OFFERS; i++)
			offer(r, drawn(r, i), i);
	} else {
		weigh_two(r);
	}
}

/* -------------------------------------------------- cpu, maglev: a flow has a worker of its own */

/* After the others were weighed too: whether the flow's own worker @own1, if it was fit, is not the
 * best any more. */
static __always_inline void count_spilled(struct run *r, __u32 own1)
{
	if (own1 && r->s->best != own1)
		COUNT(r->stats->spilled);
}

/* The load of eight connections at the usual weight: what a worker may always have, whatever the
 * others have. */
#define UNBOUND ((8ull << LOAD_UNIT) / WEIGHT_DEFAULT)

/*
 * The worker of the CPU that got the SYN, or one by the hash if it has more than spill % of that
 * one's load. A CPU that no worker serves falls to the hash.
 */
static __always_inline void weigh_near(struct run *r)
{
	__u32 spill = r->cfg->spill, own1;

	weigh_one(r, input_cpu(r));
	own1 = r->s->best;
	if (own1 && (!spill || r->s->least <= UNBOUND))
		return;
	if (own1)
		r->s->least = r->s->least * 100 / (spill ? spill : 1);
	weigh_one(r, drawn(r, 0));
	count_spilled(r, own1);
}

/*
 * The first worker of the client's own order that has no more than bound % of the mean load, and
 * what it may always have: consistent hashing with bounded loads. There is no bound before the mean
 * is known. Where the first few have more, the least loaded of all: the bound holds, and only what
 * is too much for all of those loses its home. Before 5.13, the least loaded of the few.
 */
static __always_inline void weigh_sticky(struct run *r)
{
	__u64 limit = ~0ull, mean = r->cfg->bound ? input_mean(r) : 0;
	__u32 own1, i;

	if (mean)
		limit = mean * r->cfg->bound / 100 + UNBOUND;
	weigh_one(r, input_table(r, rehash(r->s->hash, 0)));
	own1 = r->s->best;
	for (i = 1; i < DRAWS && (!r->s->best || r->s->least > limit); i++)
		weigh_one(r, input_table(r, rehash(r->s->hash, i)));
	if (r->s->best && r->s->least > limit && !run_is_old(r))
		scan_all(r);
	count_spilled(r, own1);
}

static __always_inline void weigh_own(struct run *r)
{
	if (r->s->policy == NP_POLICY_CPU)
		weigh_near(r);
	else
		weigh_sticky(r);
}

RUN_ONCE int steer_weigh_own(RUN_PARAMS)
{
	RUN_TAKE(r);
	weigh_own(&r);
	return 0;
}

static __always_inline void weigh_own_once(struct run *r)
{
	steer_weigh_own(RUN_ARGS(r));
}

/* ---------------------------------------------------------- bitmap: who is in the published set */

static __always_inline __u32 ones(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ull;
	x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (__u32)(x * 0x0101010101010101ull >> 56);
}

/* Where the one is in @x that has @rank ones below it: of those in @x. */
static __always_inline __u32 place_of(__u64 x, __u32 rank)
{
	__u32 place = 0, step, n, above;

	/* Without a branch: six of them are 64 ways to verify. */
	for (step = 32; step; step >>= 1) {
		n = ones(x & (((__u64)1 << step) - 1));
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
static __always_inline __u32 published(struct run *r, __u32 i)
{
	__u32 total = 0, rank, n, k, at = NP_WORKERS;
	__u64 word, found = 0;

	UNROLLED
	for (k = 0; k < NP_WORKERS / 64; k++)
		total += ones(input_set(r, k));
	if (!total)
		return 0;
	rank = below(rehash(r->s->hash, 0), total) +
	       i * (1 + below(rehash(r->s->hash, 1), total - 1));
	rank %= total;
	UNROLLED
	for (k = 0; k < NP_WORKERS / 64; k++) {
		word = input_set(r, k);
		n = ones(word);
		if (rank < n) {
			found = word;
			at = 64 * k;
			break;
		}
		rank -= n;
	}
	return found ? at + place_of(found, rank) + 1 : 0; /* or it shrank meanwhile */
}

RUN_ONCE int steer_published(RUN_PARAMS, __u32 i)
{
	RUN_TAKE(r);
	return (int)published(&r, i);
}

static __always_inline __u32 published_one(struct run *r, __u32 i)
{
	return (__u32)steer_published(RUN_ARGS(r), i);
}

/* ------------------------------------------------------------------ all of them */

/* Whether the best of several candidates of the policy is selected now, and fit. */
static __always_inline bool compare(struct run *r)
{
	if (r->s->policy == NP_POLICY_CPU || r->s->policy == NP_POLICY_MAGLEV)
		weigh_own_once(r);
	else if (run_sees_queues(r) && r->s->policy == NP_POLICY_P2C_EXACT)
		weigh_two(r);
	else
		scan_all(r);
	return settle(r);
}

static __always_inline bool compares(const struct run *r)
{
	__u32 p = r->s->policy;

	return p == NP_POLICY_CPU || p == NP_POLICY_MAGLEV || p == NP_POLICY_P2C_EXACT ||
	       p == NP_POLICY_LEAST || p == NP_POLICY_LEAST_EXACT || p == NP_POLICY_WEIGHTED;
}

/* A draw from the published set; of none, from the roster. */
static __always_inline __u32 drawn_published(struct run *r, __u32 i)
{
	__u32 w1 = published_one(r, i);

	return w1 ? w1 : drawn(r, i);
}

static __always_inline __u32 first_choice(struct run *r)
{
	if (r->s->policy == NP_POLICY_RR)
		return in_turn(r);
	if (r->s->policy == NP_POLICY_P2C)
		return better_of_two(r);
	return r->s->policy == NP_POLICY_BITMAP ? drawn_published(r, 0) : drawn(r, 0);
}

/* Whether the policy's own choice is fit. */
static __always_inline bool choose_first(struct run *r)
{
	return compares(r) ? compare(r) : consider_first(r, first_choice(r));
}

/*
 * The @i-th choice after that is another draw of the same flow: never the neighbour, which would
 * inherit everything.
 */
static __always_inline __u32 next_choice(struct run *r, __u32 i)
{
	if (r->s->policy == NP_POLICY_RR)
		return in_turn(r);
	/* Before 5.14 there is no walk that would meet who is not in the set. */
	return r->s->policy == NP_POLICY_BITMAP && i < OLD_DRAWS / 2 ? drawn_published(r, i) :
								       drawn(r, i);
}

#endif
