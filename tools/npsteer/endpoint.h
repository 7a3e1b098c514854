/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * endpoint: an address at which a verb answers, on this library, until a signal ends it
 *
 * One poller thread serves; the verb's own thread looks at the service.
 */
#ifndef NPSTEER_ENDPOINT_H
#define NPSTEER_ENDPOINT_H

#include "door.h"
#include "netpoll/server.h"
#include "npsteer.h"

#define ENDPOINTS 2

struct endpoint {
	struct npsteer *n;
	struct np_pollers *pollers;
	struct np_server *servers[ENDPOINTS];
	struct door doors[ENDPOINTS]; /* one for each */
	unsigned count;
};

/*
 * endpoint_open() - where "[ADDR:]PORT" is, with on_connect and on_request of @h
 *
 * An address that is not of this machine's loopback is refused without --allow-remote. DONE, or
 * what fail() returned, and then endpoint_close() is still the caller's.
 */
int endpoint_open(struct endpoint *e, const char *option, const char *address,
		  const struct np_handlers *h, void *arg);
/* What is open answers from here on; a line says where: @what, the address. DONE, or fail()'s. */
int endpoint_start(struct endpoint *e, const char *what);
/* Waits for so long. Return: whether a signal asks for the end. */
bool endpoint_wait(double seconds);
/* Connections see that it drains; @wake, may be NULL, gets handlers that wait to look. */
void endpoint_close(struct endpoint *e, void (*wake)(void *arg), void *arg);

#endif
