/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * owner: a process of the service that is asked for something by a signal
 *
 * The number is what the process itself has written to its worker's line: it could be anybody's, or
 * another's by now. So it is taken by a pidfd, has to hold a listener of the service, and to know
 * the signal, which would end it else. One npsteer at a time asks it: what says who that is is a
 * lock on /proc/PID/fd, which nobody can open but the process's own user and root, and which is
 * gone with either.
 */
#ifndef NPSTEER_OWNER_H
#define NPSTEER_OWNER_H

#include "npsteer.h"

struct owner {
	int pid;
	int pidfd, lock; /* -1: none */
};

/* A process that has been taken is owner_release()'s, also where it fails. */
void owner_init(struct owner *o, int pid);
/* DONE, or what fail() returned: nothing has been sent. */
int owner_take(struct npsteer *n, struct np_steer *s, struct owner *o, int signal);
/* The same without the lock: it could be taken. An exit code, and the sentence in @why. */
int owner_check(struct npsteer *n, struct np_steer *s, struct owner *o, int signal, char *why,
		size_t cap);
/* So that no other npsteer asks it. Return: false: one does. */
bool owner_lock(struct owner *o);
int owner_signal(const struct owner *o, int signal);
bool owner_is_gone(const struct owner *o);
void owner_release(struct owner *o);

#endif
