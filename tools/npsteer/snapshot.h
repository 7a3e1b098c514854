/* SPDX-License-Identifier: BSD-2-Clause */
/* snapshot: the facts of one moment as an event for a browser, shared by all that watch */
#ifndef NPSTEER_SNAPSHOT_H
#define NPSTEER_SNAPSHOT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "facts.h"

struct snapshot {
	_Atomic(unsigned) refs;
	uint64_t number;
	size_t n;
	char *text; /* "id: 7\ndata: {...}\n\n" */
};

/* What the lookout sees now, or why it sees nothing. One reference; NULL: no memory. */
struct snapshot *snapshot_new(struct lookout *l, uint64_t number);
struct snapshot *snapshot_ref(struct snapshot *s);
/* NULL is fine. */
void snapshot_unref(struct snapshot *s);

#endif
