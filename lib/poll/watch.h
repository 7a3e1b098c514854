/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watch: interest in one descriptor; level semantics on top of an edge-triggered registration
 *
 * The kernel tells once that a descriptor became readable or writable. The watch remembers it
 * (ready) and knows what its owner waits for (want); its function is called while both are set.
 * want and ready are masks of WATCH_IN, WATCH_OUT and WATCH_GONE; for each bit:
 *
 *   WANT READY   state     leaves it by
 *     0    0     idle      watch_want() -> armed
 *     1    0     armed     kernel reports -> ready;  watch_stop() -> idle
 *     1    1     ready     watch_cant() (EAGAIN) -> armed;  watch_stop() -> held
 *     0    1     held      watch_want() -> ready, with no syscall
 *
 * watch_want() makes no epoll_ctl for IN, and for OUT one MOD in the life of the watch, at the
 * first time it is wanted; it stays registered for good.
 *
 * HUP, ERR, RDHUP and PRI are not wanted, they come: they are kept in w->flags and make the watch
 * IN-ready (a read finds out what happened), ERR and HUP also OUT-ready. An owner that does not
 * read for a while and must hear all the same that the peer has gone wants WATCH_GONE: ready with
 * RDHUP, HUP, ERR.
 *
 * A function that leaves want & ready set (its budget was spent) is called again next turn.
 * Everything here: Thread: the poller's.
 */
#ifndef POLL_WATCH_H
#define POLL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "poll/list.h"
#include "poll/poller.h"

enum {
	WATCH_IN = 1 << 0,
	WATCH_OUT = 1 << 1,
	WATCH_GONE = 1 << 6,
	/* in w->flags, sticky except PRI, which the function clears when it has dealt with it */
	WATCH_RDHUP = 1 << 2,
	WATCH_HUP = 1 << 3,
	WATCH_ERR = 1 << 4,
	WATCH_PRI = 1 << 5,
};

struct watch {
	void (*fn)(struct watch *w, unsigned ready); /* ready: want & ready, never 0 */
	struct poller *poller;
	struct list link; /* in the poller's ready list while want & ready, unless fn runs */
	int fd;           /* borrowed; stays as it is when the watch is closed */
	uint32_t slot;    /* in the poller's table; its generation makes stale events harmless */
	uint8_t want;
	uint8_t ready;
	uint8_t flags;
	bool out_armed : 1; /* EPOLLOUT is registered (for good) */
	bool shallow : 1;   /* its owner's: see watch_next_fiber() */
	uint32_t note;      /* its owner's: nothing here touches it */
};

/*
 * watch_open() - register @fd, edge-triggered, for IN|PRI|RDHUP plus @epoll_extra (EPOLLOUT for a
 * dial, EPOLLEXCLUSIVE for a shared listener)
 *
 * Nothing is wanted yet. EPOLLEXCLUSIVE registrations get EPOLLIN only and are level-triggered.
 * Return: 0; -ENOMEM, -ENOSPC, -EPERM (the fd cannot be polled) and what epoll_ctl(2) says.
 */
int watch_open(struct watch *w, struct poller *p, int fd, uint32_t epoll_extra,
	       void (*fn)(struct watch *, unsigned));
/*
 * watch_close() - DEL, off the ready list, slot given up; idempotent; the fd stays open
 *
 * After it no event of this registration reaches fn, even one already fetched in this batch, even
 * when another process still holds the description.
 */
void watch_close(struct watch *w);
/*
 * watch_drop() - watch_close() without the DEL, for an fd that is about to be closed
 *
 * close(2) ends the registration, unless another process still holds the description: then what it
 * reports finds no generation and is dropped.
 */
void watch_drop(struct watch *w);
/* Between watch_open() and watch_close() or watch_drop(); false for a zeroed watch. */
bool watch_is_open(const struct watch *w);
/*
 * watch_each() - fn(arg, watch) for those that are open, in @n slots of the table from @from on
 *
 * Other code may run between two calls: a watch that stays open all the time is met once. fn opens
 * and closes none. Return: where to go on, 0 at the end.
 */
uint32_t watch_each(struct poller *p, uint32_t from, uint32_t n,
		    void (*fn)(void *arg, struct watch *w), void *arg);
/* OUT: may fail once with what epoll_ctl(2) says (-ENOMEM, -ENOSPC). IN: always 0. */
int watch_want(struct watch *w, unsigned bits);
void watch_stop(struct watch *w, unsigned bits);

/* In the poller's list while want & ready; but while its function runs it need not be. */
static inline void watch_unlink(struct watch *w)
{
	if (!(w->want & w->ready) && !list_empty(&w->link))
		list_remove(&w->link);
}

static inline void watch_cant(struct watch *w, unsigned bits)
{
	poller_assert_owner(w->poller);
	w->ready &= (uint8_t)~bits;
	watch_unlink(w);
}

#endif
