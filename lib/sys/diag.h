/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * diag: the kernel's own list of listening sockets (sock_diag(7)), which anybody may read
 *
 * It tells of the sockets of every process in the network namespace in which the netlink socket was
 * opened, and of no other.
 */
#ifndef SYS_DIAG_H
#define SYS_DIAG_H

#include <stdint.h>

struct sys_listener {
	uint64_t cookie; /* SO_COOKIE */
	uint64_t inode;  /* as in /proc/PID/fd: "socket:[inode]" */
	unsigned queued; /* connections that wait for accept(2) */
	unsigned backlog;
	uint16_t family, port; /* host order */
	uint32_t ifindex;      /* it is bound to */
	uint32_t uid;          /* of its maker */
	uint8_t addr[16];      /* network order; IPv4 in the first four */
};

int sys_diag_open(int *ret_fd);
/* The same in another network namespace (netns.h): needs CAP_SYS_ADMIN. */
int sys_diag_open_in(int netns_fd, int *ret_fd);
/* Calls fn for each TCP listener of @family on @port, 0: on any. 0 or -errno. */
int sys_diag_listeners(int fd, int family, unsigned port,
		       void (*fn)(void *arg, const struct sys_listener *l), void *arg);

#endif
