/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * judge: which workers do not take what is queued at them, from what they publish, tick by tick
 *
 *   a worker is   when
 *   hung          the same busy_since on two ticks, older than hang_ms
 *   stopped       idle by its own word, something queued, and it has taken nothing for hang_ms:
 *                 SIGSTOP, the freezer, a dead owner whose descriptor a child holds
 *   fit           otherwise
 *
 * Whether it takes: by accepted_total. A worker that has published nothing yet may have stopped
 * before its first accept, or may accept without saying so: of that one, whether connections that
 * were given to it have left its queues.
 *
 * A tick that comes late proves nothing about the workers. A CPU quota stops judge and judged
 * together, and whatever was seen before is forgotten then.
 */
#ifndef STEER_JUDGE_H
#define STEER_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "steer_abi.h"

enum verdict { VERDICT_FIT, VERDICT_HUNG, VERDICT_STOPPED };

/* The kernel's word on a worker. */
struct evidence {
	bool queued; /* something waits for it */
	/* judge_needs_gone(): so many more were given to it than wait: taken, half open, or given
	 * up */
	uint64_t gone;
	uint64_t waiting; /* of a counted worker: in accepted_total, and not accepted yet */
};

struct sight {
	uint64_t busy_since_ns;
	uint64_t accepted;
	uint64_t gone;
	uint64_t stuck_since_ns; /* 0: it is not */
	enum verdict verdict;
};

struct judge {
	uint64_t last_ns; /* of the last tick; 0: there was none */
	struct sight sight[NP_WORKERS];
};

/* Its earlier sights count no more. */
void judge_forget(struct judge *j);
/*
 * judge_tick() - look at workers 0..@n-1
 *
 * @now_ns in the kernel's clock, read after @evidence was; @period_ns until the next tick.
 *
 * Return: false if it came late, and what was seen before is forgotten.
 */
bool judge_tick(struct judge *j, uint64_t now_ns, uint64_t period_ns, uint64_t hang_ns, unsigned n,
		const struct np_worker_line *lines, const struct evidence *evidence);
/* Whether the worker's own words do not tell if it takes what is queued. */
bool judge_needs_gone(const struct np_worker_line *line);
/* Whether what the last tick found still counts at @now_ns: those that it judged may have been
 * stopped since, and gone on. */
bool judge_is_fresh(const struct judge *j, uint64_t now_ns, uint64_t hang_ns);
/* Fit, and with nothing that waits for longer than this tick: the worker may be given more. */
bool judge_trusts(const struct judge *j, unsigned w);

#endif
