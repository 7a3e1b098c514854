/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * copies: processes of one program, each in a process group of its own, and what they hold
 *
 *   state     leaves it by
 *   none      copy_start() -> running
 *   running   its end, as waitpid(2) tells -> none
 *
 * A copy may have children, as servers that fork do: they are looked at with it.
 */
#ifndef NPSTEER_COPIES_H
#define NPSTEER_COPIES_H

#include <stdbool.h>
#include <sys/types.h>

#include "join.h"
#include "npsteer.h"

struct copy {
	pid_t pid; /* 0: none */
	double since;
	double again_at; /* when it may be started anew */
	double back_off; /* seconds; doubles while it ends at once */
	bool meant_to_end;
};

/* How a copy finds the port free. */
struct copies {
	const struct join *join; /* by its cgroup; NULL: */
	const char *preload;     /* by LD_PRELOAD */
	unsigned port;
	char *const *argv;
};

/* 0 once PROG runs; -errno where it cannot be run. */
int copy_start(const struct copies *cs, struct copy *c);
/* What the copy and its children have of @port. */
struct copy_holds {
	unsigned listeners, conns, queued;
};
struct copy_holds copy_look(const struct copy *c, unsigned port);
/* The workers of the service that it is; how many, @max at most. */
unsigned copy_workers(struct np_steer *s, const struct copy *c, unsigned port, unsigned *ret,
		      unsigned max);
/*
 * copy_end_idle() - end it unless it has connections
 *
 * It stands still while they are counted and until the signal is under way, so that it accepts none
 * in between: what is queued moves on when its listener closes. False: it has some, and goes on.
 */
bool copy_end_idle(const struct copy *c, unsigned port);
/* To itself; to all of its group. */
void copy_signal(const struct copy *c, int sig);
void copy_signal_all(const struct copy *c, int sig);

#endif
