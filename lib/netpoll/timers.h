/* SPDX-License-Identifier: BSD-2-Clause */
/* timers: what the end of a poller owes to the timers that were never stopped. */
#ifndef NETPOLL_TIMERS_H
#define NETPOLL_TIMERS_H

struct poller_slot;

/* Gives back what is left. Only after the poller's thread has ended. */
void timers_free(struct poller_slot *s);

#endif
