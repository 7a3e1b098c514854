/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spare: the threads that carry a poller beside its own, from the crew and back
 *
 * One that is not the looper sleeps, for as long as fibers have parked on it: when they can go on
 * the looper lends it the baton.
 */
#ifndef POLL_SPARE_H
#define POLL_SPARE_H

#include "poll/baton.h"

/* ---- under the gate */

/* For the next looper. Return: as crew_take(). */
struct rider *spare_take(struct poller *p, bool *ret_any);
/* It carries the poller no more. */
void spare_give_back(struct baton *b, struct rider *r);

/* ---- the looper's */

/* One that hosts, has fibers to go on with, and had no turn in @turn; NULL: none. */
struct rider *spare_lendable(struct baton *b, struct rider *me, uint64_t turn);
/* Until it has run them, or has left one alone. Return: as looper_goes_on(). */
bool spare_lend(struct rider *me, struct rider *to);

/* ---- its own */

/* Given away by the crew, it waits for its first turn. Return: false: it is taken back. */
bool spare_arrive(struct rider *r, struct poller *p);
/* Gives up the baton, and waits until it is to have it. Return: false: it carries the poller no
 * more. */
bool spare_host(struct rider *r);

#endif
