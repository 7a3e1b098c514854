/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spent: the CPU time of a poller, whichever threads have carried it
 *
 * Each thread has a clock of its own, and runs code of the user's when it is left alone: its time
 * is the poller's while it has the loop, or the baton for fibers that live on it. Measured where
 * somebody asks for it.
 */
#ifndef POLL_SPENT_H
#define POLL_SPENT_H

#include <stdbool.h>

#include "poll/baton.h"

/* Thread: the baton's holder; and so for the next. */
void spent_measure(struct baton *b, bool on);
/* Up to now, of the time in which it was measured. */
void spent_get(struct baton *b, struct spent *ret);

/* ---- under the gate: from here on the time of @r's thread is the poller's; and until here. */
void spent_begin(struct baton *b, struct rider *r);
void spent_end(struct baton *b, struct rider *r);
/* @r is left alone: what its dispatch has cost its poller is over. */
void spent_left(struct baton *b, struct rider *r);

#endif
