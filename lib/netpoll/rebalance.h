/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rebalance: which connection should go to which poller, from what was measured
 *
 * Pure: it reads no clock and moves nothing. Shares are in millionths of a CPU. Each poller decides
 * for itself, once a tick, and only the one with most to do gives away.
 *
 *   state    meaning                                  is left by
 *   even     nothing to gain, or not for long         REBALANCE_STREAK ticks with a gap -> uneven
 *   uneven   one connection is named at each tick     the gap is half of that, or no connection
 *                                                     makes it less -> even
 *
 * A gap counts only where it is seen twice: in the work that was done, and in the work that was
 * wanted. A poller whose CPU is taken away by others does less, and has no room for more.
 */
#ifndef NETPOLL_REBALANCE_H
#define NETPOLL_REBALANCE_H

#include <stdbool.h>
#include <stdint.h>

#define REBALANCE_CPU    1000000u
#define REBALANCE_GAP    (REBALANCE_CPU / 5)   /* between two pollers, at least */
#define REBALANCE_GAIN   (REBALANCE_CPU / 100) /* by so much a move has to make it less, twice */
#define REBALANCE_STREAK 5u

struct rebalance_poller {
	uint32_t load;   /* handler time and what goes with it */
	uint32_t demand; /* the same, and the time for which it waited for its CPU */
};

struct rebalance_conn {
	uint32_t load;
	bool stays;
};

/* All zero at first. */
struct rebalance {
	unsigned streak;
	bool uneven;
};

struct rebalance_choice {
	unsigned conn, poller;
	uint32_t gap; /* before the move */
};

/*
 * rebalance_choose() - of poller @me, what evens most
 *
 * What was given away and is not seen yet in these numbers is the caller's to put into them.
 * Return: whether *ret is to be done.
 */
bool rebalance_choose(struct rebalance *s, const struct rebalance_poller *p, unsigned n,
		      unsigned me, const struct rebalance_conn *c, unsigned n_conns,
		      struct rebalance_choice *ret);

#endif
