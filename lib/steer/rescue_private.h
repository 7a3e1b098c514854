/* SPDX-License-Identifier: BSD-2-Clause */
/* rescue: what is the same for workers of this library (rescue.c) and adopted ones */
#ifndef STEER_RESCUE_PRIVATE_H
#define STEER_RESCUE_PRIVATE_H

#include "steer/rescue.h"

/* The lock of the service's rescuers: one that is held too long is taken over. */
uint32_t rescue_lock_word(uint64_t now_ns);
bool rescue_lock(struct np_steer *s, uint32_t mine);
void rescue_unlock(struct np_steer *s, uint32_t mine);

/* Done for worker @w: no rescuer comes again before some time. */
void rescue_back_off(struct np_steer *s, unsigned w, uint64_t now_ns, uint64_t hang_ns);
void rescue_count(struct np_steer *s, const struct queue *q);
/* Not done: this one does not come again before some time. */
void rescue_wait(struct rescuer *r, unsigned w, uint64_t hang_ns);
void rescue_count_failure(struct np_steer *s, unsigned w);

/* rescue_adopted.c: an adopted worker that the judge calls hung or stopped. 1: it was done. */
int rescue_adopted(struct rescuer *r, const struct queue *q, uint64_t now_ns, uint64_t hang_ns);
/* What is known of who accepts ends with each tick. */
void rescue_forget_search(struct rescuer *r);
/* Whoever moves again is given connections again. */
void rescue_see_marked(struct rescuer *r);
void rescue_unmark_all(struct rescuer *r);

#endif
