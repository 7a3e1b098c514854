/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener_slot: one address of a server at one poller
 *
 *   state     leaves it by
 *   open      accept4() says that the socket is shut -> shut
 *   shut      listener_slot_try() -> open, or the timer tries again;
 *             listener_slot_drain() -> closed
 *   closed
 *
 * Thread: the poller's, but for listener_slot_init().
 */
#ifndef NETPOLL_LISTENER_SLOT_H
#define NETPOLL_LISTENER_SLOT_H

#include <stdbool.h>

#include "conn/listener.h"
#include "poll/timer.h"

struct server_address;
struct server_part;

struct listener_slot {
	struct listener listener;
	struct server_part *part;
	const struct server_address *address;
	struct timer again; /* armed: it is shut, and will be tried */
	int again_ms;       /* how long the last pause was; 0: something was accepted since */
	bool told;          /* that it is shut, since then */
	int fd;             /* the listener's, which forgets it when it is closed */
	bool shared;        /* every poller's epoll holds the same socket */
	bool inet;
	bool steered;
	/* each connection needs TCP_NODELAY: the listener is inherited, and not ours to change */
	bool delays;
	bool draining;
	unsigned left; /* draining: the queued at the stop that are not yet accepted */
};

/* Of address @index of the server that @part belongs to. */
void listener_slot_init(struct listener_slot *slot, struct server_part *part, unsigned index,
			void (*on_accept)(struct listener *, int *));
/* Return: 0; as listener_open(). */
int listener_slot_open(struct listener_slot *slot);
/* As it is: not shut. listener_slot_open() opens it again. */
void listener_slot_close(struct listener_slot *slot);
/* @fd came: the socket is not shut. The settings of a connection that it does not inherit. */
void listener_slot_accepted(struct listener_slot *slot, int fd);
/* For a stop: accepts what was queued when it began, in pieces. Return: whether it is closed. */
bool listener_slot_drain(struct listener_slot *slot);

#endif
