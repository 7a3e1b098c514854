/* SPDX-License-Identifier: BSD-2-Clause */
/* proxy_from: the sources that are believed when they say for whom they speak */
#ifndef CONN_PROXY_FROM_H
#define CONN_PROXY_FROM_H

#include <stdbool.h>
#include <sys/socket.h>

struct proxy_from;

/*
 * proxy_from_parse() - "10.0.0.0/8, 192.0.2.1, 2001:db8::/32, unix"
 *
 * Addresses and prefixes, by commas or spaces; "unix" is any peer of a unix socket. Bits behind a
 * prefix's length have to be zero: a slip there would believe others.
 *
 * Return: 0; -EINVAL: another word, or none; -ENOMEM.
 */
int proxy_from_parse(const char *text, struct proxy_from **ret);
/* NULL is fine. */
void proxy_from_free(struct proxy_from *f);
bool proxy_from_has(const struct proxy_from *f, const struct sockaddr_storage *ss);

#endif
