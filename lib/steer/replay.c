/* SPDX-License-Identifier: BSD-2-Clause */
/* replay: inputs come from the record, one after another. */
#include "steer/replay.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "steer_choose.h"

struct replay {
	const struct np_decision *d;
	__u32 next;
	bool strayed; /* it asked for what the program did not read */
};

static __u64 take(struct run *r, enum np_input_kind kind, bool any, __u32 who)
{
	struct replay *p = r->replay;
	const struct np_input *in = &p->d->inputs[p->next];

	if (p->next >= p->d->n || in->kind != kind || (!any && in->who != who)) {
		p->strayed = true;
		return 0;
	}
	p->next++;
	return in->value;
}

static __u32 input_roster(struct run *r, __u32 i)
{
	return (__u32)take(r, NP_INPUT_ROSTER, false, i);
}

static __u32 input_cpu(struct run *r)
{
	return (__u32)take(r, NP_INPUT_CPU, true, 0);
}

static __u64 input_turn(struct run *r)
{
	return take(r, NP_INPUT_TURN, true, 0);
}

static __u64 input_now(struct run *r)
{
	return take(r, NP_INPUT_NOW, true, 0);
}

static __u64 input_state(struct run *r, __u32 w)
{
	return take(r, NP_INPUT_STATE, false, w);
}

static __u64 input_busy(struct run *r, __u32 w)
{
	return take(r, NP_INPUT_BUSY, false, w);
}

static __u32 input_random(struct run *r)
{
	return (__u32)take(r, NP_INPUT_RANDOM, true, 0);
}

static __u64 input_load(struct run *r, __u32 w)
{
	return take(r, NP_INPUT_LOAD, false, w);
}

static __u64 input_since(struct run *r, __u32 w)
{
	return take(r, NP_INPUT_SINCE, false, w);
}

static __u64 input_set(struct run *r, __u32 word)
{
	return take(r, NP_INPUT_SET, false, word);
}

static __u32 input_client(struct run *r)
{
	return (__u32)take(r, NP_INPUT_CLIENT, true, 0);
}

static __u32 input_table(struct run *r, __u32 i)
{
	return (__u32)take(r, NP_INPUT_TABLE, false, i & (NP_TABLE - 1));
}

static __u64 input_mean(struct run *r)
{
	return take(r, NP_INPUT_MEAN, true, 0);
}

static __u32 input_spent(struct run *r)
{
	return (__u32)take(r, NP_INPUT_SPENT, true, 0);
}

static bool try_select(struct run *r, __u32 w)
{
	return take(r, NP_INPUT_SELECT, false, w);
}

static bool sees_queues(const struct run *r)
{
	return r->replay->d->exact;
}

static bool is_old(const struct run *r)
{
	return false;
}

static __u64 input_queue(struct run *r, __u32 w)
{
	return take(r, NP_INPUT_QUEUE, false, w);
}

static bool consider_one(struct run *r, __u32 w1)
{
	return consider(r, w1);
}

static bool consider_first(struct run *r, __u32 w1)
{
	return consider(r, w1);
}

static void weigh_one(struct run *r, __u32 w1)
{
	weigh(r, w1);
}

static void weigh_own_once(struct run *r)
{
	weigh_own(r);
}

static __u32 published_one(struct run *r, __u32 i)
{
	return published(r, i);
}

static void walk(struct run *r)
{
	while (!r->replay->strayed && !walk_step(r))
		;
}

static void scan(struct run *r)
{
	while (!r->replay->strayed && !scan_step(r))
		;
}

int replay_agrees(const struct np_decision *d)
{
	struct search s = {
		.fit = FIT_NONE, .hash = d->hash, .roster = d->roster, .policy = d->policy
	};
	struct np_config c = { .hang_ms = d->hang_ms,
			       .slow_start_ms = d->slow_start_ms,
			       .spill = d->spill,
			       .bound = d->bound };
	struct np_verdicts v = { 0 };
	struct replay p = { .d = d };
	struct run r = { .cfg = &c, .stats = &v, .s = &s, .replay = &p };
	__u32 worker1;

	if (d->n > NP_TRACE_INPUTS)
		return -ENODATA;
	choose(&r);
	if (p.strayed || p.next != d->n)
		return -EBADMSG;
	worker1 = d->verdict == NP_VERDICT_SHED ? s.full1 : s.fit < FIT_NONE ? s.worker + 1 : 0;
	return worker1 == d->worker1 && s.fit == d->fit ? 0 : -EILSEQ;
}
