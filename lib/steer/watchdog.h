/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watchdog: ticks the rescuer while there is anything to watch, and sleeps otherwise
 *
 *   state    leaves it by
 *   awake    no SYN, nor anything queued, for a second -> asleep; ticks every hang_ms / 2
 *   asleep   the next SYN of the service -> awake; costs no wake-up
 *
 * Busy pollers do not keep it awake: a worker can hang without harm as long as no client connects
 * to it.
 */
#ifndef STEER_WATCHDOG_H
#define STEER_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

struct np_steer;
struct watchdog;

struct rescue_scope;

int watchdog_new(struct np_steer *s, const struct rescue_scope *scope, struct watchdog **ret);
/* Ends its thread, if it has one. NULL is fine. */
void watchdog_free(struct watchdog *d);
/* A thread of its own. */
int watchdog_start(struct watchdog *d);
/*
 * On the calling thread, for @ms, -1 for ever; for longer, where its own ticks come too late to see
 * who hangs. Return: how many listeners were shut; -ETIMEDOUT: none, and they came late for ten
 * times @ms; or -errno.
 */
int watchdog_run(struct watchdog *d, int ms);

#endif
