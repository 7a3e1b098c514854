/* SPDX-License-Identifier: BSD-2-Clause */
/* find: the parts of a search, in the order of find_run() */
#ifndef STEER_FIND_PRIVATE_H
#define STEER_FIND_PRIVATE_H

#include "steer/find.h"

/* Whether it is the process, or of the cgroup, that @q names; true where it names none. */
bool find_is_asked_for(const struct find_query *q, pid_t pid);
/* find_tasks.c: holders and acceptors of what is in f->all, and f->denied. 0 or -errno. */
int find_tasks(struct find *f, const struct find_query *q);

#endif
