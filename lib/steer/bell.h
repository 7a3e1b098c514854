/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bell: what a watchdog sleeps on: the next SYN of the service, or a word from its owner
 *
 * Several processes wait for the same bell, and each must hear it. So no process reads the ring
 * buffer empty, and the wait is edge-triggered.
 */
#ifndef STEER_BELL_H
#define STEER_BELL_H

#include <stdbool.h>
#include <stdint.h>

#include "steer/maps.h"

struct bell {
	struct np_service_ctl *service;
	int epoll_fd, wake_fd;
	void *consumer, *producer; /* the positions of np_bell, a page each */
};

int bell_open(struct bell *b, const struct maps *m);
void bell_close(struct bell *b);
/* From now on the next SYN rings. */
void bell_arm(struct bell *b);
/* Sleeps for @ms, -1 for ever; a ring ends it, and so does bell_wake(). */
void bell_wait(struct bell *b, int ms);
/* Thread: any. */
void bell_wake(struct bell *b);

#endif
