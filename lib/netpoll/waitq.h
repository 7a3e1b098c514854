/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * waitq: fibers and threads that wait in line for something that one of them is given at a time
 *
 * The thread that takes a waiter out of the line, under the lock, ends its wait, outside of it. A
 * waiter that gives up and finds itself taken has been served, and waits for what is on its
 * way.
 *
 *   a waiter    leaves it by
 *   in line     waitq_pop() -> served;  its limit, deadline or cancel -> gave up
 *   served      waitq_serve(): its wait returns 0
 */
#ifndef NETPOLL_WAITQ_H
#define NETPOLL_WAITQ_H

#include <pthread.h>
#include <stdbool.h>

#include "netpoll/event.h"
#include "poll/list.h"

struct waitq {
	pthread_mutex_t lock; /* of the line, and of its owner's state */
	struct list line;     /* longest first */
};

/* On the stack of the one that waits. */
struct waiter_in_line {
	struct list link;
	bool in_line;
	struct event served;
	void *self; /* waitq_self() of it */
};

/* Zeroed memory of @size that begins with a waitq; NULL: there is none. */
void *waitq_new(size_t size);
/* Frees what waitq_new() gave; NULL is fine. Return: 0; -EBUSY: one is in line. */
int waitq_free(struct waitq *q);
/* The fiber that runs here; a thread's own mark where none does. Never NULL. */
void *waitq_self(void);
/* 0, or why the caller may not wait here. */
int waitq_may_wait(int ms);
/* With the lock held. The caller is last in line, and is to call waitq_wait(). */
void waitq_join(struct waitq *q, struct waiter_in_line *w);
/*
 * waitq_wait() - without the lock: until served
 *
 * @firm: neither cancelled nor late. Return: 0: served; -ETIMEDOUT, -ECANCELED: not, and out of the
 * line.
 */
int waitq_wait(struct waitq *q, struct waiter_in_line *w, int ms, bool firm);
/* With the lock held. The one that waits longest, out of the line; NULL. */
struct waiter_in_line *waitq_pop(struct waitq *q);
/* Without the lock. Ends the wait of one that was popped; NULL: nothing. */
void waitq_serve(struct waiter_in_line *w);
/* All that are in line now. */
void waitq_serve_all(struct waitq *q);

#endif
