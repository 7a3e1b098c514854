/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queues: what waits for accept(2) at each listener of the service, in whatever process
 *
 * Asked of the kernel, in each network namespace that is given.
 */
#ifndef STEER_QUEUES_H
#define STEER_QUEUES_H

#include "steer/places.h"
#include "steer/steer.h"
#include "sys/diag.h"

struct queue {
	unsigned group, worker;
	struct sys_listener listener;
};

/*
 * queues_each_place() - call fn for each listener of the service with @least or more connections in
 * its queue
 *
 * Return: 0; -errno: no place has answered.
 */
int queues_each_place(struct np_steer *s, const struct places *p, unsigned least,
		      void (*fn)(void *arg, const struct queue *q), void *arg);

#endif
