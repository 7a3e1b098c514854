/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rescue: shut the listener of a worker that does not take its queue; the kernel hands that to the
 * siblings
 *
 * Only if all of this holds: the program migrates (level 3); the judge says hung or stopped; a
 * sibling in the same group is trusted; this worker's back-off is over; the rescue lock of
 * the service, which every process and the tool take, is ours, and under it all is still so.
 *
 * The owner sees EPOLLHUP and accept4 -> EINVAL when it is back, and calls np_steer_relisten(). One
 * that was adopted would not: its listener is shut only while it stands still, and listens again
 * before that one can have seen it (hand.h).
 *
 * A reader would get wrong: the process number that a worker has recorded is one of its own PID
 * namespace, and 1 in every container. The listener is looked for by its inode, in whatever process
 * has it; where that one cannot be seen from here, or not be touched, the log says so, and only
 * this rescuer waits before it looks again: another one, root's, may be able to.
 */
#ifndef STEER_RESCUE_H
#define STEER_RESCUE_H

#include <sys/types.h>

#include "steer/find.h"
#include "steer/judge.h"
#include "steer/queues.h"
#include "steer/stand.h"
#include "steer/steer.h"
#include "steer/tracer.h"

/* Who is rescued. */
struct rescue_scope {
	bool everywhere; /* in every network namespace where the service listens: places.h */
	bool native;     /* workers of this library */
	enum np_steer_rescue_of adopted; /* and others: rescue_adopted.c */
	unsigned port;                   /* on this port; 0: any */
	const struct find_query *where;  /* their processes are looked for; NULL: everywhere */
};

struct rescuer {
	struct np_steer *s;
	struct places places;
	struct rescue_scope scope;
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
	/* of adopted workers */
	struct tracer tracer; /* for the searches */
	struct find found;    /* by the last of them, on found_port */
	unsigned found_port;
	uint64_t found_ns;              /* when; 0: there is none */
	struct stand stand[NP_WORKERS]; /* who accepts for it, as it was seen last */
	bool marked[NP_WORKERS];        /* by this one, as standing still */
	unsigned standing;              /* workers that are marked so */
};

int rescuer_new(struct np_steer *s, const struct rescue_scope *scope, struct rescuer **ret);
/* Whom it has marked as standing still is as any other one then. */
void rescuer_free(struct rescuer *r);
/* One tick. @period_ns until the next. Return: how many listeners were shut, or -errno. */
int rescuer_tick(struct rescuer *r, uint64_t period_ns);
/* Finds the network namespaces, as each tick does where a second has passed since. */
void rescuer_search(struct rescuer *r);
/* Before a wait without end: no namespace is kept by it. */
void rescuer_rest(struct rescuer *r);
/* Whether nothing waited anywhere when it last looked, and nobody is to be seen moving again. */
static inline bool rescuer_saw_nothing(const struct rescuer *r)
{
	return !r->n && !r->standing;
}
/* Whether its last tick came late, and it has begun anew. */
static inline bool rescuer_was_late(const struct rescuer *r)
{
	return r->late;
}

#endif
