/* SPDX-License-Identifier: BSD-2-Clause */
/* flow: one connection by its addresses and ports, in text and as the kernel hashes it. */
#ifndef STEER_FLOW_H
#define STEER_FLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "present_abi.h"
#include "sys/addr.h"

struct flow {
	bool drawn;           /* "next": from anywhere */
	bool anywhere;        /* and to whatever address of the service */
	struct addr from, to; /* the client's, the server's */
};

/* "10.0.0.7:41234>10.0.0.1:80", "next", "next>10.0.0.1:80". -EINVAL. */
int flow_parse(const char *text, struct flow *ret);
/* A client's address and port by chance, of the family of @f->to. */
void flow_draw(struct flow *f);
void flow_key(const struct flow *f, struct np_flow *ret);
void flow_format(const struct flow *f, char *dst, size_t cap);
/*
 * flow_pose() - a socket of the server's side of that connection, without a packet
 *
 * The kernel gives it the hash of the flow (present.bpf.c reads that; *ret_key says of which
 * socket). Until *ret_fd is closed, which nobody is told of either, a SYN of this very flow would
 * get no further than to this socket: let that be a few milliseconds. No listener is affected.
 *
 * @wildcard: the listener is at no address of its own. The kernel hashes a flow to it as one to
 * address 0. Of IPv6 only the last four bytes count, so that one which ends in zeroes does; of IPv4
 * no socket has such an address.
 *
 * Return: 0, *ret_fd is -1 where the connection is there already; -EDESTADDRREQ: IPv4's wildcard;
 *         -EPERM without CAP_NET_ADMIN; what else connect(2) says, such as -ENETUNREACH.
 */
int flow_pose(const struct flow *f, bool wildcard, struct np_flow *ret_key, int *ret_fd);

#endif
