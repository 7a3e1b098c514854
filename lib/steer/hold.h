/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hold: adopted servers watched: new listeners are adopted, and while the server is away its
 * listeners are kept open
 *
 *   a listener is   when
 *   theirs          a process beside this one holds it
 *   orphaned        none does any more. With a sibling that is theirs: its queue goes to the
 *                   siblings at once. Else it is kept, and clients wait in its queue, until there
 *                   is one, or hold_ms have passed: then they are reset, as without this.
 *
 * Killed at any moment, the kernel closes what was kept.
 */
#ifndef STEER_HOLD_H
#define STEER_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "steer/find.h"

struct hold;

/* @fd, a duplicate of @l, which is in @slot, becomes the hold's, or is closed if it keeps none. */
void hold_keep(struct hold *h, const struct find_listener *l, uint32_t slot, int *fd);
/* Whether it is one that is kept, and that no process has any more. */
bool hold_is_orphan(const struct hold *h, const struct find_listener *l);
/* Whether no task accepts from it, and one may begin to. */
bool hold_is_new(struct hold *h, const struct find_listener *l);

#endif
