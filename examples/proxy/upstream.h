/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upstream: the targets that connections go on to, in turn or by load; dead ones are left alone for
 * a while
 *
 * Shared by all pollers: a few atomics that change once for each connection.
 */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include <netpoll/client.h>
#include <stdatomic.h>
#include <stdint.h>

#define UPSTREAMS 64

struct upstream {
	const char *network, *address;
	_Atomic(unsigned) conns;
	_Atomic(uint64_t) dead_until_ms; /* CLOCK_MONOTONIC */
};

struct upstreams {
	struct upstream up[UPSTREAMS];
	int n;
	int by_load;  /* else in turn */
	int retry_ms; /* how long one that refused is left alone */
	_Atomic(unsigned) turn;
};

/*
 * upstream_dial() - to the first one that answers: the living ones by the rule, then, if all have
 * refused, the others: better late than not at all
 *
 * *ret_up counts the connection until upstream_leave(). Thread: fiber. Return: 0; what the last
 * np_dial() said.
 */
int upstream_dial(struct upstreams *u, const struct np_dial_opts *o, struct upstream **ret_up,
		  struct np_conn **ret);
/*
 * upstream_enter() - a connection to the one of that address counts there, which was not dialed
 * here
 *
 * Return: NULL: there is none.
 */
struct upstream *upstream_enter(struct upstreams *u, const char *address, size_t n);
void upstream_leave(struct upstream *up);

#endif
