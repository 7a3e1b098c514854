/* SPDX-License-Identifier: BSD-2-Clause */
/* channel_look: what a channel is like at this moment, for those who look at it from outside */
#ifndef NETPOLL_CHANNEL_LOOK_H
#define NETPOLL_CHANNEL_LOOK_H

#include <stdint.h>

struct noted;

struct channel_look {
	unsigned waiting; /* callers */
	uint64_t calls, dropped;
	int poller; /* its connection's */
	int error;  /* 0: it is well */
};

/* Of one that is noted. Thread: any. */
void channel_look(struct noted *n, struct channel_look *ret);

#endif
