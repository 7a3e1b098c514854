/* SPDX-License-Identifier: BSD-2-Clause */
/* addresses: where a server listens: each --listen, and the sockets that systemd hands over */
#ifndef SERVICE_ADDRESSES_H
#define SERVICE_ADDRESSES_H

#include <netpoll/server.h>

#define ADDRESSES_MAX 16

struct addresses {
	const char *text[ADDRESSES_MAX];
	int n;
};

/* address_network() - "unix" or "tcp"; *text is moved behind "unix:" */
const char *address_network(const char **text);
/* addresses_add() - Lifetime: @text is main()'s. Return: 0; -1: too many, which is said. */
int addresses_add(struct addresses *a, const char *text);
/* addresses_listen() - on all of them. Return: 0; -1: said on stderr, also where there is none. */
int addresses_listen(const struct addresses *a, struct np_server *s);
/* addresses_take_over() - those of the process before, where it hands over; else likewise. */
int addresses_take_over(const struct addresses *a, struct np_server *s);
/* addresses_print() - each address that @s listens on, on stdout, behind a space */
void addresses_print(struct np_server *s);
#endif
