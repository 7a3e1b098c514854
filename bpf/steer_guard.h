/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_guard: how fit a worker is to get a connection, and whether it can be selected
 */
#ifndef STEER_GUARD_H
#define STEER_GUARD_H

#include <stdbool.h>

#include "steer_abi.h"
#include "steer_search.h"
#include "steer_source.h"

/* ns since then; 0 if that is of a later tick. The clock is read once a run at most, and seldom at
 * all. */
static __always_inline __u64 guard_elapsed(struct run *r, __u64 since_ns)
{
	__u64 now;

	if (!r->s->now)
		r->s->now = input_now(r);
	now = r->s->now;
	return now > since_ns ? now - since_ns : 0;
}

/* Whether a worker busy since then hangs. */
static __always_inline bool guard_is_hung(struct run *r, __u64 busy_since_ns)
{
	__u64 limit = (__u64)r->cfg->hang_ms * 1000000;

	return busy_since_ns && limit && guard_elapsed(r, busy_since_ns) > limit;
}

/* How fit worker @w is, by its words alone. */
static __always_inline __u64 guard_fit(struct run *r, __u32 w)
{
	__u64 state = input_state(r, w);

	if (state != NP_WORKER_READY) {
		COUNT(r->stats->skipped_away);
		return 4 * state;
	}
	if (!guard_is_hung(r, input_busy(r, w)))
		return FIT_READY;
	COUNT(r->stats->skipped_hung);
	return FIT_HUNG;
}

/*
 * Whether one SYN more is one too many. The kernel compares the accept queue and the half-open ones
 * with the backlog one by one; a burst before any ACK is in the second and will be in the first.
 */
static __always_inline bool guard_is_full(__u64 queue)
{
	return NP_QUEUE_ACCEPT(queue) + NP_QUEUE_SYN(queue) > NP_QUEUE_BACKLOG(queue);
}

/* A listener full by half-open connections alone has room for one that comes with a SYN cookie. */
static __always_inline enum fit guard_fit_when_full(__u64 queue)
{
	return NP_QUEUE_ACCEPT(queue) > NP_QUEUE_BACKLOG(queue) ? FIT_FULL : FIT_CROWDED;
}

/* Whether the kernel would drop it: some listeners that guard_is_full() have room by its rule. */
static __always_inline bool guard_would_drop(__u64 queue)
{
	return NP_QUEUE_ACCEPT(queue) > NP_QUEUE_BACKLOG(queue) ||
	       NP_QUEUE_SYN(queue) >= NP_QUEUE_BACKLOG(queue);
}

/* Whether the worker takes nothing out of its queue: this finds one that publishes nothing, too. */
static __always_inline bool guard_is_stuck(struct run *r, __u32 w)
{
	__u64 limit = (__u64)r->cfg->hang_ms * 1000000;

	if (!limit)
		return false;
	r->s->waited = input_waited(r, w);
	return r->s->waited > limit;
}

/* How fit worker @w is by what waits at its listener, which is selected. */
static __always_inline __u64 guard_fit_at_queue(struct run *r, __u32 w, __u64 queue)
{
	__u64 fit = FIT_READY;

	r->s->waited = 0;
	if (guard_is_full(queue)) {
		COUNT(r->stats->skipped_full);
		if (guard_would_drop(queue))
			r->s->full1 = w + 1;
		fit = guard_fit_when_full(queue);
	}
	if (fit < FIT_HUNG && NP_QUEUE_ACCEPT(queue) && guard_is_stuck(r, w)) {
		COUNT(r->stats->skipped_hung);
		fit = FIT_HUNG;
	}
	return fit;
}

/*
 * guard_try() - select worker @w on trial, as fit as @fit by its words
 *
 * s->worker and s->fit are of the selected one afterwards, whichever that is.
 * Return: whether it is this one.
 */
static __always_inline bool guard_try(struct run *r, __u32 w, __u64 fit)
{
	__u64 queue, at_queue;

	if (!input_select(r, w)) {
		COUNT(r->stats->skipped_empty);
		return false;
	}
	if (run_sees_queues(r)) {
		queue = input_queue(r, w);
		at_queue = guard_fit_at_queue(r, w, queue);
		if (fit < at_queue)
			fit = at_queue;
		if (r->s->fit < fit && input_select(r, r->s->worker))
			return false;
		r->s->queue = queue;
	}
	r->s->fit = fit;
	r->s->worker = w;
	return true;
}

/* Whether @w1 ends the search: it is fit, and now selected. */
static __always_inline bool guard_consider(struct run *r, __u32 w1)
{
	__u32 w = w1 - 1;
	__u64 fit;

	if (w >= NP_WORKERS)
		return false;
	fit = guard_fit(r, w);
	return fit < r->s->fit && guard_try(r, w, fit) && r->s->fit == FIT_READY;
}

RUN_ONCE int steer_consider(RUN_PARAMS, __u32 w1)
{
	RUN_TAKE(r);
	return guard_consider(&r, w1);
}

static __always_inline bool guard_consider_once(struct run *r, __u32 w1)
{
	return steer_consider(RUN_ARGS(r), w1);
}

/* The first is the last, nearly always. At level 4 a copy of its own doubles what there is to
 * verify. */
static __always_inline bool guard_consider_first(struct run *r, __u32 w1)
{
	return run_sees_queues(r) ? guard_consider_once(r, w1) : guard_consider(r, w1);
}

#endif
