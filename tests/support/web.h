/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * web: echo servers of the pinned service "web" at one address, each a process with one poller
 *
 * Needs own_steering(). What the server's log says of a rescue that failed is told to the test.
 */
#ifndef SUPPORT_WEB_H
#define SUPPORT_WEB_H

#include <stdbool.h>
#include <sys/types.h>

#include "support/child.h"

#define WEB_AT      "127.0.0.1:7421"
#define WEB_CLIENTS 12

enum {
	WEB_LISTENS_ONLY = 1, /* until web_go_on() */
	WEB_IN_CONTAINER = 2, /* in a PID namespace of its own, where it is process 1 */
	WEB_NO_RESCUE = 4,    /* leaves its siblings alone */
};

struct web {
	struct child child;
	pid_t pid; /* of the server, as the test sees it */
};

void web_load(int hang_ms);
void web_start(struct web *w, unsigned flags);
void web_go_on(struct web *w);
/* SIGSTOP: it stands when this returns; SIGCONT. */
void web_stop(struct web *w);
void web_cont(struct web *w);
/* Waits until it has logged that it cannot take a sibling's queue, and why. */
void web_await_failure(struct web *w, const char *part);
void web_end(struct web *w);

int web_connect(void);
/* WEB_CLIENTS at once: each gets its answer, however they were spread. */
void web_expect_all_served(void);

#endif
