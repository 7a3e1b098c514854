/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attached: which program chooses in each listener's reuseport group, as the kernel has it
 *
 * Linux 5.9, CAP_BPF and CAP_PERFMON: where it cannot be had, it is not known.
 */
#ifndef STEER_ATTACHED_H
#define STEER_ATTACHED_H

#include <stddef.h>
#include <stdint.h>

#include "groups_abi.h"

/*
 * attached_read() - of every listener in the network namespace of the calling thread
 *
 * A listener that nobody has asked for its cookie has none (0). *ret is malloc'ed.
 * Return: how many, or -errno.
 */
int attached_read(struct np_attached **ret);
/* The one with that cookie, NULL. */
const struct np_attached *attached_find(const struct np_attached *all, int n, uint64_t cookie);
/* The number of a program that is open; 0: it cannot be known. */
uint32_t attached_id(int prog_fd);

#endif
