/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay: the steering program's choice, made once more in userspace from what it has noted
 *
 * Compiled from the program's own source (bpf/steer_choose.h): it does not check that file, but
 * that compiler, verifier and JIT made of it what it says, and that a record has every input.
 */
#ifndef STEER_REPLAY_H
#define STEER_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "steer_abi.h"

/*
 * replay_agrees() - whether the replay asks for the same inputs, in the same order, and comes to
 * the same end
 *
 * Return: 0; -ENODATA: the record has not all of them; -EBADMSG: it asks for another input, or
 *         leaves one over; -EILSEQ: another worker, or not as fit.
 */
int replay_agrees(const struct np_decision *d);

/*
 * replay_make() - the choice as it would be made, by inputs that @look tells
 *
 * @d has the flow's hash, the group, its roster and whether queues are seen; it becomes the record
 * that the program would have made. rr's turn is not taken.
 */
void replay_make(struct np_decision *d, const struct np_config *c,
		 __u64 (*look)(void *arg, enum np_input_kind kind, __u32 who), void *arg);

#endif
