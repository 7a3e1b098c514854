/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * names: the way of looking up that always honours what this machine says about it
 *
 * getaddrinfo(3) blocks, for seconds perhaps, and nothing ends it early.
 */
#ifndef SYS_NAMES_H
#define SYS_NAMES_H

#include <stdbool.h>

#include "sys/addr.h"

#define NAMES_HOST_MAX 256 /* a domain name has at most 253 characters (RFC 1035) */

/*
 * names_lookup() - the addresses of "name:port" by getaddrinfo(3), families in turn
 *
 * Return: how many, > 0, in *ret, which free(3) takes; -NP_ERESOLVE: there is no such name, or it
 *         has no address of this kind; -NP_ERESOLVEAGAIN: nobody could be asked, or nobody knew;
 *         -EINVAL, -ENOMEM, -EMFILE, -ENFILE.
 */
int names_lookup(const char *network, const char *address, struct addr **ret);
/*
 * Families in turn, beginning with that of the first (RFC 8305, section 4); each keeps its order.
 */
void names_in_turn(struct addr *list, unsigned n);

#endif
