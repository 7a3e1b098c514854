/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay: inputs come from the record, one after another, or are looked up and make one:
 * steer_record.h
 */
#include "steer/replay.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "steer_choose.h"
#include "steer_record.h"
#include "steer_search.h"

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
	steer_choose(&r);
	if (p.strayed || p.next != d->n)
		return -EBADMSG;
	worker1 = d->verdict == NP_VERDICT_SHED ? s.full1 : s.fit < FIT_NONE ? s.worker + 1 : 0;
	return worker1 == d->worker1 && s.fit == d->fit ? 0 : -EILSEQ;
}

/* What verdict_syn() of bpf/steer_verdict.h does. */
static enum np_verdict replay_verdict(const struct run *r, struct np_decision *d)
{
	const struct np_config *c = r->cfg;
	bool exhausted = !d->queues || r->s->fit != FIT_CROWDED;

	d->worker1 = r->s->fit < FIT_NONE ? r->s->worker + 1 : 0;
	if (r->s->fit == FIT_READY)
		return NP_VERDICT_STEERED;
	if (exhausted && c->on_exhausted == NP_EXHAUSTED_RST && c->rst_confirm == NP_RST_CONFIRM)
		return NP_VERDICT_RST;
	if (!exhausted || c->on_exhausted != NP_EXHAUSTED_FULL_QUEUE || !r->s->full1)
		return NP_VERDICT_FALLBACK;
	d->worker1 = r->s->full1;
	return NP_VERDICT_SHED;
}

void replay_make(struct np_decision *d, const struct np_config *c,
		 __u64 (*look)(void *arg, enum np_input_kind kind, __u32 who), void *arg)
{
	struct search s = { .fit = FIT_NONE, .hash = d->hash, .roster = d->roster };
	struct replay p = { .d = d, .made = d, .look = look, .arg = arg };
	struct np_verdicts v = { 0 };
	struct run r = { .cfg = c, .stats = &v, .s = &s, .replay = &p };

	s.policy = policy_rule(&r, c->policy);
	steer_choose(&r);
	d->hang_ms = c->hang_ms;
	d->slow_start_ms = c->slow_start_ms;
	d->spill = c->spill;
	d->bound = c->bound;
	d->policy = s.policy;
	d->hash = s.hash;
	d->fit = (__u32)s.fit;
	d->n = p.next;
	d->verdict = replay_verdict(&r, d);
}
