/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rescue: shut the listener of a worker that does not take its queue; the kernel hands that to the
 * siblings
 *
 * Only if all of this holds: the program migrates (level 3); the judge says hung or stopped; a
 * sibling in the same group is trusted; this worker's back-off is over; the rescue lock of
 * the service, which every process and the tool take, is ours, and under it all is still so.
 *
 * The owner sees EPOLLHUP and accept4 -> EINVAL when it is back, and calls np_steer_relisten().
 *
 * A reader would get wrong: the process number that a worker has recorded is one of its own PID
 * namespace, and 1 in every container. The listener is looked for by its inode, in whatever process
 * has it; where that one cannot be seen from here, or not be touched, the log says so, and only
 * this rescuer waits before it looks again: another one, root's, may be able to.
 */
#ifndef STEER_RESCUE_H
#define STEER_RESCUE_H

#include <sys/types.h>

#include "steer/judge.h"
#include "steer/queues.h"
#include "steer/steer.h"

struct rescuer {
	struct np_steer *s;
	struct places places;
	bool everywhere;      /* not in the caller's own network namespace alone */
	uint64_t searched_ns; /* when the places were; 0: not since the last rest */
	bool told_missing;
	struct judge judge;
	bool late; /* the last tick was: what was seen before is forgotten */
	struct evidence evidence[NP_WORKERS];
	unsigned waiting[NP_WORKERS]; /* connections in all its queues */
	bool acted[NP_WORKERS];       /* in this tick: a worker may have several listeners */
	uint32_t pidns;
	/* where the listener of a worker was found last; 0: nowhere yet */
	pid_t holder[NP_WORKERS];
	uint64_t failed_until_ns[NP_WORKERS]; /* it could not be taken: not tried before */
	uint64_t failed_ms[NP_WORKERS];
	struct queue *queues; /* that are not empty, as of the last tick */
	unsigned n, cap;
};

/* @everywhere: in every network namespace that the service has listeners in: places.h */
int rescuer_new(struct np_steer *s, bool everywhere, struct rescuer **ret);
void rescuer_free(struct rescuer *r);
/* One tick. @period_ns until the next. Return: how many listeners were shut, or -errno. */
int rescuer_tick(struct rescuer *r, uint64_t period_ns);
/* Finds the network namespaces, as each tick does where a second has passed since. */
void rescuer_search(struct rescuer *r);
/* Before a wait without end: no namespace is kept by it. */
void rescuer_rest(struct rescuer *r);
/* Whether nothing waited anywhere when it last looked. */
static inline bool rescuer_saw_nothing(const struct rescuer *r)
{
	return !r->n;
}
/* Whether its last tick came late, and it has begun anew. */
static inline bool rescuer_was_late(const struct rescuer *r)
{
	return r->late;
}

#endif
