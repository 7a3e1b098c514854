/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * balancer: measures what one part of a server has to do, and moves connections to others
 *
 * Ten times a second, while the poller has anything to do. It keeps the heaviest connections alone:
 * an I/O state, and what would be written there, is given back at each idle moment.
 *
 * Thread: the part's poller, but for what is said to be read by others.
 */
#ifndef NETPOLL_BALANCER_H
#define NETPOLL_BALANCER_H

#include <stdint.h>

#include "netpoll/rebalance.h"
#include "poll/timer.h"

#define BALANCER_CONNS 32u

struct np_conn;
struct server_part;

/* A connection, or the set that it is in. */
struct balancer_conn {
	struct np_conn *conn; /* a reference; NULL: free */
	uint64_t ns;          /* since the last tick */
	uint32_t load;
	uint64_t asked_ms; /* to move; 0: not */
	uint64_t stays_until_ms;
};

struct balancer {
	struct server_part *part;
	bool on;
	int every_ms; /* a move at most */
	struct timer tick;
	struct rebalance state;
	struct balancer_conn conns[BALANCER_CONNS];
	/* at the last tick */
	uint64_t at_ns, busy_ns, waited_ns;
	uint64_t may_move_ms;
	struct rebalance_poller *seen; /* one for each part */
	uint32_t *given;               /* to each part, and not seen there yet */

	/* read by all parts, relaxed */
	uint32_t load, demand;
	uint64_t moved; /* connections that it has asked to move */
};

/* @moves a second; -1: no limit. Thread: control. NULL: no memory. */
struct balancer *balancer_new(struct server_part *part, unsigned n_parts, int moves);
void balancer_free(struct balancer *b);
void balancer_start(struct balancer *b);
void balancer_stop(struct balancer *b);

#endif
