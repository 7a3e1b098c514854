/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netns: a look from another network namespace
 *
 * What asks the kernel about sockets is told of one namespace: a netlink socket of the one that it
 * was made in. The calling thread never leaves its own.
 */
#ifndef SYS_NETNS_H
#define SYS_NETNS_H

#include <stdint.h>
#include <sys/types.h>

/* The one that @pid is in, 0: this process. -ENOENT, -EACCES. */
int sys_netns_open(pid_t pid, int *ret_fd);
/* The same number for one and the same namespace; 0: it cannot be known. */
uint64_t sys_netns_id(int netns_fd);
/*
 * sys_netns_run() - fn(arg), on a thread that is in that namespace, to its end
 *
 * Needs CAP_SYS_ADMIN. Return: what fn returned; -EPERM: it was not called; -EAGAIN, -ENOMEM.
 */
int sys_netns_run(int netns_fd, int (*fn)(void *arg), void *arg);

#endif
