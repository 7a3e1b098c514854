/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flows: many connections of one process that ask at a pace, and compare every byte that comes back
 *
 *   begun   -> established: flows_await() says that each has been answered once
 *   paced   rate frames a second over all of them, some in two pieces, some read late
 *   quiet   flows_rest(): all that was asked is answered, and nothing is asked; flows_go(): paced
 *   ended   flows_end(): the rest is answered, FIN goes, and nothing more may come
 *
 * A frame is one of support/handover.h's 'e' requests of a length and content that its connection
 * and number say, so a byte that is lost, doubled or out of its order is one that differs.
 */
#ifndef SUPPORT_FLOWS_H
#define SUPPORT_FLOWS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "support/child.h"
#include "support/samples.h"

struct flows_opts {
	struct sockaddr_storage ss;
	socklen_t len;
	unsigned n;
	unsigned rate;            /* frames a second, of all of them together; 0: none */
	bool counted;             /* the answers are handover.h's; else what was sent comes back */
	struct samples *answered; /* how long each answer took; of all but those that read late */
};

struct flows_facts {
	uint64_t asked, answered; /* frames */
	uint64_t bytes;           /* that came back */
	uint64_t resets, ends;    /* connections that got one in place of an answer */
	uint64_t wrong;           /* whose bytes are not what they should be */
	uint64_t unanswered;      /* whose answers had not come when the deadline was over */
};

/* Before this process has threads. It waits for flows_begin(). */
void flows_start(struct child *c);
void flows_begin(struct child *c, const struct flows_opts *o);
void flows_await(struct child *c);
void flows_rest(struct child *c);
void flows_go(struct child *c);
/* child_join() is to follow. */
void flows_end(struct child *c, struct flows_facts *ret);
/* Each frame has been answered with its bytes, and no connection ended before. */
void flows_expect_whole(const struct flows_facts *f);

#endif
