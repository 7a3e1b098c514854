/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hand: an adopted listener shut and listened on again, while those who accept from it are kept
 *
 *   halted -> shut, and the kernel hands what is queued to the siblings -> listening -> in its slot
 *
 * Its server must not see it: Go ends, and haproxy never accepts again, where one call of accept(2)
 * or epoll_wait(2) falls in between. So every thread of the processes that accept is kept from
 * running meanwhile (sys/halt.h). A deputy does it: killed at any step, its parent brings the
 * listener back, and without its parent it goes on to the end. Only both of them killed between the
 * shutdown and listen(2), within some 0.1 ms, would leave a listener shut.
 */
#ifndef STEER_HAND_H
#define STEER_HAND_H

#include "steer/listeners.h"
#include "steer/stand.h"
#include "steer/steer.h"

struct hand {
	struct np_steer *s;
	uint32_t slot;
	int fd; /* a duplicate */
	struct listeners_entry l;
	const struct stand *who;
	bool interrupt; /* also those that are not stopped by a signal */
};

/*
 * hand_over() - under the service's lock
 *
 * Return: 1: what was queued is its siblings', and it listens; 0: one of those who accept ran, or
 *         nothing is queued: nothing was done; -ECHILD: the deputy was killed; -EPERM, -ETIMEDOUT:
 *         as sys_halt(), nothing was done; else the listener could not be brought back.
 */
int hand_over(struct hand *h);

#endif
