/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_trace: some decisions, with every input they used, in np_trace
 *
 * Which flows: np_config.trace of 65536, by their hash. While it is 0, each input costs one test of
 * a word. Readers move trace_until_ns on for as long as they live; the first SYN past it sets the
 * word to 0, so that of a reader that was killed nothing is left. The program for kernels before
 * 5.14 tells nothing: its search is a loop without a callback, which the verifier would have to
 * follow through every one of these tests.
 */
#ifndef STEER_TRACE_H
#define STEER_TRACE_H

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "steer_abi.h"
#include "steer_maps.h"
#include "steer_run.h"
#include "steer_search.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, NP_TRACE_BYTES);
} np_trace SEC(".maps");

/* A decision while it is made. */
MAP(np_tracing, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct np_decision, 1, 0);

static __always_inline struct np_decision *trace_decision(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&np_tracing, &zero);
}

/* Verified and compiled once, not for every input: half of the program's instructions would be
 * this. */
RUN_ONCE int steer_note(__u32 kind, __u32 who, __u64 value)
{
	struct np_decision *d = trace_decision();
	__u32 i;

	if (!d)
		return 0;
	i = READ_ONCE(d->n);
	if (i < NP_TRACE_INPUTS) {
		struct np_input *in = &d->inputs[i & (NP_TRACE_INPUTS - 1)];

		in->kind = kind;
		in->who = who;
		in->value = value;
	}
	WRITE_ONCE(d->n, i + 1);
	return 0;
}

static __always_inline void trace_note(struct run *r, enum np_input_kind kind, __u32 who,
				       __u64 value)
{
	if (!run_is_old(r) && r->s->traced)
		steer_note(kind, who, value);
}

/* A reader that moves the end on meanwhile sets the word again: it does so each time. */
static __always_inline bool trace_is_over(struct run *r)
{
	struct np_config *cfg = (struct np_config *)r->cfg;

	if (bpf_ktime_get_coarse_ns() < READ_ONCE(cfg->trace_until_ns))
		return false;
	WRITE_ONCE(cfg->trace, 0);
	return true;
}

static __always_inline void trace_count_lost(void)
{
	__u32 zero = 0;
	struct np_service_ctl *ctl = bpf_map_lookup_elem(&np_service, &zero);

	if (ctl)
		__sync_fetch_and_add(&ctl->trace_lost, 1);
}

static __always_inline void trace_begin(struct run *r)
{
	__u32 of_65536 = READ_ONCE(r->cfg->trace), draw;
	struct np_decision *d;

	if (run_is_old(r))
		return;
	r->s->traced = 0;
	if (!of_65536 || trace_is_over(r))
		return;
	draw = rehash(r->s->hash, 0x7ace) & 0xffff;
	if (draw >= of_65536)
		return;
	d = trace_decision();
	if (!d)
		return;
	d->draw = draw; /* now: a policy may put another hash in the place of the flow's */
	WRITE_ONCE(d->n, 0);
	r->s->traced = 1;
}

static __always_inline void trace_end(struct run *r, enum np_verdict verdict)
{
	struct np_decision *d;

	if (run_is_old(r) || !r->s->traced)
		return;
	d = trace_decision();
	if (!d)
		return;
	d->at_ns = bpf_ktime_get_coarse_ns();
	d->group = r->group;
	d->policy = r->s->policy;
	d->hash = r->s->hash;
	d->roster = r->s->roster;
	d->hang_ms = r->cfg->hang_ms;
	d->slow_start_ms = r->cfg->slow_start_ms;
	d->spill = r->cfg->spill;
	d->bound = r->cfg->bound;
	d->verdict = verdict;
	d->queues = run_sees_queues(r);
	d->fit = r->s->fit;
	d->worker1 = verdict == NP_VERDICT_SHED ? r->s->full1 :
		     r->s->fit < FIT_NONE       ? r->s->worker + 1 :
						  0;
	if (bpf_ringbuf_output(&np_trace, d, sizeof *d, 0) < 0)
		trace_count_lost();
}

#endif
