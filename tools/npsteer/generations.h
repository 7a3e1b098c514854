/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * generations: the processes of a service, each with its workers together
 *
 * One serves that has a listener, in this network namespace, on a worker that is ready. One that
 * has handed its listeners over is ready still, and serves nobody who comes.
 */
#ifndef NPSTEER_GENERATIONS_H
#define NPSTEER_GENERATIONS_H

#include "facts.h"

#define GENERATIONS 256 /* as many as there may be workers */

struct generation {
	int pid;
	uint64_t pid_ns; /* 0: npsteer's own */
	double age;      /* of the process, in seconds; 0: not known */
	bool knows;      /* of the service: it was not adopted */
	bool serves;
	unsigned workers, listeners;
	uint64_t conns;
	uint64_t left; /* connections that were closed, or went elsewhere */
};

struct generations {
	struct generation all[GENERATIONS]; /* the eldest first */
	unsigned n;
	double at;
};

void generations_of(const struct facts *f, struct generations *ret);
/* NULL: it has no worker (any more). */
const struct generation *generations_find(const struct generations *g, int pid);

#endif
