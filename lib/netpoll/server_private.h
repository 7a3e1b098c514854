/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server: the inside of struct np_server, shared by server.c (life), server_address.c (listening),
 * server_steer.c (its workers), server_facts.c (what may be asked) and stop.c (end)
 *
 *   phase     leaves it by
 *   MADE      np_server_start() -> RUNNING;  np_server_stop() -> STOPPED
 *   RUNNING   np_server_drain() -> DRAINING;  np_server_stop(): likewise, and on
 *   DRAINING  np_server_stop() -> STOPPING
 *   STOPPING  the last connection is gone -> STOPPED
 *   STOPPED   np_server_free()
 */
#ifndef NETPOLL_SERVER_PRIVATE_H
#define NETPOLL_SERVER_PRIVATE_H

#include <stdatomic.h>

#include "netpoll/latch.h"
#include "netpoll/pollers.h"
#include "netpoll/pollers_private.h"
#include "netpoll/server.h"
#include "netpoll/server_part.h"
#include "netpoll/socket_file.h"

/* How far a stop has come: the last step that was posted to the parts. */
enum server_step { SERVER_NOT_STOPPING, SERVER_SHUT, SERVER_RETIRE, SERVER_LEAVE };

enum server_phase { SERVER_MADE, SERVER_RUNNING, SERVER_DRAINING, SERVER_STOPPING, SERVER_STOPPED };

/* One np_server_listen() call. */
struct server_address {
	struct sockaddr_storage ss;
	socklen_t len;
	int *fds; /* one for each poller; a shared socket has one, the rest are -1 */
	bool shared;
	bool steered;
	bool delays; /* a connection of it has Nagle's algorithm on */
	/* np_server_listen() made it: the stop may shut it, and no other process's queue with it */
	bool own;
	struct socket_file file; /* of a unix socket with a path */
};

struct take_over;

struct np_server {
	struct noted noted;
	struct np_pollers *pollers;
	bool own_pollers;
	struct np_handlers handlers;
	void *arg;
	struct np_server_opts opts;
	char *service, *policy;
	struct proxy_from *proxy_from; /* NULL: any source */
	char name[NP_SERVER_NAME_MAX + 1];

	struct np_steer *steer;           /* changes under facts_lock */
	struct np_steer_info steered;     /* what it said last; sz 0: nothing */
	struct np_steer_worker **workers; /* one for each poller, once a TCP address needs them */

	struct server_address *addresses;
	unsigned n_addresses;
	struct server_part **parts; /* one for each poller */
	unsigned n_parts;

	pthread_mutex_t facts_lock; /* held for moments: see server_facts.c */
	pthread_mutex_t lock;       /* start, stop, a hand-over: held for as long as they last */
	pthread_mutex_t drain_lock; /* within it, or alone: RUNNING begins, and ends */
	_Atomic(int) phase;
	enum server_step step;
	bool forcing, hurried; /* their mails are posted */
	uint64_t drain_since_ms;
	/*
	 * Of sys_clock_ns(), any thread: until when the stop may last, 0: for ever; and what
	 * another np_server_stop() asks for meanwhile, 0: nothing.
	 */
	_Atomic(uint64_t) until_ns, hurry_ns;
	struct latch step_latch; /* of the step under way */
	/* of server_part_force(), while step_latch waits for connections to end */
	struct latch force_latch;
	struct latch accept_latch; /* of parts that have not come to what was asked */
	_Atomic(bool) accepts;     /* the parts are to */
	/* under facts_lock: what a hand-over waits at, -1, NULL: nothing; it is to end */
	int handing;
	struct latch *hand_latch;
	bool hand_ends;
	struct take_over *taking; /* NULL: from no process, or it is over */
	char error[512];
};

