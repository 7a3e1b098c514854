/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_input: what the program reads on the way to a choice: maps, clocks, the packet, the
 * listeners
 *
 * Each input is noted where the flow is traced; a replay has functions of the same names that read
 * the notes (steer_record.h). Members of the service write most of these maps, and garbage may be
 * in any of them: no value is an index or a divisor before it has been bounded.
 */
#ifndef STEER_INPUT_H
#define STEER_INPUT_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer_abi.h"
#include "steer_maps.h"
#include "steer_queue.h"
#include "steer_run.h"
#include "steer_search.h"
#include "steer_trace.h"

static __always_inline __u32 input_roster(struct run *r, __u32 i)
{
	__u32 slot = NP_SLOT(r->group, i);
	__u32 *at = bpf_map_lookup_elem(&np_roster, &slot), w1;

	w1 = at ? READ_ONCE(*at) : 0;
	trace_note(r, NP_INPUT_ROSTER, i, w1);
	return w1;
}

static __always_inline __u32 input_cpu(struct run *r)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u32 *at = bpf_map_lookup_elem(&np_cpu2worker, &cpu), w1;

	w1 = at ? READ_ONCE(*at) : 0;
	trace_note(r, NP_INPUT_CPU, cpu, w1);
	return w1;
}

static __always_inline __u64 input_turn(struct run *r)
{
	__u32 g = r->group;
	struct np_cursor *c = bpf_map_lookup_elem(&np_cursor, &g);
	__u64 n;

	if (!c)
		return 0;
	if (run_is_old(r)) {
		/* No atomic returns a value before 5.12: two CPUs may read the same turn. */
		n = READ_ONCE(c->next);
		__sync_fetch_and_add(&c->next, 1);
	} else {
		n = __sync_fetch_and_add(&c->next, 1);
	}
	trace_note(r, NP_INPUT_TURN, 0, n);
	return n;
}

static __always_inline __u64 input_now(struct run *r)
{
	__u64 now = run_is_old(r) ? bpf_ktime_get_ns() : bpf_ktime_get_coarse_ns();

	trace_note(r, NP_INPUT_NOW, 0, now);
	return now;
}

static __always_inline __u64 input_state(struct run *r, __u32 w)
{
	struct np_worker_ctl *ctl = bpf_map_lookup_elem(&np_ctl, &w);
	__u64 state = ctl ? READ_ONCE(ctl->state) : NP_WORKER_OUT;

	trace_note(r, NP_INPUT_STATE, w, state);
	return state;
}

static __always_inline __u64 input_busy(struct run *r, __u32 w)
{
	struct np_worker_line *line = bpf_map_lookup_elem(&np_workers, &w);
	__u64 since = line ? READ_ONCE(line->busy_since_ns) : 0;

	trace_note(r, NP_INPUT_BUSY, w, since);
	return since;
}

static __always_inline __u32 input_random(struct run *r)
{
	__u32 bits = bpf_get_prandom_u32();

	trace_note(r, NP_INPUT_RANDOM, 0, bits);
	return bits;
}

/* LOAD_*() */
static __always_inline __u64 input_load_of(__u32 w)
{
	struct np_worker_line *line = bpf_map_lookup_elem(&np_workers, &w);
	struct np_worker_ctl *ctl = bpf_map_lookup_elem(&np_ctl, &w);
	__u64 load = line ? LOAD_CONNS(READ_ONCE(line->conns)) : 0;

	if (ctl)
		load |= LOAD_WEIGHT((__u64)READ_ONCE(ctl->weight) << 40) << 40;
	if (line && READ_ONCE(line->counted))
		load |= LOAD_COUNTED;
	return load;
}

static __always_inline __u64 input_load(struct run *r, __u32 w)
{
	__u64 load = input_load_of(w);

	trace_note(r, NP_INPUT_LOAD, w, load);
	return load;
}

static __always_inline __u64 input_since(struct run *r, __u32 w)
{
	struct np_worker_ctl *ctl = bpf_map_lookup_elem(&np_ctl, &w);
	__u64 since = ctl ? READ_ONCE(ctl->ready_since_ns) : 0;

	trace_note(r, NP_INPUT_SINCE, w, since);
	return since;
}

RUN_ONCE __u64 steer_input_set(RUN_PARAMS, __u32 word)
{
	__u32 zero = 0;
	struct np_service_ctl *service = bpf_map_lookup_elem(&np_service, &zero);
	__u64 set = service && word < NP_WORKERS / 64 ? READ_ONCE(service->set[word]) : 0;

	RUN_TAKE(r);
	trace_note(&r, NP_INPUT_SET, word, set);
	return set;
}

static __always_inline __u64 input_set(struct run *r, __u32 word)
{
	return steer_input_set(RUN_ARGS(r), word);
}

#define IPV4_SADDR 12 /* offsets of the source in the header */
#define IPV6_SADDR 8

/* What cannot be read leaves zeroes: the same for every client, and so for one worker, until that
 * is full. */
static __always_inline __u32 input_client(struct run *r)
{
	__u32 addr[4] = { 0 }, hash = r->cfg->seed, i;

	if (r->md->eth_protocol == bpf_htons(ETH_P_IPV6))
		bpf_skb_load_bytes_relative(r->md, IPV6_SADDR, addr, sizeof addr,
					    BPF_HDR_START_NET);
	else
		bpf_skb_load_bytes_relative(r->md, IPV4_SADDR, addr, sizeof addr[0],
					    BPF_HDR_START_NET);
	for (i = 0; i < 4; i++)
		hash = rehash(hash ^ addr[i], i + 1);
	trace_note(r, NP_INPUT_CLIENT, 0, hash);
	return hash;
}

