/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_group: what the connections of one server on one poller share
 *
 * The facade fills it, and has its ends called; a connection refers to one from its beginning to
 * its last byte of memory, and to another one where it has moved.
 */
#ifndef CONN_CONN_GROUP_H
#define CONN_CONN_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "conn/conn_memory.h"
#include "conn/conn_proxy.h"
#include "conn/filter.h"
#include "netpoll/conn.h"
#include "netpoll/handlers.h"
#include "poll/list.h"
#include "poll/poller.h"

/* What a connection goes by: its group's, or its own. */
struct conn_settings {
	struct np_limits limits;                                /* from conn_limits_init() */
	int read_timeout_ms, write_timeout_ms, idle_timeout_ms; /* 0: none */
	int linger_ms;                                          /* -1: no limit; NP_NOW */
	/* bytes a second that a peer has to take; -1: it may be as slow as it likes */
	int min_rate;
	int request_timeout_ms; /* 0: none */
};

/* What a connection gets where its owner says nothing. */
#define CONN_DEFAULT_LINGER_MS 1000
#define CONN_DEFAULT_MIN_RATE  (10 * 1024)
/* Its limits are conn_limits_init()'s. */
#define CONN_DEFAULT_SETTINGS                                                          \
	{                                                                              \
		.linger_ms = CONN_DEFAULT_LINGER_MS, .min_rate = CONN_DEFAULT_MIN_RATE \
	}

/*
 * What np_framing says of the commonest kind of frame: the number is four bytes in network order,
 * and the handler may not block. Worked out once, and not for each frame.
 */
struct conn_framing {
	size_t head; /* up to the number's end; 0: frames of another kind */
	size_t rest; /* how much may follow that */
	size_t adjust;
};

/* What the connections of one server on one poller share. Owner thread. */
struct conn_group {
	struct poller *poller;
	const struct np_handlers *handlers; /* conn_group_handle() */
	struct conn_framing framing;
	void *arg;
	struct conn_settings settings;
	const struct np_filter_maker *filter; /* NULL: none, and its connections are plain */
	const char *filter_host;              /* whom it is with; may be NULL */
	bool half_open;
	/* no handler takes the input: a fiber that has a reference does, when it likes */
	bool in_hand;
	bool draining; /* what np_conn_draining() says */
	uint64_t drain_since_ms;
	bool retiring; /* connections close: conn_drain.c says when */
	/* while retiring: how long an idle connection may stay at most, and by how much less some
	 * do; how long one that was never served. 0: it closes at once; UINT64_MAX: no limit */
	uint64_t idle_until_ms, fresh_until_ms;
	uint64_t spread_ms;
	bool forced; /* what is left was reset, and what comes is */
	struct conn_memory memory;
	struct conn_proxy proxy;
	struct poller_load *load; /* published counts */
	struct list conns;        /* OPEN up to ENDED */
	unsigned n;
	unsigned on_way;                  /* of these, to another poller: in no list */
	uint64_t cut;                     /* ended with flushed bytes lost; published */
	uint64_t moved;                   /* came from another poller or process; published */
	uint64_t handed_over, taken_over; /* to and from another process, of these; published */
	uint64_t handler_errors;          /* handlers that returned < 0; published */
	uint64_t drained, fresh, raced;   /* np_server_stats has them; published */
	uint64_t said_ms, unsaid;         /* the log line about them: when, and how many since */
	/*
	 * Where a connection of it belongs at @p: another group, or this one, which goes along;
	 * NULL: it cannot go. May be NULL: none can.
	 */
	struct conn_group *(*at)(struct conn_group *g, struct poller *p);
	/* of one that goes along: it leaves its poller (NULL), or has come to @p; else NULL */
	void (*on_travel)(struct conn_group *g, struct poller *p);
	/* whether it takes none that moves; may be NULL: it takes all */
	bool (*is_full)(const struct conn_group *g);
	void (*on_joined)(struct conn_group *g); /* one has moved here; may be NULL */
	void (*on_closed)(struct conn_group *g); /* a descriptor came free; may be NULL */
	void (*on_empty)(struct conn_group *g);  /* the last connection is gone; may be NULL */
	/* and so is a connection's memory: its last use of g; may be NULL */
	void (*on_freed)(struct conn_group *g);
	void *owner; /* the facade's */
};

/* @h handles its connections, and lives as long as it. Before the first of them. */
void conn_group_handle(struct conn_group *g, const struct np_handlers *h);

/* Whether they need to know when bytes moved last. */
static inline bool conn_settings_are_timed(const struct conn_settings *s)
{
	return s->idle_timeout_ms || s->request_timeout_ms;
}

#endif
