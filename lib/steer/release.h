/* SPDX-License-Identifier: BSD-2-Clause */
/* release: what adopting takes back where it fails, and the watch where a server has gone. */
#ifndef STEER_RELEASE_H
#define STEER_RELEASE_H

#include <stdint.h>

struct find;
struct np_steer;

/*
 * release_group() - under the lock: every adopted worker's slot in group @g, and the program
 *
 * *ret_n grows by the slots. Return: 0; why the program is there still.
 */
int release_group(struct np_steer *s, const struct find *f, unsigned g, unsigned *ret_n);
/* Under the lock: one slot given up. */
void release_slot(struct np_steer *s, uint32_t slot, uint64_t cookie);

#endif
