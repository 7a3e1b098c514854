/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reaper: a process between a test and a command, that ends with the test whatever of the command
 * is left
 *
 * Check kills the process group of a test that takes too long, and no daemon is in it, nor what a
 * command has left in the background. The reaper is the parent of those whose own has ended
 * (PR_SET_CHILD_SUBREAPER), whatever group or session they are in, and is in a session of its own.
 * It ends when nothing of the command is left.
 */
#ifndef SUPPORT_REAPER_H
#define SUPPORT_REAPER_H

#include <sys/types.h>

struct reaper {
	pid_t pid, command;
	int told; /* readable when the command has ended */
};

/*
 * The command is what fn(arg) executes, in a child of the reaper. Nothing but the command has this
 * process's descriptors once it has ended.
 */
void reaper_start(struct reaper *r, void (*fn)(void *arg), void *arg);
/* Waits for the end of the command, and of nothing else that it has started: its wait status. */
int reaper_join(struct reaper *r);
/* In the place of that: SIGKILL ends the command and all that it has started. */
void reaper_kill(struct reaper *r);

#endif
