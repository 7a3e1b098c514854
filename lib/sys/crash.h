/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crash: a look at a memory fault before the process dies of it
 *
 * Installed only where a user asks for it. Whatever the action for SIGSEGV and SIGBUS was before
 * still happens afterwards: another handler, or the default with its core dump, at the very
 * instruction.
 */
#ifndef SYS_CRASH_H
#define SYS_CRASH_H

/*
 * sys_crash_watch() - @look(address) at each fault of any thread; the first call of a process
 * counts
 *
 * @look runs in a signal handler: only what is async-signal-safe (signal-safety(7)).
 * Return: 0 or what sigaction(2) says.
 */
int sys_crash_watch(void (*look)(const void *addr));

/*
 * sys_crash_stack() - a stack for that handler: a thread whose own is full needs one
 *
 * Thread: the one it is for, which gives it back before it ends. Return: 0; -ENOMEM.
 */
int sys_crash_stack(void **ret);
void sys_crash_stack_free(void **stack);

/* Whole on stderr, or not; async-signal-safe. */
void sys_crash_say(const char *text);

#endif
