/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * facts: what a service is like at one moment, for verbs that look again and again
 *
 * A service that is unloaded, or loaded anew, is found out at the next look.
 */
#ifndef NPSTEER_FACTS_H
#define NPSTEER_FACTS_H

#include <sys/stat.h>

#include "npsteer.h"

/* A worker that is claimed, and its listeners together. */
struct fact_worker {
	unsigned number;
	struct np_steer_worker_info info;
	unsigned listeners;       /* in this network namespace */
	unsigned queued, backlog; /* of all of them; the longest queue they may have */
	bool stuck;               /* something waits, and none of it was taken for hang_ms */
};

struct facts {
	double at; /* seconds_now() */
	struct np_steer_info info;
	struct np_steer_stats stats;
	struct fact_worker *workers;
	unsigned n;
};

/* When a worker was last seen to take something, by its number. */
struct facts_taken {
	uint64_t taken;
	double since;
};

/* One that looks. */
struct lookout {
	struct npsteer *n;
	struct np_steer *s; /* NULL: it is not there */
	struct stat pin;    /* the folder it was opened from */
	struct facts_taken *taken;
	unsigned n_taken;
	char why[NP_STEER_TEXT_MAX]; /* why there was nothing to be seen */
};

/* DONE, or what fail() returned: the service has to be there at first. */
int lookout_open(struct npsteer *n, struct lookout *ret);
void lookout_close(struct lookout *l);
/* Return: 0; -errno, and l->why says why. *ret is facts_free()'s in any case. */
int lookout_look(struct lookout *l, struct facts *ret);
void facts_free(struct facts *f);

#endif
