/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * query: a lookup of a host name that waits on sockets, by c-ares
 *
 * It waits for one descriptor and a time: the caller does so, as it likes, and steps. An end
 * before its time leaves nothing: query_close() closes its sockets and frees its memory at once.
 * Nothing blocks but the reading of small files in /etc when it opens (nsswitch.conf, gai.conf,
 * resolv.conf, hosts).
 *
 *   state     leaves it by
 *   open      query_step() with the last answer, or the last timeout -> done;  query_close()
 *   done      query_take(), once;  query_close()
 */
#ifndef SYS_QUERY_H
#define SYS_QUERY_H

#include <stdbool.h>

#include "sys/addr.h"

struct query;

/*
 * query_open() - asks for "name:port"; may be done when it returns
 *
 * @network "tcp", "tcp4" or "tcp6". Return: 0; -NP_EUNSUPPORTED: getaddrinfo(3) is to be asked:
 *         names_conf_read() says so, or the library is built without c-ares, or the name is a
 *         number; -EINVAL: malformed; -NP_ERESOLVEAGAIN, -ENOMEM, -EMFILE, -ENFILE.
 */
int query_open(const char *network, const char *address, struct query **ret);
bool query_done(const struct query *q);
/* Readable when query_step() has something to do. */
int query_fd(const struct query *q);
/* Milliseconds until query_step() has something to do though nothing was readable, > 0. */
int query_ms(const struct query *q);
void query_step(struct query *q);
/* Of one that is done. Return: as names_lookup(). */
int query_take(struct query *q, struct addr **ret);
void query_close(struct query *q);

#endif
