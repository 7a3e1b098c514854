/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_trace: some decisions, with every input they used, for whoever reads np_trace
 *
 * Which flows: np_config.trace of 65536, by their hash. While it is 0, each input costs one
 * test of a word. The program for kernels before 5.14 tells nothing: its search is a loop without a
 * callback, which the verifier would have to follow through every one of these tests.
 */
#ifndef STEER_TRACE_H
#define STEER_TRACE_H

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1u << 20);
} np_trace SEC(".maps");

/* A decision while it is made. */
MAP(np_tracing, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct np_decision, 1, 0);

static __always_inline struct np_decision *tracing(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&np_tracing, &zero);
}

/* Verified and compiled once, not for every input: half of the program's instructions would be this. */
__attribute__((noinline)) int steer_note(__u32 kind, __u32 who, __u64 value)
{
	struct np_decision *d = tracing();
	__u32 i;

	if (!d)
		return 0;
	i = *(volatile __u32 *)&d->n;
	if (i < NP_TRACE_INPUTS) {
		struct np_input *in = &d->inputs[i & (NP_TRACE_INPUTS - 1)];

		in->kind = kind;
		in->who = who;
		in->value = value;
	}
	*(volatile __u32 *)&d->n = i + 1;
	return 0;
}

static __always_inline void note(struct run *r, enum np_input_kind kind, __u32 who, __u64 value)
{
	if (!is_old(r) && r->s->traced)
		steer_note(kind, who, value);
}

static __always_inline void trace_begin(struct run *r)
{
	__u32 of_65536 = *(volatile __u32 *)&r->cfg->trace;
	struct np_decision *d;

	if (is_old(r))
		return;
	r->s->traced = 0;
	if (!of_65536 || (rehash(r->s->hash, 0x7ace) & 0xffff) >= of_65536)
		return;
	d = tracing();
	if (!d)
		return;
	*(volatile __u32 *)&d->n = 0;
	r->s->traced = 1;
}

static __always_inline void trace_end(struct run *r, enum np_verdict verdict)
{
	struct np_decision *d;

	if (is_old(r) || !r->s->traced)
		return;
	d = tracing();
	if (!d)
		return;
	d->at_ns = bpf_ktime_get_coarse_ns();
	d->group = np_group;
	d->policy = r->s->policy;
	d->hash = r->s->hash;
	d->roster = r->s->roster;
	d->hang_ms = r->cfg->hang_ms;
	d->slow_start_ms = r->cfg->slow_start_ms;
	d->spill = r->cfg->spill;
	d->bound = r->cfg->bound;
	d->verdict = verdict;
	d->exact = sees_queues(r);
	d->fit = r->s->fit;
	d->worker1 = verdict == NP_VERDICT_SHED ? r->s->full1 : r->s->fit < FIT_NONE ? r->s->worker + 1 : 0;
	bpf_ringbuf_output(&np_trace, d, sizeof *d, 0);
}

#endif
