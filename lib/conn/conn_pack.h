/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_pack: what only a busy connection has, on its way from one owner to the next
 *
 * An I/O state stays with the slab of its poller; what is in it goes along. Between conn_pack() and
 * conn_join() the connection has no watch, no timer, and is in no group's list.
 */
#ifndef CONN_CONN_PACK_H
#define CONN_CONN_PACK_H

#include "conn/conn.h"

struct conn_pack {
	bool busy;
	struct conn_io io; /* where it is busy */
};

/* Leaves its poller, which goes on counting it. Thread: that poller's. */
void conn_pack(struct np_conn *c, struct conn_pack *p);
/*
 * conn_join() - from here on it is @g's; the pack is used up
 *
 * It is not counted there yet. What cannot be had ends it: the watch, the memory. Thread: the
 * poller's of @g.
 */
void conn_join(struct np_conn *c, struct conn_group *g, struct conn_pack *p);
/*
 * The same in two steps. What the first one registers conn_pack() takes off again, until the second
 * one has been done; where it fails the pack is as it was. Return: 0; -errno.
 */
int conn_enter(struct np_conn *c, struct conn_group *g, struct conn_pack *p);
void conn_go_on(struct np_conn *c);
/* What its own thread asked of it while it was nobody's: the life that it had then. */
void conn_end_as_asked(struct np_conn *c, enum conn_life asked);

#endif
