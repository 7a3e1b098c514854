/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * places: the network namespaces that a service has listeners in, each with a socket to ask there
 *
 * A group's key has the cookie of its namespace (Linux 5.14). The caller's own is the first place;
 * another one is found where a process is that /proc shows, and is entered with CAP_SYS_ADMIN.
 *
 * The sockets keep their namespaces there: places_rest() before a long wait.
 */
#ifndef STEER_PLACES_H
#define STEER_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "steer_abi.h"

struct np_steer;

struct place {
	uint64_t cookie; /* of the namespace; 0: before Linux 5.14 */
	int diag_fd;     /* diag.h */
	bool wanted;     /* a listener of the service is there, as of the last search */
};

struct places {
	struct place all[NP_GROUPS + 1];
	unsigned n;
	int err; /* why the namespace of group @missing has not been found: -ENOENT, -EPERM; 0 */
	unsigned missing;
};

/* The caller's own. places_close(), in any case. */
int places_open(struct places *p);
void places_close(struct places *p);
/* Those where the service has listeners at the moment; others are closed. Reads /proc if one of
 * them is not open yet. */
void places_search(struct places *p, struct np_steer *s);
/* All but the caller's own are closed. */
void places_rest(struct places *p);

#endif
