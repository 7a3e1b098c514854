/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stand: the processes that accept from an adopted worker's listener, and whether they stand still
 *
 * A server holds a listener in more processes than accept from it: nginx's master and each of its
 * workers hold all of them. Where no task is seen to accept, any holder may.
 */
#ifndef STEER_STAND_H
#define STEER_STAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "steer/find.h"
#include "sys/halt.h"

struct stand {
	uint64_t cookie;  /* of the listener; 0: nothing is known */
	uint64_t seen_ns; /* when that was */
	pid_t pid[FIND_HOLDERS];
	unsigned n;
	bool interrupted; /* it ran, and was not stopped by others */
	uint64_t sleeps;  /* of the thread that accepts, after that */
};

/*
 * stand_find() - who accepts from the listener that has that cookie, by a search that has just been
 * made; *ret_fd is a duplicate of it
 *
 * Return: 0; -ENOENT: nobody that is seen holds it; -E2BIG: too many to be sure of all; -EACCES:
 *         there are processes that may not be looked into; and what find_take() says.
 */
int stand_find(const struct find *f, uint64_t cookie, struct stand *ret, int *ret_fd);
/* What they do, all of them: the least still of it. */
enum sys_halt stand_look(const struct stand *st);

#endif
