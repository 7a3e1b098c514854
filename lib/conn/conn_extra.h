/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_extra: what few connections have: settings of their own, a filter, a mate, a way to go
 */
#ifndef CONN_CONN_EXTRA_H
#define CONN_CONN_EXTRA_H

#include <stdbool.h>
#include <stdint.h>

#include "conn/conn_group.h"
#include "conn/filter.h"
#include "poll/offload.h"
#include "poll/poller.h"

struct conn_callback;
struct conn_proxied;
struct np_conn;

/*
 * What a connection that is to be used again was last used for. A byte that moves ends DONE: so
 * what was said of one exchange does not hold for the next.
 *
 *   exchange   leaves it by
 *   RESTING    a byte that moves -> OUT or IN
 *   OUT        a byte that comes -> IN: an answer may be owed
 *   IN         a byte that goes -> OUT;  np_pool_put() -> DONE
 *   DONE       a byte that moves -> OUT or IN;  np_pool_get() -> RESTING
 */
enum conn_exchange { CONN_RESTING, CONN_OUT, CONN_IN, CONN_DONE };

/* The filter of a connection, and what waits for it. Owner thread, but for the filter of one that a
 * worker has: lib/conn/filter.h. */
struct conn_filter {
	struct filter filter;
	uint64_t until_ms;          /* the end of the time for the handshake; 0: it is over */
	struct filter_wait *waiter; /* a fiber that waits for the end of the handshake */
	struct offload_job job;     /* a step that a worker makes, */
	struct np_conn *working;    /* of this one, with a reference; NULL: none does */
	int step;                   /* what came of it */
	int handshake_ms;           /* -1: no limit */
	bool speaks_first;
	bool awaits; /* a PROXY header comes first: the stream has not got it yet */
};

/* Settings few connections have. */
struct conn_extra {
	struct conn_settings settings;
	int (*on_request)(struct np_conn *, void *);
	void *on_request_arg;
	uint64_t read_deadline_ms, write_deadline_ms; /* of poller_now_ms() */
	struct conn_callback *callbacks;              /* newest first */
	int failed;                                   /* the first verb that failed; 0 = none has */
	enum conn_exchange exchange;
	struct poller *move_to; /* CONN_MOVES */
	struct poller *home;    /* where its memory lies, once it has moved */
	struct np_conn *mate;   /* np_conn_bind() */
	struct conn_proxied *proxied;
	unsigned awaits;            /* fibers that wait until it is not aside: conn_aside.c */
	uint64_t stays_until_ms;    /* the rebalancer's: not before this time */
	struct conn_filter *filter; /* NULL: plain */
	/* in its on_import: the dialed one of its set, which begins when it is asked for */
	struct conn_import_mate *to_come;
};

#endif
