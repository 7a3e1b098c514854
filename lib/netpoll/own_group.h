/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * own_group: a connection that belongs to no server has a group, handlers and an end of its own
 *
 * The group lives as long as the connection's memory, which references keep: verbs on a connection
 * that has ended still look at its limits. Until its descriptor is closed it holds its poller.
 */
#ifndef NETPOLL_OWN_GROUP_H
#define NETPOLL_OWN_GROUP_H

#include <stdbool.h>

#include "conn/transport.h"

struct np_conn;
struct np_dial_opts;
struct poller_slot;

/*
 * own_group_new() - a connection of *fd (taken) on the poller of @s
 *
 * Of @o: handlers (may be NULL), arg, limits, tls and tls_host. Thread: that poller's.
 * Return: 0, *ret a reference; -ECANCELED: on_prepare refused it, or the waits of this poller were
 *         cancelled; -E2BIG, -EINVAL (handlers, limits), -ENOMEM, -ENOSPC, -EPERM.
 */
int own_group_new(struct poller_slot *s, int *fd, enum transport_kind kind,
		  const struct np_dial_opts *o, struct np_conn **ret);

/*
 * own_group_note() - a pointer for the use of the code that made the group, NULL at first
 *
 * Owner thread; for as long as the connection's memory lives. Return: NULL: @c came by a server.
 */
void **own_group_note(struct np_conn *c);
/* An idle one has nothing to do until it is said otherwise: own_groups_retire() closes it. Owner
 * thread. */
void own_group_set_idle(struct np_conn *c, bool idle);

/* Those that have handlers, and idle ones, close as soon as they have nothing to do. Thread: the
 * poller's. */
void own_groups_retire(struct poller_slot *s);
/* All end now. Thread: the poller's. */
void own_groups_end(struct poller_slot *s);

#endif
