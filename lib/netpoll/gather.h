/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gather: what each poller of a set says of itself, asked by a message
 *
 * A poller that is asked while it is busy answers when it comes to its mailbox, be it after the
 * asker has left: what it writes to lives until both are done with it.
 *
 *   a part     leaves it by
 *   asked      its poller begins -> begun
 *   begun      all connections are seen, or the asker has left -> answered
 *   answered   (the asker reads it)
 */
#ifndef NETPOLL_GATHER_H
#define NETPOLL_GATHER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/conn_look.h"
#include "fiber/fiber.h"
#include "netpoll/server.h"
#include "poll/mailbox.h"
#include "poll/park.h"
#include "poll/poller.h"

struct np_pollers;
struct poller_slot;

enum gather_state { GATHER_ASKED, GATHER_BEGUN, GATHER_ANSWERED };

struct gather_conn {
	struct conn_look look;
	char server[NP_SERVER_NAME_MAX + 1]; /* "": none's */
};

struct gather_fiber {
	const void *id;
	struct park_sight park;
	bool parked; /* else it runs: it is the one that asks */
};

/* What one poller says, once it is GATHER_ANSWERED. */
struct gather_part {
	struct mail mail;
	struct gather *of;
	struct poller_slot *slot;
	_Atomic(int) state; /* enum gather_state */
	uint32_t at;        /* the next slot of its watches */
	uint64_t asked_ns, begun_ns;
	uint64_t now_ms; /* its clock */
	bool short_of_memory;

	struct poller_stats stats;
	struct fiber_pool_stats fibers_stats;
	unsigned timers, mails_waiting;
	size_t memory; /* of its connections */
	struct gather_conn *conns;
	struct gather_fiber *fibers;
	size_t n_conns, cap_conns, n_fibers, cap_fibers;
	unsigned live_conns; /* that were met, whether or not they were asked for */
};

struct gather {
	_Atomic(unsigned) refs; /* the asker, and each part that is not answered */
	_Atomic(bool) over;     /* the asker has left */
	pthread_mutex_t lock;   /* of a part's change of state */
	pthread_cond_t changed;
	unsigned parts; /* enum np_dump_part */
	unsigned n;
	struct gather_part part[];
};

/*
 * gather_ask() - all pollers of @p, and wait until they have answered, or do not
 *
 * Thread: any, with the sets held. Lifetime: gather_free(). Return: 0; -ENOMEM.
 */
int gather_ask(struct np_pollers *p, unsigned parts, struct gather **ret);
void gather_free(struct gather *g);
enum gather_state gather_state(const struct gather_part *part);

#endif
