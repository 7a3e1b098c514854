/* SPDX-License-Identifier: BSD-2-Clause */
/* decision: a record is other people's bytes until its size and its words have been looked at. */
#include "steer/decision.h"

#include <errno.h>

#include "steer/replay.h"
#include "steer/steer.h"

static const char *decision_verdict(uint32_t verdict)
{
	static const char *const names[] = {
		[NP_VERDICT_STEERED] = "steered",   [NP_VERDICT_FALLBACK] = "fallback",
		[NP_VERDICT_RST] = "rst",           [NP_VERDICT_NONSYN] = "nonsyn",
		[NP_VERDICT_MIGRATED] = "migrated", [NP_VERDICT_SHED] = "shed",
	};

	return verdict < sizeof names / sizeof names[0] && names[verdict] ? names[verdict] :
									    "unknown";
}

static unsigned decision_count(const struct np_decision *d, uint32_t kind)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < d->n && i < NP_TRACE_INPUTS; i++)
		n += d->inputs[i].kind == kind;
	return n;
}

/* Whose first connection had waited for longer than a worker may hang. */
static unsigned decision_count_stuck(const struct np_decision *d)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < d->n && i < NP_TRACE_INPUTS; i++)
		n += d->inputs[i].kind == NP_INPUT_WAITED &&
		     d->inputs[i].value > d->hang_ms * 1000000ull;
	return n;
}

int decision_read(const struct np_decision *d, size_t size, struct np_steer_decision *ret)
{
	if (size < sizeof *d)
		return -EBADMSG;
	*ret = (struct np_steer_decision){
		.sz = sizeof *ret,
		.at_ns = d->at_ns,
		.group = d->group,
		.worker = d->worker1 && d->worker1 <= NP_WORKERS ? (int)d->worker1 - 1 : -1,
		.hash = d->hash,
		.candidates = decision_count(d, NP_INPUT_STATE),
		.tried = decision_count(d, NP_INPUT_SELECT),
		.policy = policy_name(d->policy),
		.verdict = decision_verdict(d->verdict),
		.replay = replay_agrees(d),
		.stuck = decision_count_stuck(d),
	};
	return 0;
}
