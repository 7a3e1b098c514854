/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registry: what this process has, for those who look at it: sets of pollers, servers, pools,
 * channels
 *
 * Two locks. That of the lists is held for moments, and pollers take it: when a pool or a channel
 * is made and freed. That of a look is held while pollers are waited for, and is taken by setup
 * threads alone: a set of pollers is not freed under a look.
 */
#ifndef NETPOLL_REGISTRY_H
#define NETPOLL_REGISTRY_H

#include <stdbool.h>

#include "poll/list.h"

enum registry_kind {
	REGISTRY_SETS,
	REGISTRY_SERVERS,
	REGISTRY_POOLS,
	REGISTRY_CHANNELS,
	REGISTRY_KINDS
};

/* Embedded in what is noted. */
struct noted {
	struct list link;
	unsigned nth; /* of its kind in this process, from 1; 0: not yet noted */
};

/* What was forgotten may be noted again: it is who it was. */
void registry_note(enum registry_kind kind, struct noted *n);
/* What is not noted is left alone. */
void registry_forget(struct noted *n);
/* fn(arg, n) for each, with the lists' lock held: it waits for nothing, and notes and forgets
 * nothing. */
void registry_each(enum registry_kind kind, void (*fn)(void *arg, struct noted *n), void *arg);
/* Its place among all of its kind that there have been, from 0: names need not differ. */
static inline unsigned registry_id(const struct noted *n)
{
	return n->nth - 1;
}
/* No set is freed in between. Thread: not under registry_each(). */
void registry_hold_sets(void);
void registry_release_sets(void);

#endif
