/* SPDX-License-Identifier: BSD-2-Clause */
/* replay: inputs come from the record, one after another: steer_record.h. */
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
