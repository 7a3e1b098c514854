/* SPDX-License-Identifier: BSD-2-Clause */
/* judge: no clock and no system call in here, so that tests need none. */
#include "steer/judge.h"

#include <string.h>

void judge_forget(struct judge *j)
{
	memset(j, 0, sizeof *j);
}

/* Half a period late: the same load, or quota, has held up the workers too. */
static bool judge_on_time(const struct judge *j, uint64_t now_ns, uint64_t period_ns)
{
	return j->last_ns && now_ns - j->last_ns <= period_ns + period_ns / 2;
}

static enum verdict judge_busy(const struct sight *was, const struct sight *is, uint64_t now_ns,
			       uint64_t hang_ns)
{
	bool same = was->busy_since_ns == is->busy_since_ns;

	return same && now_ns > is->busy_since_ns && now_ns - is->busy_since_ns > hang_ns ?
		       VERDICT_HUNG :
		       VERDICT_FIT;
}

static enum verdict judge_idle(const struct sight *was, struct sight *is, uint64_t now_ns,
			       uint64_t hang_ns, bool queued)
{
	if (!queued)
		return VERDICT_FIT;
	is->stuck_since_ns = now_ns;
	if (was->stuck_since_ns && was->accepted == is->accepted && was->gone == is->gone)
		is->stuck_since_ns = was->stuck_since_ns;
	return now_ns - is->stuck_since_ns >= hang_ns ? VERDICT_STOPPED : VERDICT_FIT;
}

bool judge_needs_gone(const struct np_worker_line *line)
{
	return !__atomic_load_n(&line->says_idle, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&line->accepted_total, __ATOMIC_RELAXED);
}

bool judge_is_fresh(const struct judge *j, uint64_t now_ns, uint64_t hang_ns)
{
	return now_ns - j->last_ns <= hang_ns;
}

bool judge_tick(struct judge *j, uint64_t now_ns, uint64_t period_ns, uint64_t hang_ns, unsigned n,
		const struct np_worker_line *lines, const struct evidence *evidence)
{
	bool late = j->last_ns && !judge_on_time(j, now_ns, period_ns);

	if (late)
		judge_forget(j);
	for (unsigned w = 0; w < n; w++) {
		const struct sight was = j->sight[w];
		struct sight is = {
			.busy_since_ns = __atomic_load_n(&lines[w].busy_since_ns, __ATOMIC_RELAXED),
			.accepted = __atomic_load_n(&lines[w].accepted_total, __ATOMIC_RELAXED) -
				    evidence[w].waiting,
			.gone = evidence[w].gone,
		};

		if (is.busy_since_ns)
			is.verdict = judge_busy(&was, &is, now_ns, hang_ns);
		else
			is.verdict = judge_idle(&was, &is, now_ns, hang_ns, evidence[w].queued);
		j->sight[w] = is;
	}
	j->last_ns = now_ns;
	return !late;
}

bool judge_trusts(const struct judge *j, unsigned w)
{
	const struct sight *s = &j->sight[w];

	return s->verdict == VERDICT_FIT && (!s->stuck_since_ns || s->stuck_since_ns == j->last_ns);
}
