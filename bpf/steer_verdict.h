/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_verdict: what comes of a run, and where it is counted
 *
 * Each run has exactly one verdict: verdict_syn(), verdict_nonsyn() or verdict_migrated().
 */
#ifndef STEER_VERDICT_H
#define STEER_VERDICT_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"
#include "steer_maps.h"
#include "steer_run.h"
#include "steer_search.h"
#include "steer_trace.h"

static __always_inline struct np_slot_stats *verdict_slot_stats(const struct run *r)
{
	__u32 slot = NP_SLOT(r->group, r->s->worker);

	return r->s->fit < FIT_NONE ? bpf_map_lookup_elem(&np_worker_stats, &slot) : NULL;
}

/* For people to look at: half-open ones are seen nowhere else. */
static __always_inline void verdict_show_queue(struct run *r, struct np_slot_stats *s)
{
	if (!run_sees_queues(r))
		return;
	s->accept_queue = NP_QUEUE_ACCEPT(r->s->queue);
	s->syn_queue = NP_QUEUE_SYN(r->s->queue);
	s->seen_jiffies = bpf_jiffies64();
}

/* A full listener drops a SYN without a word, and the client tries again. SK_DROP is an RST. */
static __always_inline bool verdict_sheds(struct run *r)
{
	__u32 slot = NP_SLOT(r->group, r->s->full1 - 1);

	return r->cfg->on_exhausted == NP_EXHAUSTED_FULL_QUEUE && r->s->full1 &&
	       !bpf_sk_select_reuseport(r->md, &np_socks, &slot, 0);
}

static __always_inline bool verdict_refuses(const struct np_config *c)
{
	return c->on_exhausted == NP_EXHAUSTED_RST && c->rst_confirm == NP_RST_CONFIRM;
}

/*
 * Whether no worker can take a SYN. Half-open connections are no reason to say so: a flood of them
 * would have every client refused, and SYN cookies serve those.
 */
static __always_inline bool verdict_is_exhausted(const struct run *r)
{
	return !run_sees_queues(r) || r->s->fit != FIT_CROWDED;
}

static __always_inline int verdict_steered(struct run *r, struct np_slot_stats *s)
{
	trace_end(r, NP_VERDICT_STEERED);
	COUNT(r->stats->steered);
	if (run_sees_queues(r) && r->s->spent_ns)
		r->s->spent_ns = 0;
	if (s) {
		COUNT(s->steered);
		verdict_show_queue(r, s);
	}
	return SK_PASS;
}

static __always_inline int verdict_fallback(struct run *r, struct np_slot_stats *s)
{
	trace_end(r, NP_VERDICT_FALLBACK);
	COUNT(r->stats->fallback_hash);
	if (s) {
		COUNT(s->fallback);
		verdict_show_queue(r, s);
	} else {
		COUNT(r->stats->fallback_none);
	}
	return SK_PASS;
}

/* The one place where a SYN gets its verdict. */
static __always_inline int verdict_syn(struct run *r)
{
	struct np_slot_stats *s = verdict_slot_stats(r);

	COUNT(r->stats->syn_total);
	if (r->s->fit == FIT_READY)
		return verdict_steered(r, s);
	if (verdict_refuses(r->cfg) && verdict_is_exhausted(r)) {
		trace_end(r, NP_VERDICT_RST);
		COUNT(r->stats->rejected_rst);
		return SK_DROP;
	}
	if (run_sees_queues(r) && verdict_is_exhausted(r) && verdict_sheds(r)) {
		trace_end(r, NP_VERDICT_SHED);
		COUNT(r->stats->shed_full);
		return SK_PASS;
	}
	return verdict_fallback(r, s);
}

static __always_inline int verdict_nonsyn(struct run *r)
{
	struct np_slot_stats *s = verdict_slot_stats(r);

	COUNT(r->stats->nonsyn_total);
	if (s)
		COUNT(s->nonsyn);
	return SK_PASS;
}

/* The worker that loses the connection is known by the cookie of the listener that closed. */
static __always_inline int verdict_migrated(struct run *r, __u64 from_cookie, bool child)
{
	__u32 *slot = bpf_map_lookup_elem(&np_owners, &from_cookie), from;
	struct np_slot_stats *s = verdict_slot_stats(r);

	if (child)
		COUNT(r->stats->migrated_child);
	else
		COUNT(r->stats->migrated_request);
	if (s)
		COUNT(s->migrated_in);
	else
		COUNT(r->stats->migrated_none);
	if (slot) {
		from = *slot;
		s = bpf_map_lookup_elem(&np_worker_stats, &from);
		if (s)
			COUNT(s->migrated_out);
	}
	return SK_PASS;
}

#endif
