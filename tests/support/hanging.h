/* SPDX-License-Identifier: BSD-2-Clause */
/* hanging: a poller of a server that a handler keeps from going on, and its sibling */
#ifndef SUPPORT_HANGING_H
#define SUPPORT_HANGING_H

#include <stdbool.h>

#include <netpoll/server.h>

#include "support/test.h"

#define NEEDS_A_HANG()                                                                  \
	do {                                                                            \
		if (under_handoff())                                                    \
			SKIP("a poller whose handler is left alone does not hang, and " \
			     "nobody has to be rescued");                               \
	} while (0)

/* 'h' keeps the poller's thread until hang_end(); whatever came is sent back. */
extern const struct np_handlers hanging_handlers;

/* A connection to @s whose poller hangs. */
int hang_begin(struct np_server *s);
bool hang_goes_on(void);
/* The connection that it had is its own still, and has its answer. */
void hang_end(int fd);

/*
 * Clients of @s, connected while a poller hangs: some find it before it is known to hang, and all
 * are served by its sibling. The pollers log to keep_log().
 */
void given_rescued_clients(struct np_server *s, int *fds, int n);

/* Both pollers of @s are in their places, once neither has closed connections in its books. */
void expect_both_to_accept(struct np_server *s);

#endif
