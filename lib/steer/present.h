/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * present: the inputs of a choice as they are now: the service's maps, and the kernel's queues
 *
 * What the program reads through steer_input.h, for replay_make(). Three things are known to the
 * program alone, and are not told: "maglev"'s mean is that of this moment, where the program's is
 * of the last runs on its CPU; no walk has just met nobody fit (NP_INPUT_SPENT); "random" draws
 * anew.
 */
#ifndef STEER_PRESENT_H
#define STEER_PRESENT_H

#include "present_abi.h"
#include "steer/steer.h"

struct present {
	struct np_steer *s;
	unsigned group, cpu;
	struct np_config config;
	__u32 client[4]; /* its address, network order */
	struct np_present *all;
	unsigned n;
	unsigned turns; /* of rr, taken so far */
};

/*
 * present_read() - the queues, and the hash of @flow, whose family may be 0
 *
 * present_fini() in any case. Return: 0; -ENOENT: there is no such connection; -errno.
 */
int present_read(struct present *p, const struct np_flow *flow, uint32_t *ret_hash);
void present_fini(struct present *p);
/* The iterator, which the first present_read() of a service opens. */
void present_close(struct np_steer *s);
/* For replay_make(). */
__u64 present_look(void *arg, enum np_input_kind kind, __u32 who);

#endif
