/* SPDX-License-Identifier: BSD-2-Clause */
/* roll: which fibers of a poller have not returned, by the handler each was started for. */
#ifndef POLL_ROLL_H
#define POLL_ROLL_H

struct poller;

/*
 * roll_call() - one log line for each handler that has fibers, with how many
 *
 * Thread: the poller's. Return: how many fibers there are, the calling one included.
 */
unsigned roll_call(struct poller *p);

#endif
