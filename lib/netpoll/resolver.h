/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * resolver: "name:port" -> addresses, while the fiber that asks is parked
 *
 * A lookup that its fiber has given up holds no poller, no worker of np_offload() and no stop. One
 * over sockets (sys/query.h) is gone with its wait. One by getaddrinfo(3), where the machine's
 * configuration asks for more than /etc/hosts and name servers, cannot be ended, so each has a
 * thread of its own that is never joined; it and the fiber hold the lookup, and the last of them
 * frees it.
 */
#ifndef NETPOLL_RESOLVER_H
#define NETPOLL_RESOLVER_H

#include <stdint.h>

#include "sys/addr.h"

struct resolver;

/* Return: 0; -ENOMEM. */
int resolver_new(struct resolver **ret);
/* Lookups that were given up may go on for a while behind it. NULL is none. */
void resolver_free(struct resolver *r);
/*
 * resolver_lookup() - parks
 *
 * @network "tcp", "tcp4" or "tcp6"; @until_ms of poller_after_ms(), 0: none. Thread: fiber.
 * Return: how many, > 0, families in turn, in *ret, which free(3) takes; -NP_ERESOLVE,
 *         -NP_ERESOLVEAGAIN (also: too many threads are under way); -NP_EDIALTIMEOUT: @until_ms;
 *         -ETIMEDOUT: the fiber's deadline; -ECANCELED; -EINVAL, -ENOMEM, -EMFILE, -ENFILE.
 */
int resolver_lookup(struct resolver *r, const char *network, const char *address, uint64_t until_ms,
		    struct addr **ret);

#endif
