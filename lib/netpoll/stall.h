/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stall: a thread that names the handler which keeps a poller's thread while it still does
 *
 * A poller knows its hogs when they return (poll/hog.h), and of one that never returns nothing.
 * This thread looks once a second, and twice in hog_ms at a poller whose turn is long: a dispatch
 * that is the same in both is logged. The pollers store anyway all that it reads. Two seconds after
 * the last turn of them all it sleeps, until one of them wakes it.
 */
#ifndef NETPOLL_STALL_H
#define NETPOLL_STALL_H

struct np_pollers;
struct stall;

/* @limit_ms > 0. Return: 0; -ENOMEM, -EAGAIN: no thread. */
int stall_start(struct np_pollers *p, int limit_ms, struct stall **ret);
/* Waits for the thread. NULL is fine. */
void stall_end(struct stall *t);

#endif
