/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover: two processes of one server, and clients of theirs in the test's own
 *
 * A request is a length (4 bytes) and so many bytes; the first says what its handler does:
 * 'e' echo; 'b' an answer of HANDOVER_BIG bytes; 's' the handler sleeps until hand_wake().
 * Each answer is the request's bytes, or the big ones, and then how many requests its connection
 * has had, and the number of the process that answers.
 */
#ifndef SUPPORT_HANDOVER_H
#define SUPPORT_HANDOVER_H

#include <netpoll/server.h>
#include <stdbool.h>
#include <stdint.h>

#include "support/child.h"

#define HANDOVER_BIG (4u << 20)

struct hand_opts {
	enum np_steer_mode steer;
	int pollers; /* 0: 2 */
	const char *network, *address;
	int idle_ms;        /* of the server */
	int own_idle_ms;    /* of each connection, from its on_export on */
	int own_request_ms; /* likewise: its request timeout */
	int keeps;          /* 's' keeps its thread, and may (NP_MAY_BLOCK) */
	int no_export;
	int descriptors; /* how many it may have open; 0: as the test */
	int closes;      /* a descriptor that is the other process's; 0: none */
	/* the process does that to itself in the nth call of on_export, on_import; 0: never */
	int export_signal, export_nth;
	int import_signal, import_nth;
	int import_refuses; /* every so manieth */
	int work_ms;        /* of its hand-over; 0: a test's time */
	int drains;         /* another thread drains it meanwhile, and then says 'd' */
	int rebalance;      /* moves a second */
	enum np_proxy_mode proxy;
	int binds;            /* the first two connections are a set; with one poller */
	int loops;            /* a handler waits for the next request, and does not return */
	int lingers;          /* and where it is sent home, not before hand_wake() */
	int returns_0;        /* and says nothing of it */
	const char *upstream; /* it is a proxy to there (handover_pair.h), and answers nothing */
	int leaves_mate;      /* as in struct hand_pair */
	int binds_other;      /* likewise */
	/* in that process: before it hands or takes over, and when it is asked for its facts */
	void (*before)(void);
	void (*asked)(void);
};

/* What a process says of itself. */
struct hand_facts {
	int r; /* of the last call */
	char error[256];
	struct np_handed_over handed;
	uint64_t conns, handed_over, taken_over;
	int closes, emoved, disconnects, last_error;
	int last_port; /* of the client, as on_close was told */
	struct sockaddr_storage ss;
	socklen_t len;
};

/* Serves: the old one. */
void hand_old(struct child *c, const struct hand_opts *o, struct hand_facts *ret);
/* Does nothing yet: the new one. */
void hand_new(struct child *c, const struct hand_opts *o);
/* Both take a descriptor of a pair that was made before, or a path. Asked for, and the answer. */
void hand_ask_over(struct child *c, const char *where, int come_ms, int answer_ms);
void hand_ask_take(struct child *c, const char *where, int timeout_ms);
void hand_hear(struct child *c, struct hand_facts *ret);
void hand_facts(struct child *c, struct hand_facts *ret);
/* Sleeping handlers wake. */
void hand_wake(struct child *c);
/* Stops in good order, and ends; its facts. */
void hand_stop(struct child *c, struct hand_facts *ret);

/* ------------------------------------------------------------------ clients */

struct hand_answer {
	uint32_t count, pid;
};

void hand_request(int fd, char what, const void *more, uint32_t n);
/* The answer to one of those. */
struct hand_answer hand_receive(int fd, char what, const void *more, uint32_t n);
struct hand_answer hand_echo(int fd);
/* false: EOF or reset in its place. */
bool hand_try_echo(int fd, struct hand_answer *ret);

#endif
