/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * steer_record: what a replay in userspace reads on the way to a choice: the record of a decision,
 * one input after another
 *
 * In the place of steer_input.h and steer_run.h. It is of level 3 or 4: level 2 has no records.
 */
#ifndef STEER_RECORD_H
#define STEER_RECORD_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "steer_abi.h"
#include "steer_search.h"

struct replay {
	const struct np_decision *d;
	__u32 next;
	bool strayed; /* it asked for what the program did not read */
	/* not NULL: there is no record yet, and this tells each input: it becomes @made */
	__u64 (*look)(void *arg, enum np_input_kind kind, __u32 who);
	void *arg;
	struct np_decision *made;
};

static inline __u64 record_make(struct replay *p, enum np_input_kind kind, __u32 who)
{
	__u64 value = p->look(p->arg, kind, who);

	if (p->next < NP_TRACE_INPUTS)
		p->made->inputs[p->next] = (struct np_input){ kind, who, value };
	p->next++;
	return value;
}

static inline __u64 record_take(struct run *r, enum np_input_kind kind, bool any, __u32 who)
{
	struct replay *p = r->replay;
	const struct np_input *in = &p->d->inputs[p->next];

	if (p->look)
		return record_make(p, kind, who);
	if (p->next >= p->d->n || in->kind != kind || (!any && in->who != who)) {
		p->strayed = true;
		return 0;
	}
	p->next++;
	return in->value;
}

static inline __u32 input_roster(struct run *r, __u32 i)
{
	return (__u32)record_take(r, NP_INPUT_ROSTER, false, i);
}

static inline __u32 input_cpu(struct run *r)
{
	return (__u32)record_take(r, NP_INPUT_CPU, true, 0);
}

static inline __u64 input_turn(struct run *r)
{
	return record_take(r, NP_INPUT_TURN, true, 0);
}

static inline __u64 input_now(struct run *r)
{
	return record_take(r, NP_INPUT_NOW, true, 0);
}

static inline __u64 input_state(struct run *r, __u32 w)
{
	return record_take(r, NP_INPUT_STATE, false, w);
}

static inline __u64 input_busy(struct run *r, __u32 w)
{
	return record_take(r, NP_INPUT_BUSY, false, w);
}

static inline __u32 input_random(struct run *r)
{
	return (__u32)record_take(r, NP_INPUT_RANDOM, true, 0);
}

static inline __u64 input_load(struct run *r, __u32 w)
{
	return record_take(r, NP_INPUT_LOAD, false, w);
}

static inline __u64 input_since(struct run *r, __u32 w)
{
	return record_take(r, NP_INPUT_SINCE, false, w);
}

static inline __u64 input_set(struct run *r, __u32 word)
{
	return record_take(r, NP_INPUT_SET, false, word);
}

static inline __u32 input_client(struct run *r)
{
	return (__u32)record_take(r, NP_INPUT_CLIENT, true, 0);
}

static inline __u32 input_table(struct run *r, __u32 i)
{
	return (__u32)record_take(r, NP_INPUT_TABLE, false, i & (NP_TABLE - 1));
}

static inline __u64 input_mean(struct run *r)
{
	return record_take(r, NP_INPUT_MEAN, true, 0);
}

static inline __u32 input_spent(struct run *r)
{
	return (__u32)record_take(r, NP_INPUT_SPENT, true, 0);
}

static inline bool input_select(struct run *r, __u32 w)
{
	return record_take(r, NP_INPUT_SELECT, false, w);
}

static inline __u64 input_queue(struct run *r, __u32 w)
{
	return record_take(r, NP_INPUT_QUEUE, false, w);
}

static inline __u64 input_waited(struct run *r, __u32 w)
{
	return record_take(r, NP_INPUT_WAITED, false, w);
}

static inline bool run_sees_queues(const struct run *r)
{
	return r->replay->d->queues;
}

static inline bool run_is_old(const struct run *r)
{
	return false;
}

#define RUN_TURN(name) static long name(struct run *r)

static inline void run_turns(struct run *r, long (*turn)(struct run *))
{
	while (!r->replay->strayed && !turn(r))
		;
}

/* No verifier looks at these. */
#define RUN_ONCE    static inline
#define RUN_PARAMS  struct run *run_
#define RUN_ARGS(r) (r)
#define RUN_TAKE(r) struct run r = *run_

#endif
