/* SPDX-License-Identifier: BSD-2-Clause */
/* handler_count: fibers that have not returned, counted by the handler each was started for. */
#ifndef POLL_HANDLER_COUNT_H
#define POLL_HANDLER_COUNT_H

struct fiber;
struct poller;

#define HANDLER_COUNT_NAMES 16

struct handler_count {
	unsigned fibers;
	unsigned n;
	struct {
		const void *handler;
		unsigned fibers;
	} of[HANDLER_COUNT_NAMES]; /* those beyond are counted with the last */
};

/* Thread: the poller's, these three. Begin with a zeroed one. */
void handler_count_add(struct handler_count *c, const struct fiber *f);
void handler_count_add_all(struct handler_count *c, struct poller *p);
/* One log line for each handler. */
void handler_count_say(const struct handler_count *c, struct poller *p);

#endif
