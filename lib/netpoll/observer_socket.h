/* SPDX-License-Identifier: BSD-2-Clause */
/* observer_socket: where an observer listens, and who may ask there */
#ifndef NETPOLL_OBSERVER_SOCKET_H
#define NETPOLL_OBSERVER_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "netpoll/socket_file.h"

struct observer_socket {
	int fd; /* -1: none */
	struct socket_file file;
};

#define OBSERVER_FOLDER "/run/netpoll"

/* The path that is meant by @path: "" is the one by which npsteer finds the process. */
void observer_socket_path(const char *path, char *dst, size_t cap);
/*
 * Mode 0600. A dead one of this user's is replaced, whatever else is there left alone. Where it has
 * the name of its number those of processes that were killed are taken away first, as
 * np_observe_sweep() does: one that is killed and started again and again leaves no more than one.
 *
 * Return: 0; -EADDRINUSE; what else keeps it from that.
 */
int observer_socket_open(struct observer_socket *s, const char *path);
void observer_socket_close(struct observer_socket *s);
/* The next that asks, who is root or of this user. Return: 0; -EACCES: it is another, and was
 * closed; what accept4(2) says. */
int observer_socket_accept(const struct observer_socket *s, int *ret_fd);

#endif
