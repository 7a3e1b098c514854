/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * door: who is let in at an endpoint: anybody, and where it is crowded the oldest has little time
 *
 * A bound on connections alone shuts the operator out as soon as so many others say nothing, or
 * drip. Here DOOR_GUESTS have all the time that the endpoint gives; each that comes beyond takes
 * the place of the one that came first, which has DOOR_SHORT_MS for what it does. One that stays
 * for good (door_stays()) has no place here, and is the verb's to bound. On one poller: no lock.
 */
#ifndef NPSTEER_DOOR_H
#define NPSTEER_DOOR_H

#include <netpoll/conn.h>
#include <netpoll/handlers.h>

#define DOOR_GUESTS   32
#define DOOR_SHORT_MS 250

struct door {
	const struct np_handlers *handlers; /* the verb's, and their argument */
	void *arg;
	struct door_guest {
		struct np_conn *conn; /* NULL: free */
		uint64_t came;
	} guests[DOOR_GUESTS];
	uint64_t came;
};

/* For np_server_new(), with a struct door as their argument. They use np_conn_data(). */
extern const struct np_handlers door_handlers;
void door_stays(struct np_conn *c);

#endif
