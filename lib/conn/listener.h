/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener: one poller's interest in one listening socket
 *
 * The registration is level-triggered (and EPOLLEXCLUSIVE, so the same type serves a socket that
 * sits in the epoll of every poller): one accept4 for one connection, with no second call that only
 * learns EAGAIN. In a burst (events in successive turns of one millisecond) the number of accepts
 * for each event doubles, up to a budget; one that came too many makes it wait before it believes
 * in the next burst.
 *
 *   state      leaves it by
 *   accepting  EMFILE, ENOMEM and others that may pass -> backoff;  EBADF, EINVAL, ENOTSOCK,
 *              EFAULT, listener_close() -> closed;  listener_drain_begin() -> draining
 *   backoff    retry timer (10 ms to 500 ms), listener_nudge() (a descriptor came free) ->
 *              accepting;  listener_close() -> closed.  At 500 ms each retry in vain resets what
 *              waits, by the reserve
 *   draining   listener_drain() accepts;  listener_close() -> closed
 *   closed
 */
#ifndef CONN_LISTENER_H
#define CONN_LISTENER_H

#include <stdbool.h>

#include "poll/timer.h"
#include "poll/watch.h"

struct listener {
	struct watch watch;
	struct timer retry;
	int fd;           /* borrowed */
	unsigned accepts; /* tried for each event; adapts */
	unsigned calm;    /* events before a burst is believed again */
	uint64_t turn;    /* of the last event, */
	uint64_t at_ms;   /* and when it was */
	int backoff_ms;   /* of the current episode; 0 = accepting */
	int reserve;      /* a descriptor to give up when there is no other; -1 = none */
	bool held;        /* its owner has enough connections */
	uint64_t *sheds;  /* where those that are reset are counted; NULL: nowhere */
	unsigned shed;    /* connections reset and not yet logged */
	uint64_t said_ms;
	/* Takes *fd (sets it to -1). Thread: the poller's, main. */
	void (*on_accept)(struct listener *l, int *fd);
	/*
	 * The listener is closed. EINVAL: somebody shut the socket; EBADF, ENOTSOCK: the descriptor
	 * is another's by now.
	 */
	void (*on_error)(struct listener *l, int err);
	void *owner;
};

/* Closed: for one that may never be opened. Not needed before listener_open(). */
void listener_init(struct listener *l);
/* Return: 0 or what watch_open() says; closed then. */
int listener_open(struct listener *l, struct poller *p, int fd);
void listener_close(struct listener *l);
/*
 * For a stop. From listener_drain_begin() on nothing is accepted but by listener_drain(): some of
 * the *left that are to be, which falls by as many. Peers that connect meanwhile do not prolong it.
 * Return: 1: call it again, in another turn; 0: the queue is empty, or *left is 0; -errno: as
 * on_error, or a shortage.
 */
void listener_drain_begin(struct listener *l);
int listener_drain(struct listener *l, unsigned *left);
/* No more for now: nothing is accepted until listener_release(), also if it is opened anew
 * meanwhile. From on_accept too. */
void listener_hold(struct listener *l);
void listener_release(struct listener *l, struct poller *p);
/* A descriptor came free: if it backs off, it tries again. */
void listener_nudge(struct listener *l);

#endif
