/* SPDX-License-Identifier: BSD-2-Clause */
/* killed: a process of its own for what is to be killed at one of its system calls (NP_FAULT) */
#ifndef SUPPORT_KILLED_H
#define SUPPORT_KILLED_H

#include <stdbool.h>

#include "netpoll/steer.h"
#include "sys/fault.h"

struct strike {
	enum sys_call call;
	unsigned nth; /* from when the deed begins */
	int whom;     /* SYS_FAULT_KILL, SYS_FAULT_KILL_FORKED */
};

/*
 * killed_by() - deed(s, arg) in a process that has joined @service; NULL: none, and s is NULL
 *
 * Return: true: it was killed. False: it was not, and the deed returned 0. All else fails the test.
 */
bool killed_by(const struct strike *strike, const char *service,
	       int (*deed)(struct np_steer *s, void *arg), void *arg);

#endif
