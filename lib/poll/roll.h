/* SPDX-License-Identifier: BSD-2-Clause */
/* roll: fibers that have not returned, counted by the handler each was started for. */
#ifndef POLL_ROLL_H
#define POLL_ROLL_H

struct fiber;
struct poller;

#define ROLL_NAMES 16

struct roll {
	unsigned fibers;
	unsigned n;
	struct {
		const void *handler;
		unsigned fibers;
	} of[ROLL_NAMES]; /* those beyond are counted with the last */
};

/* Thread: the poller's, these three. Begin with a zeroed roll. */
void roll_add(struct roll *r, const struct fiber *f);
void roll_add_all(struct roll *r, struct poller *p);
/* One log line for each handler. */
void roll_say(const struct roll *r, struct poller *p);

#endif
