/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * join: a cgroup in which every bind(2) to one port has SO_REUSEPORT
 *
 *   made -> programs attached -> copies are born in it -> emptied, removed
 *
 * The programs go with this process, whatever its end. A folder would stay: so another process
 * waits for that end, moves what is in the folder to the cgroup that it was made in, and removes
 * it.
 */
#ifndef NPSTEER_JOIN_H
#define NPSTEER_JOIN_H

#include "npsteer.h"

struct join;

/* DONE, or what fail() returned. */
int join_open(struct npsteer *n, unsigned port, struct join **ret);
/* The calling process is in it from now on. Only async-signal-safe calls. 0 or -errno. */
int join_enter(const struct join *j);
void join_close(struct join **j);

#endif
