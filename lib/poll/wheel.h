/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wheel: the timers of one poller, in five levels of 64 slots
 *
 * A slot of level l spans 64^l ms. A timer lies in the lowest level that reaches it and comes down a
 * level each time the wheel enters its slot. A bit for each slot that may hold a timer makes
 * the way to the next one five rotations. A disarmed timer leaves its bit set, so the wheel may wake
 * once for an empty slot; looking for its neighbours would cost more.
 */
#ifndef POLL_WHEEL_H
#define POLL_WHEEL_H

#include "poll/list.h"
#include "poll/timer.h"

#define WHEEL_LEVELS 5
#define WHEEL_SLOTS  64
#define WHEEL_NEVER  UINT64_MAX

struct wheel {
	uint64_t now;  /* all that was due up to here has fired */
	struct list due; /* armed for now or earlier */
	uint64_t bits[WHEEL_LEVELS];
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void wheel_put(struct wheel *w, struct timer *t);
/* When the wheel has to be turned next, at the latest; WHEEL_NEVER where no timer is armed. */
uint64_t wheel_next(const struct wheel *w);
/* Fires what is due at @now_ms; timers armed meanwhile for the past fire in the next call. Return: how many. */
unsigned wheel_turn(struct wheel *w, uint64_t now_ms);

#endif
