/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * event: the one word that np_event is, embedded where something else has to be waited for
 *
 *   word      leaves it by
 *   CLEAR     event_set() -> SET;  event_wait() -> the waiter's address
 *   SET       event_wait() -> CLEAR, without waiting
 *   a waiter  event_set(), the deadline or poller_cancel() -> CLEAR
 *
 * The thread that takes the waiter out of the word, by compare and swap, is the one that wakes it.
 * So a set that found a waiter does not touch the event any more, and the woken one may free it at
 * once.
 */
#ifndef NETPOLL_EVENT_H
#define NETPOLL_EVENT_H

#include <stdatomic.h>
#include <stdint.h>

struct event {
	_Atomic(uintptr_t) word;
};

void event_init(struct event *e);
/* Thread: any. */
void event_set(struct event *e);
/*
 * event_wait() - parks a fiber, blocks a thread that is no poller's
 *
 * @ms 0 = for ever. @what: see park_init().
 * Return: 0; -ETIMEDOUT; -ECANCELED; -NP_ECONCURRENT: another waits already;
 * -NP_ENOTFIBER: on a poller's own stack.
 */
int event_wait(struct event *e, int ms, const char *what);
/*
 * event_wait_firm() - the same, for an event that is sure to come: neither cancelled nor late
 *
 * Instead @on_end(@arg, -ECANCELED or -ETIMEDOUT, the fiber's deadline) is called, on the poller's
 * own stack or, where it has been cancelled before, at once: more than once perhaps. NULL: it
 * is not called.
 * Return: 0; -NP_ECONCURRENT; -NP_ENOTFIBER.
 */
int event_wait_firm(struct event *e, void (*on_end)(void *arg, int why), void *arg,
		    const char *what);

#endif