RUN_ONCE int steer_input_table(RUN_PARAMS, __u32 i)
{
	__u32 g, w1 = 0, which;
	struct np_group *at;
	struct np_table *table;

	RUN_TAKE(r);
	i &= NP_TABLE - 1;
	g = r.group;
	at = bpf_map_lookup_elem(&np_groups, &g);
	if (at) {
		which = READ_ONCE(at->table) - 1;
		g = 2 * g + which;
		table = which < 2 ? bpf_map_lookup_elem(&np_table, &g) : NULL;
		w1 = table ? READ_ONCE(table->w1[i]) : 0;
	}
	trace_note(&r, NP_INPUT_TABLE, i, w1);
	return (int)w1;
}

static __always_inline __u32 input_table(struct run *r, __u32 i)
{
	return (__u32)steer_input_table(RUN_ARGS(r), i);
}

/*
 * Each run adds one worker's words, in turn: the mean is as old as the group's workers are many. A
 * worker that takes nothing has no share in it.
 */
static __always_inline __u64 input_mean(struct run *r)
{
	__u32 slot = NP_SLOT(r->group, r->s->turn++ & (NP_WORKERS - 1)), w;
	__u32 *at = bpf_map_lookup_elem(&np_roster, &slot);
	struct np_worker_ctl *ctl;
	__u64 load;

	w = at ? READ_ONCE(*at) - 1 : NP_WORKERS;
	ctl = bpf_map_lookup_elem(&np_ctl, &w);
	if (ctl && READ_ONCE(ctl->state) == NP_WORKER_READY) {
		load = input_load_of(w);
		r->s->conns += LOAD_CONNS(load) + 1;
		r->s->weights += LOAD_WEIGHT(load) ? LOAD_WEIGHT(load) : WEIGHT_DEFAULT;
	}
	if (r->s->turn >= r->s->roster) {
		r->s->mean = r->s->weights ? r->s->conns * LOAD_UNIT / r->s->weights : 0;
		r->s->turn = 0;
		r->s->conns = 0;
		r->s->weights = 0;
	}
	trace_note(r, NP_INPUT_MEAN, 0, r->s->mean);
	return r->s->mean;
}

/* So long, or until one of the draws finds room: a tick of the slowest clock but one. */
#define SPENT_NS (4ull * 1000000)

static __always_inline __u32 input_spent(struct run *r)
{
	__u64 at = r->s->spent_ns;
	__u32 spent = 0;

	if (at && bpf_ktime_get_coarse_ns() - at < SPENT_NS)
		spent = 1 + r->s->refuge1;
	else if (at)
		r->s->spent_ns = 0;
	trace_note(r, NP_INPUT_SPENT, 0, spent);
	return spent;
}

static __always_inline bool input_select(struct run *r, __u32 w)
{
	__u32 slot = NP_SLOT(r->group, w);
	bool there = !bpf_sk_select_reuseport(r->md, &np_socks, &slot, 0);

	trace_note(r, NP_INPUT_SELECT, w, there);
	return there;
}

static __always_inline __u64 input_queue(struct run *r, __u32 w)
{
	__u64 queue = queue_of_selected(r->md);

	trace_note(r, NP_INPUT_QUEUE, w, queue);
	return queue;
}

/*
 * Jiffies since @flow was found to be the first of worker @w's queue; 0: it is found so now. The
 * note is written only where a queue is old, so that no others share a line that changes.
 */
static __always_inline __u32 input_first_for(struct run *r, __u32 w, __u32 flow, __u32 now)
{
	__u32 slot = NP_SLOT(r->group, w);
	struct np_head *head = bpf_map_lookup_elem(&np_heads, &slot);

	if (!head)
		return 0;
	if (READ_ONCE(head->flow) == flow)
		return now - READ_ONCE(head->since);
	WRITE_ONCE(head->flow, flow);
	WRITE_ONCE(head->since, now);
	return 0;
}

/*
 * Jiffies for which the queue of the listener that was just selected has not moved, as far as that
 * is known
 *
 * The age of the first one says so for half of hang_ms alone. For the other half it has to stay the
 * first: a queue that is longer than a worker can serve in hang_ms is old and moves on, and so does
 * one that has just come out of a listener that closed.
 */
static __always_inline __u32 input_stuck(struct run *r, __u32 w)
{
	__u64 head = queue_head_of_selected(r->md);
	__u32 now, age, half, known;

	if (!head || !r->cfg->tick_ns)
		return 0;
	now = (__u32)bpf_jiffies64();
	age = now - QUEUE_HEAD_STAMP(head);
	half = (__u32)(r->cfg->hang_ms * 500000ull / r->cfg->tick_ns);
	if ((__s32)age < 0)
		return 0;
	if (age <= half)
		return age;
	known = half + input_first_for(r, w, QUEUE_HEAD_FLOW(head), now);
	return known < age ? known : age;
}

static __always_inline __u64 input_waited(struct run *r, __u32 w)
{
	__u64 waited = (__u64)input_stuck(r, w) * r->cfg->tick_ns;

	trace_note(r, NP_INPUT_WAITED, w, waited);
	return waited;
}

#endif
