/* SPDX-License-Identifier: BSD-2-Clause */
/* timers: the timers of a poller that were never stopped, at its end */
#ifndef NETPOLL_TIMERS_H
#define NETPOLL_TIMERS_H

struct poller_slot;

/* Gives back what is left. Only after the poller's thread has ended. */
void timers_free(struct poller_slot *s);

#endif
