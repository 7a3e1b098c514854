/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_choose: which worker a connection gets, given what is read on the way
 *
 *   1. policy_choose_first() and policy_next() name the policy's workers, best first:
 *      steer_policy.h.
 *   2. guard_fit() judges each, by its words alone: ready, hung, draining, out: steer_guard.h.
 *   3. One that is better than what is selected so far is selected on trial: it may have no
 *      listener in this group. At level 4 the listener's own queues are read then, and may be full.
 *   4. The first fit one ends the search. Else the least bad one found stays selected.
 *   5. A search in which nobody was fit is not repeated for every SYN that comes: for a moment a
 *      few draws have to do. A SYN flood fills every listener, and would pay a look at each worker
 *      with each packet.
 *
 * The kernel's program and its replay in userspace are compiled from this file. They differ in
 * where the inputs come from (steer_source.h): the program reads maps, clocks and sockets, the
 * replay what the program has noted (np_trace).
 *
 * A trial cannot be undone: the last successful select is what SK_PASS means. So a candidate is
 * tried only if it is better than the one that is selected already, and if it turns out to be
 * worse, the former one is selected once more.
 */
#ifndef STEER_CHOOSE_H
#define STEER_CHOOSE_H

#include <stdbool.h>

#include "steer_abi.h"
#include "steer_guard.h"
#include "steer_policy.h"
#include "steer_search.h"
#include "steer_source.h"

/* 2^k - 1 that is not less than @n - 1. */
static __always_inline __u32 choose_mask(__u32 n)
{
	n--;
	n |= n >> 1;
	n |= n >> 2;
	n |= n >> 4;
	return n & (NP_WORKERS - 1);
}

/*
 * choose_walk_step() - the next worker of the whole roster, in an order of the flow's own
 *
 * An odd stride through the next power of two meets each once, and some entries past the
 * roster's end, which are 0.
 * Return: whether the walk is over.
 */
static __always_inline bool choose_walk_step(struct run *r)
{
	__u32 mask = choose_mask(r->s->roster), i = r->s->step++;

	if (i > mask)
		return true; /* and no branch of its own for i >= roster: see input_roster() */
	i = rehash(r->s->hash, DRAWS) + i * (rehash(r->s->hash, DRAWS + 1) | 1);
	return guard_consider_once(r, input_roster(r, i & mask));
}

RUN_TURN(choose_walk_turn)
{
	return choose_walk_step(r);
}

/*
 * choose_begin() - whether a few draws have to do, under whatever policy
 *
 * Small rosters are walked every time: that costs no more than choosing well does. Noted as "hash",
 * which it is.
 */
static __always_inline void choose_begin(struct run *r)
{
	if (!run_sees_queues(r))
		return;
	r->s->brief1 = r->s->roster > SCANNED_MAX ? input_spent(r) : 0;
	if (r->s->brief1)
		r->s->policy = NP_POLICY_HASH;
}

/* After the walk, if that was made. */
static __always_inline void choose_remember(struct run *r)
{
	if (!run_sees_queues(r) || r->s->roster <= SCANNED_MAX || r->s->fit == FIT_READY)
		return;
	if (!r->s->now)
		r->s->now = input_now(r);
	r->s->spent_ns = r->s->now;
	r->s->refuge1 = r->s->fit < FIT_FULL ? r->s->worker + 1 : 0;
}

static __always_inline void choose(struct run *r)
{
	__u32 i;

	choose_begin(r);
	if (r->s->policy == NP_POLICY_RANDOM)
		r->s->hash = input_random(r);
	if (r->s->policy == NP_POLICY_MAGLEV)
		r->s->hash = input_client(r);
	if (!r->s->roster || policy_choose_first(r))
		return;
	COUNT(r->stats->retried);
	UNROLLED
	for (i = 1; i < (run_is_old(r) ? OLD_DRAWS : DRAWS); i++)
		if (guard_consider_once(r, policy_next(r, i)))
			return;
	if (run_is_old(r))
		return;
	if (run_sees_queues(r) && r->s->brief1) {
		guard_consider_once(r, r->s->brief1 - 1); /* nothing, where there is none */
		return;
	}
	run_turns(r, choose_walk_turn);
	choose_remember(r);
}

/* Else what comes of a choice would be verified after each of the ways to it. */
RUN_ONCE int steer_choose(RUN_PARAMS)
{
	RUN_TAKE(r);
	choose(&r);
	return 0;
}

#endif
