/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_part: what one server has on one poller: its listener slots and its connections
 *
 * Everything here runs on the poller's thread, except server_part_post(), which is how the server's
 * control thread gets it to run there.
 *
 *   phase      leaves it by
 *   shut       server_part_open() -> open
 *   open       server_part_shut(): accepts what was queued at the stop, in pieces -> draining
 *   draining   server_part_retire() -> retiring: connections close, each at its time
 *   retiring   the last connection is gone -> arrives at the server's step_latch
 */
#ifndef NETPOLL_SERVER_PART_H
#define NETPOLL_SERVER_PART_H

#include <stdbool.h>

#include "conn/conn.h"
#include "netpoll/balancer.h"
#include "netpoll/listener_slot.h"
#include "netpoll/stop_report.h"
#include "poll/mailbox.h"
#include "poll/poller.h"

struct np_server;

struct server_part {
	struct conn_group group; /* first: the group's on_empty finds the part */
	struct np_server *server;
	unsigned index;
	struct listener_slot *slots;
	unsigned n_slots;
	struct poller_load own_load; /* published here where no steering line exists */
	struct mail mail;            /* the step under way */
	/* each may be under way while a step is not done, and is posted once */
	struct mail drain_mail, hurry_mail, force_mail;
	struct mail accept_mail;
	_Atomic(bool) accept_asked; /* it is under way */
	bool accepts;               /* its listeners are watched */
	struct stop_report report;
	int result;            /* of the step */
	bool retiring_counted; /* it owes step_latch one arrival */
	unsigned forced;
	bool force_comes; /* with the turn after next */
	unsigned limit;   /* its share of max_conns; 0: none */
	bool full;        /* its listeners are held */
	uint64_t said_full_ms;
	unsigned accepts_unmetered; /* since the last whose wait was asked for */
	uint64_t at_limit;          /* any thread, relaxed: how often it was full */
	uint64_t shed; /* likewise: connections that were reset before they were accepted */
	struct balancer *balancer; /* NULL: none */
};

/* The part of a server's connection, NULL: another's. Thread: its owner's. */
struct server_part *server_part_of_conn(const struct np_conn *c);
/* For poller @index. NULL: no memory. Thread: control, and so for the next two. */
struct server_part *server_part_new(struct np_server *s, unsigned index);
/* NULL is fine. */
void server_part_free(struct server_part *part);
/* A listener slot for each address of the server. Return: 0; -ENOMEM. */
int server_part_add_listeners(struct server_part *part);
/* Runs @step on the part's poller. It arrives at the server's step_latch. */
void server_part_post(struct server_part *part, void (*step)(struct mail *));
void server_part_post_drain(struct server_part *part);
void server_part_post_hurry(struct server_part *part);
void server_part_post_force(struct server_part *part);
/* Whether its listeners are watched becomes as server->accepts is when the poller comes to it; then
 * it arrives at accept_latch, which counts one more at this call. */
void server_part_post_accept(struct server_part *part);

/* Steps, for server_part_post(). */
void server_part_open(struct mail *m);
void server_part_shut(struct mail *m);
void server_part_retire(struct mail *m);
void server_part_leave(struct mail *m);

#endif
