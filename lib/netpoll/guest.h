/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guest: a connection that came by no server: its own group, handlers and end
 *
 * The group lives as long as the connection's memory, which references keep: verbs on a connection
 * that has ended still look at its limits. Until its descriptor is closed it holds its poller.
 */
#ifndef NETPOLL_GUEST_H
#define NETPOLL_GUEST_H

#include <stdbool.h>

struct np_conn;
struct np_handlers;
struct poller_slot;

/*
 * guest_new() - a connection of *fd (taken) on the poller of @s
 *
 * @h may be NULL. Thread: that poller's.
 * Return: 0, *ret a reference; -ECANCELED: on_prepare refused it, or the waits of this poller were
 *         cancelled; -E2BIG, -EINVAL (@h), -ENOMEM, -ENOSPC, -EPERM.
 */
int guest_new(struct poller_slot *s, int *fd, unsigned flags, const struct np_handlers *h,
	      void *arg, struct np_conn **ret);

/*
 * Where who made the guest may keep something: NULL at first; NULL itself if @c came by a server.
 * Owner thread; for as long as the connection's memory lives.
 */
void **guest_note(struct np_conn *c);
/* An idle one has nothing to do until somebody says otherwise: guests_retire() closes it. Owner
 * thread. */
void guest_set_idle(struct np_conn *c, bool idle);

/* Those that have handlers, and idle ones, close as soon as they have nothing to do. Thread: the
 * poller's. */
void guests_retire(struct poller_slot *s);
/* All end now. Thread: the poller's. */
void guests_end(struct poller_slot *s);

#endif
