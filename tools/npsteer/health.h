/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * health: what a load balancer is to know of a service, in one word and a percentage
 *
 * The percentage is the mean of what each worker that is ready can take: nothing where it hangs or
 * has no listener here; else the part of "full" that its queues leave free. Workers that drain, or
 * are out, do not count: of two generations of a server the one that is going lowers nothing.
 */
#ifndef NPSTEER_HEALTH_H
#define NPSTEER_HEALTH_H

#include <stdbool.h>

#include "facts.h"

enum health_state {
	HEALTH_UP,
	HEALTH_DRAIN, /* workers are there, none is ready, and some drain */
	HEALTH_MAINT, /* and all are out */
	HEALTH_DOWN,  /* none is there, or all that are ready hang */
};

struct health {
	enum health_state state;
	int percent; /* 1 to 100 while up; else 0 */
	unsigned ready, draining, out, hanging, queued;
};

/* @full: so many that wait make a worker full. @workers 0: as many as are ready. */
void health_of(const struct facts *f, unsigned full, unsigned workers, struct health *ret);

/*
 * steady: what is said, which does not follow every look
 *
 *   change                       is said
 *   drain, maint, and their end  at once: somebody has asked for it
 *   worse, by STEP or to nothing when every look for FALL_S has seen it; the best one of them
 *   better, by STEP or to all    when every look for RISE_S has; the worst one of them
 *   less than STEP               not
 */
#define STEADY_STEP   10
#define STEADY_FALL_S 0.5
#define STEADY_RISE_S 3.0

struct steady {
	bool any;
	struct health said;
	int way; /* of the change under way: -1 worse, 1 better, 0 none */
	double since;
	struct health least; /* of its looks the one nearest to what is said */
};

/* What is said from now on: s->said, but for the counts those of @now. */
void steady_take(struct steady *s, const struct health *now, double at);

#endif
