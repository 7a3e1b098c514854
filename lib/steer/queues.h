/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queues: what waits for accept(2) at each listener of the service, in whatever process
 *
 * Asked of the kernel, for the network namespace that the asking socket was opened in.
 */
#ifndef STEER_QUEUES_H
#define STEER_QUEUES_H

#include "steer/steer.h"
#include "sys/diag.h"

struct queue {
	unsigned group, worker;
	struct sys_listener listener;
};

/*
 * queues_each() - call fn for each listener of the service with @least or more connections in its
 * queue
 *
 * @diag_fd from sys_diag_open(). Return: 0 or -errno.
 */
int queues_each(struct np_steer *s, int diag_fd, unsigned least,
		void (*fn)(void *arg, const struct queue *q), void *arg);

#endif
