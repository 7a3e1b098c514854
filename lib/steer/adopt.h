/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * adopt: listeners of servers that know nothing of the service, as its workers
 *
 * What the watch (hold.h) shares with np_steer_adopt(): one look, one judgement, one deed.
 */
#ifndef STEER_ADOPT_H
#define STEER_ADOPT_H

#include "steer/find.h"
#include "steer/steer.h"

struct hold;

struct adopt {
	struct np_steer *s;
	struct np_steer_adopt_opts o;
	struct find_query q;
	struct find f;
	int counting; /* 1: connections are counted; 0: not asked yet; else why they cannot be */
	struct hold *hold; /* NULL: duplicates are closed at once */
	void (*fn)(void *arg, const struct np_steer_adoption *a);
	void *arg;
};

/* Options and address. -EINVAL, -NP_EUNSUPPORTED and a sentence. */
int adopt_options(struct adopt *a, const struct np_steer_adopt_opts *opts);
/*
 * adopt_try() - what np_steer_adopt() does, once; what was found stays in a->f: find_fini()
 *
 * Return: as that; -ESTALE: it has changed meanwhile.
 */
int adopt_try(struct adopt *a);
/* Worker @w is of another task by now: the listener's. */
void adopt_rename(struct np_steer *s, uint32_t w, const struct find_listener *l);
/* Whether the program of that number is one of this service's: 1, 0; -errno: it cannot be told. */
int adopt_is_ours(struct np_steer *s, uint32_t id);

#endif
