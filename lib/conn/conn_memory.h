/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_memory: the bound on what the connections of one group may take on their poller
 *
 * Counted are the blocks of the poller's thread, the stacks of its fibers, its connections and what
 * their filters say they hold, of all groups together: who took a cached block last is not known.
 * Nothing is counted where no bound is set, but what filters hold; nothing is shared with another
 * thread.
 *
 *   state      leaves it by
 *   well       a read, or output, finds the high mark reached -> held
 *   held       connections that hold something do not read; conn_memory_look() in this turn:
 *              caches go back, then those that hold most are reset -> held, for the two turns in
 *              which they end;  below the mark -> well;  none holds anything -> helpless
 *   helpless   reading goes on; LOOK_AGAIN_MS -> held or well
 */
#ifndef CONN_CONN_MEMORY_H
#define CONN_CONN_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "poll/timer.h"

struct conn_group;
struct np_conn;
struct poller;

struct conn_memory {
	size_t max;        /* 0: no bound */
	struct timer look; /* armed unless well */
	unsigned settling; /* turns until what was reset has ended */
	bool helpless;
	unsigned unsaid; /* resets since the last log line */
	uint64_t said_ms;
	uint64_t closed; /* connections reset; any thread may read it */
};

/* @max 0: no bound. Before the group's first connection. */
void conn_memory_init(struct conn_group *g, size_t max);
/* No connection is left, and the group is about to be freed. Thread: owner. */
void conn_memory_fini(struct conn_group *g);
/*
 * conn_memory_budget() - how much @c may read now, where a bound is set
 *
 * Near the bound a connection that holds nothing may still read a little: short requests are
 * served, and the others have no more than that to wait for. Thread: owner. Return: @budget, or
 * less; 0: nothing now.
 */
size_t conn_memory_budget(struct np_conn *c, size_t budget);
/* Where a bound is set: output has grown. Thread: owner. */
void conn_memory_grew(struct conn_group *g);

#endif
