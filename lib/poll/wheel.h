/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wheel: the timers of one poller, in five levels of 64 slots
 *
 * A slot of level l spans 64^l ms. A timer lies in the lowest level that reaches it and comes down
 * a level each time the wheel enters its slot. A bit for each slot that may hold a timer makes the
 * way to the next one five rotations. A set bit says "may": disarming only unlinks, and a look
 * ahead clears the bits of slots that it finds empty.
 */
#ifndef POLL_WHEEL_H
#define POLL_WHEEL_H

#include "poll/list.h"
#include "poll/timer.h"

#define WHEEL_LEVELS 5
#define WHEEL_SLOTS  64
#define WHEEL_NEVER  UINT64_MAX

struct wheel {
	uint64_t now;    /* all that was due up to here has fired */
	uint64_t entry;  /* no slot that holds a timer is entered before */
	struct list due; /* armed for now or earlier */
	/* wheel_next()'s last answer: good while that is all that is in that list; NULL: none is */
	const struct list *known, *known_only;
	uint64_t known_next;
	uint64_t bits[WHEEL_LEVELS];
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void wheel_put(struct wheel *w, struct timer *t);
/* When the wheel has to be turned next, at the latest; WHEEL_NEVER where no timer is armed. */
uint64_t wheel_next(struct wheel *w);
/* The timers in it: walks through all of them. */
unsigned wheel_count(const struct wheel *w);
/* Whether wheel_turn() has anything to look at; where it has not, the wheel stands at @now_ms. */
static inline bool wheel_is_due(struct wheel *w, uint64_t now_ms)
{
	if (w->entry <= now_ms || !list_empty(&w->due))
		return true;
	if (now_ms > w->now)
		w->now = now_ms;
	return false;
}

/*
 * Moves what is due at @now_ms to the empty @ret_due, in the order of its time; the caller fires
 * it. What is armed for the past from then on is due in the next turn.
 */
void wheel_turn(struct wheel *w, uint64_t now_ms, struct list *ret_due);

#endif
