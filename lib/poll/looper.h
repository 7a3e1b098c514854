/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * looper: which thread runs a poller's turns, where that goes from one to another
 *
 * It leaves a thread that is kept by a handler, for a spare one: the watchdog's doing, or that of
 * np_blocking(). It comes home when that handler parks or ends, if that is the poller's own thread.
 */
#ifndef POLL_LOOPER_H
#define POLL_LOOPER_H

#include "poll/baton.h"

/*
 * looper_hand_off() - for np_blocking(): from here on the poller is another thread's
 *
 * Ends with baton_enter(). Return: 0: in USER, without the baton; -EAGAIN: no thread is free,
 * and @w waits for one; -ENOTSUP: the poller has no crew, or not one thread was to be had.
 */
int looper_hand_off(struct crew_waiter *w);
/*
 * looper_look() - the watchdog's: hands on a poller whose looper has been in USER for @limit_ns
 *
 * Return: whether somebody is in USER, and has to be looked at again.
 */
bool looper_look(struct baton *b, uint64_t now_ns, uint64_t limit_ns);
/* What the watchdog has left alone, once. Return: false: nothing since. */
bool looper_take_told(struct baton *b, struct hog_note *ret);
/* What the thread runs that had the loop before this one, if it was left alone; NULL: it was not,
 * or is back. Thread: the looper's. */
struct fiber *looper_left_alone(struct baton *b);

/* Around the looper's sleep. */
void looper_idle_begin(struct rider *r);
/* Return: whether it is the looper still, and holds the baton. @any: it brings events, and has to
 * have it. */
bool looper_idle_end(struct rider *r, bool any);
/* The sleep of a spare one. */
void looper_nap(struct rider *r, int timeout_ms);
/*
 * looper_goes_on() - at a boundary between two dispatches, where there are spare threads
 *
 * Lets those have the baton that wait. Return: whether this thread is the looper still, and has
 * been all the time: else its frames return, and touch nothing of the poller's any more.
 */
bool looper_goes_on(struct rider *r);

#endif
