/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_look: what a connection is like at this moment, for those who look at it from outside */
#ifndef CONN_CONN_LOOK_H
#define CONN_CONN_LOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "poll/park.h"

struct watch;

/* What nobody counts. */
#define CONN_LOOK_UNKNOWN UINT64_MAX

struct conn_look {
	int fd;
	struct sockaddr_storage peer;
	socklen_t peer_len; /* 0: not known */
	const char *life, *in, *out, *transport, *service;
	uint64_t age_ms;
	/*
	 * Ever; since the peer's last byte; with the kernel, and not acknowledged. TCP: the
	 * kernel's. Else: as far as its I/O state lives, or not known.
	 */
	uint64_t bytes_in, bytes_out, quiet_ms, in_flight;
	size_t input, unread; /* buffered: read and not released, not consumed */
	size_t unsent, built; /* flushed and not taken by the kernel; written and not flushed */
	size_t queued;        /* by np_conn_send() */
	uint32_t holds, refs;
	int why;
	bool draining, left, handled; /* handled: @park is of its handler */
	struct park_sight park;
	const char *tag; /* of its handler; of one that is held the last; NULL: none */
};

/* The connection of a watch, NULL: it is of something else. */
struct np_conn *conn_of_watch(struct watch *w);
/* Thread: owner. */
void conn_look(const struct np_conn *c, struct conn_look *ret);

#endif
