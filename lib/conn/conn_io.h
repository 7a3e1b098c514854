/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_io: what only a busy connection needs: its stream, who waits for it, and its request
 */
#ifndef CONN_CONN_IO_H
#define CONN_CONN_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/stream.h"
#include "poll/list.h"
#include "poll/mailbox.h"
#include "poll/park.h"
#include "poll/poller.h"

struct np_conn;
struct pipe;

typedef int (*conn_handler_fn)(struct np_conn *, void *);

/* A fiber parked in a verb; lies on that fiber's stack. */
struct conn_wait {
	struct park park;
	struct np_conn *c;
	size_t n;          /* reader: until so many are buffered; writer: at most so many unsent */
	size_t room;       /* reader: so many may be buffered meanwhile, if more than in_high */
	uint64_t since_ms; /* writer */
};

/* What the peer had taken when the kernel was last asked. */
struct conn_ack {
	uint64_t acked, tx_total;
	size_t queued;
	uint64_t at_ms;  /* when it had last become more; 0 = not seen yet */
	uint32_t window; /* bytes that it took lately: they buy it time */
	uint32_t step;   /* those seen at the last look */
	bool looked;
};

/* Why verbs have to leave the input, or the output, alone: np_conn.owned. */
enum conn_owned {
	/* one that waits owns it until its fiber has run again */
	CONN_IN_WAIT = 1 << 0,
	CONN_OUT_WAIT = 1 << 1,
	CONN_IN_ASIDE = 1 << 2, /* conn_aside.c */
	CONN_OUT_ASIDE = 1 << 3,
	CONN_NO_IO = 1 << 4, /* there is neither */
	CONN_IN_OWNED = CONN_IN_WAIT | CONN_IN_ASIDE,
	CONN_OUT_OWNED = CONN_OUT_WAIT | CONN_OUT_ASIDE,
};

/* Whose handler was left alone, and what is to be done when it is back. */
enum conn_aside { CONN_ASIDE_OWN = 1 << 0, CONN_ASIDE_MATE = 1 << 1 };
enum conn_owed {
	CONN_OWED_SETTLE = 1 << 0,
	CONN_OWED_TIMER = 1 << 1,
	CONN_OWED_POST = 1 << 2,
	CONN_OWED_CLOSE = 1 << 3,
	CONN_OWED_ABORT = 1 << 4,
};

/* Where the wait of a handler may end for its connection to go: conn_part.c. */
enum conn_place { CONN_PLACE_NONE, CONN_PLACE_READ, CONN_PLACE_FORWARD };
enum conn_parting {
	CONN_PARTING_ASKED = 1 << 0,
	CONN_PARTING_ANEW = 1 << 1,
	CONN_PARTING_MOVES = 1 << 2,
	CONN_PARTING_HOME = 1 << 3,
};

/* What a connection was at one moment. */
struct conn_state {
	uint16_t flags; /* enum conn_flag */
	uint8_t in, life, out;
	uint8_t owned; /* enum conn_owned */
	uint16_t unused;
};

/* Whether a fiber serves the connection. */
enum conn_service { CONN_UNSERVED, CONN_QUEUED, CONN_SERVED };

/*
 * What only a busy connection needs; attached while it is busy. The first CONN_IO_WARM of a poller
 * stay attached: a few thousand bytes, and a server with few connections never swaps them.
 */
#define CONN_IO_WARM 256
struct conn_io {
	struct stream stream;
	/* the last np_conn_reserve() and what was pending behind it, for np_conn_commit() */
	size_t reserved, reserved_at;
	conn_handler_fn on_request; /* conn_find_handler() */
	conn_handler_fn called;     /* the user's own behind it; on_frame, cast, is a name alone */
	void *arg;
	struct fiber *handler; /* runs on_connect or on_request */
	struct conn_wait *reader, *writer;
	union {
		struct {
			uint8_t aside;   /* enum conn_aside; 0: it is here */
			uint8_t parting; /* enum conn_parting */
			/* this handler call has set call_at: np_conn_want(), a new handler */
			bool wanted : 1;
			/* np_conn_forward() is to find its input in the kernel */
			bool forwards : 1;
			/* of its batch, for another fiber: conn_serve.c; on_request is NULL */
			bool rest : 1;
			/* on_request was called at EOF and left the rest alone */
			bool end_handled;
			bool request; /* one has begun, and its timeout runs */
			/* what its handler has flushed waits for the end of the batch */
			bool put_off;
			uint16_t unused;
		};
		uint64_t unusual; /* all of these: where it is 0, one look tells */
	};
	bool warm;
	uint8_t aside_owed; /* while aside; enum conn_owed */
	uint8_t aside_want; /* what its watch wanted */
	int aside_why;      /* of the end that is owed; 0: none is */
	int aside_error;    /* its output has failed meanwhile; 0: it has not */
	struct list aside_waits;
	uint8_t service;   /* enum conn_service */
	uint8_t place;     /* enum conn_place, of the verb that its handler is in */
	bool late;         /* its request was late, and has got its one turn more */
	struct pipe *into; /* the input goes there: it forwards */
	size_t call_at;    /* on_request is called from so many buffered bytes on */
	size_t passed_at;  /* so many had come when it left its input alone */
	size_t read_from;  /* and so many when the pump began to read last */
	uint64_t tx_noted; /* so many had gone when conn_moved() was told last */
	size_t may_wait;   /* while put_off: so many bytes in all */
	struct spawn spawn;
	struct mail *held_sends; /* of other threads, until the file has ended; oldest first */
	uint64_t request_ms;     /* when its first byte came */
	struct conn_state was;   /* when on_request was called last */
	const char *tag;         /* np_conn_set_tag()'s last */
	struct conn_ack ack;
};

/* Nothing is put off any more. */
static inline void conn_put_off_ends(struct conn_io *io)
{
	io->put_off = false;
	io->may_wait = 0;
}

#endif
