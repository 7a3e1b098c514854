/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_policy: the worker that each policy wants for a flow
 *
 * first_choice() is what it wants most, next_choice() what it wants where the guard says no. The exact
 * policies see more than one candidate's queues before they decide: weigh(), settle().
 */
#ifndef STEER_POLICY_H
#define STEER_POLICY_H

#include "steer_guard.h"

/* rr advances for each candidate: a worker passed over costs its neighbour nothing extra. */
static __always_inline __u32 in_turn(struct run *r)
{
	return input_roster(r, (__u32)(input_turn(r) % r->s->roster));
}

#define WEIGHT_DEFAULT 100

/*
 * Connections for each unit of weight, @queued ones and one that is about to come included: an empty worker
 * counts its weight too.
 */
static __always_inline __u64 load_with(struct run *r, __u32 w, __u32 queued)
{
	__u64 in = input_load(r, w), weight = in >> 40;

	return ((((in & (((__u64)1 << 40) - 1)) + queued + 1) << 20) / (weight ? weight : WEIGHT_DEFAULT));
}

static __always_inline __u64 load_of(struct run *r, __u32 w1)
{
	return load_with(r, w1 - 1, 0);
}

static __always_inline __u32 drawn(struct run *r, __u32 i)
{
	__u32 w1 = input_roster(r, below(rehash(r->s->hash, i), r->s->roster));

	return w1 <= NP_WORKERS ? w1 : 0;
}

/* The less loaded one of two draws. */
static __always_inline __u32 better_of_two(struct run *r)
{
	__u32 a = drawn(r, 0), b = drawn(r, 1);

	if (!a || !b || a == b)
		return a ? a : b;
	return load_of(r, b) < load_of(r, a) ? b : a;
}

/*
 * weigh() - a candidate of an exact policy: its queues are read too
 *
 * They can be read of the selected listener alone, so each candidate is tried; settle() goes back to the best.
 */
static __always_inline void weigh(struct run *r, __u32 w1)
{
	__u32 w = w1 - 1;
	__u64 load;

	if (w >= NP_WORKERS || fit_of(r, w) != FIT_READY || !try_worker(r, w, FIT_READY) || r->s->fit != FIT_READY)
		return;
	load = load_with(r, w, r->s->queued);
	if (!r->s->best || load < r->s->least) {
		r->s->best = w1;
		r->s->least = load;
	}
}

/* Whether the best of those that were weighed is selected now. */
static __always_inline bool settle(struct run *r)
{
	__u32 w = r->s->best - 1;

	if (r->s->best && w != r->s->worker && try_select(r, w))
		r->s->worker = w;
	return r->s->fit == FIT_READY;
}

/*
 * least_step() - the next worker of the roster, from a place of the flow's own on
 *
 * Of several with the same load the first one met is taken: from different places, different ones.
 * Return: whether the scan is over.
 */
static __always_inline bool least_step(struct run *r)
{
	__u32 n = r->s->roster, i = r->s->step++, w1;
	__u64 load;

	if (i >= n)
		return true;
	i += below(rehash(r->s->hash, 0), n);
	w1 = input_roster(r, (i < n ? i : i - n) & (NP_WORKERS - 1));
	if (sees_queues(r) && r->s->policy == NP_POLICY_LEAST_EXACT) {
		weigh_one(r, w1);
		return false;
	}
	if (!w1 || w1 > NP_WORKERS || fit_of(r, w1 - 1) != FIT_READY)
		return false;
	load = load_of(r, w1);
	if (!r->s->best || load < r->s->least) {
		r->s->best = w1;
		r->s->least = load;
	}
	return false;
}

/* Before 5.13 there is no callback to scan with: two draws have to do. */
static __always_inline __u32 least_loaded(struct run *r)
{
	if (r->old)
		return better_of_two(r);
	scan(r);
	r->s->step = 0;
	return r->s->best;
}

/* Whether an exact policy has found a fit one. */
static __always_inline bool exact_choice(struct run *r)
{
	__u32 a, b;

	if (r->s->policy == NP_POLICY_LEAST_EXACT) {
		least_loaded(r);
	} else {
		a = drawn(r, 0);
		b = drawn(r, 1);
		weigh_one(r, a);
		if (b != a)
			weigh_one(r, b);
	}
	return settle(r);
}

/* What the policy wants. A CPU that no worker serves falls to the hash. */
static __always_inline __u32 first_choice(struct run *r)
{
	__u32 w1 = r->s->policy == NP_POLICY_CPU ? input_cpu(r) : 0;

	if (w1)
		return w1;
	if (r->s->policy == NP_POLICY_RR)
		return in_turn(r);
	if (r->s->policy == NP_POLICY_P2C)
		return better_of_two(r);
	if (r->s->policy == NP_POLICY_LEAST)
		return least_loaded(r);
	return input_roster(r, below(rehash(r->s->hash, 0), r->s->roster));
}

/*
 * The @i-th choice after that is another draw of the same flow: never the neighbour, which would
 * inherit everything.
 */
static __always_inline __u32 next_choice(struct run *r, __u32 i)
{
	if (r->s->policy == NP_POLICY_RR)
		return in_turn(r);
	return input_roster(r, below(rehash(r->s->hash, i), r->s->roster));
}

#endif