/* server.c */
/* @fn at every part, each of which arrives at s->step_latch. */
void server_post_parts(struct np_server *s, void (*fn)(struct mail *));
/*
 * server_accepts() - its listeners are watched by its pollers from now on, or not any more
 *
 * A poller that a handler keeps comes to it later, and then to what was asked last. They are not
 * shut. Thread: of a hand-over, or of a start that takes over.
 */
void server_accepts(struct np_server *s, bool accepts);
/* Return: @r. The words are np_server_error()'s. */
int server_say(struct np_server *s, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* server_facts.c */
void server_facts_enter_service(struct np_server *s, struct np_steer *steer);
/* Room for one more address, NULL: none. It counts from server_facts_add_address() on. */
struct server_address *server_facts_grow(struct np_server *s);
void server_facts_add_address(struct np_server *s);
/*
 * A hand-over waits at @fd from now on, -1: at nothing. server_facts_end_hand_over() ends each
 * wait of it, also those to come, until the hand-over is over.
 */
void server_facts_hand_over(struct np_server *s, int fd);
void server_facts_end_hand_over(struct np_server *s);
bool server_facts_hand_over_ends(struct np_server *s);
/* For pollers, at @l. Return: 0; -ETIMEDOUT; -ECANCELED: the hand-over is to end. */
int server_facts_await_hand_over(struct np_server *s, struct latch *l, uint64_t until_ns);
void server_facts_hand_over_is_over(struct np_server *s);
/* Connections that have come to another of its pollers so far. */
uint64_t server_facts_moved(const struct np_server *s);
/* None counts any more: before the start. */
void server_facts_drop_addresses(struct np_server *s);
/* Where the counters of part @index are from now on. They must be zero: before the start. */
void server_facts_publish_to(struct np_server *s, unsigned index, struct poller_load *line);
/* They stay as they are when the line is given up. */
void server_facts_keep(struct np_server *s, unsigned index);
/* Return: the service, which the caller closes; NULL: there was none. */
struct np_steer *server_facts_leave_service(struct np_server *s);

/* server_address.c */
/* Room for one more address, its descriptors -1. Return: 0; -ENOMEM. */
int server_address_new(struct np_server *s, struct server_address **ret);
/* Unix listeners of ours: connect(2) is refused from now on; the queued can still be accepted. */
void server_refuse_connects(struct np_server *s);
void server_close_listeners(struct np_server *s);

/* take_over.c: np_server_start() in a process that takes over */
/* Before the listeners are watched: the other process lets go of them. Return: 0; why not. */
int take_over_begin(struct np_server *s);
/* They are watched: the other process forgets them, and its connections begin to come. */
int take_over_listens(struct np_server *s);
/*
 * What has not come by now stays there. NULL in s->taking is fine.
 *
 * @until_ns 0: no limit. Return: 0; -ETIMEDOUT: a poller is kept that has to make, or to drop, what
 * came last: to be called again.
 */
int take_over_end(struct np_server *s, uint64_t until_ns);

/* server_steer.c */
/* Opens the service, and a worker for each poller, unless that has been done. */
int server_enter_service(struct np_server *s);
/* After the last connection: its workers' lines may pass to others. */
void server_leave_service(struct np_server *s);
/*
 * server_release_listeners() - its steered listeners leave the service, and stay what they are
 * server_steer_listeners()   - they join it, again or for the first time. Return: 0, or what kept
 *                              one away: the kernel's hash serves it
 */
void server_release_listeners(struct np_server *s);
int server_steer_listeners(struct np_server *s);
/* Thread: the poller of part @index. */
int server_relisten(struct np_server *s, unsigned index, int fd);
/* The process that keeps it from that, in words: @dst. */
const char *server_lock_holder(struct np_server *s, char *dst, size_t cap);
/* New connections go elsewhere, where there is an elsewhere. */
void server_stop_being_chosen(struct np_server *s);
/* Part @index has all the connections it may have, or has room again. Thread: its poller. */
void server_say_full(struct np_server *s, unsigned index, bool full);

#endif
