/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * halt: the threads of another process, seen to stand still, and kept so for a moment
 *
 * Kept by ptrace(2): a thread in a ptrace-stop runs again when its tracer has ended, however that
 * happens, and neither at SIGCONT nor when its cgroup is thawed. One that was stopped is stopped
 * again then. So nothing has to be undone, and nobody is left standing by a tool that was killed.
 *
 * It takes the rights of pidfd_getfd(2), and a thread has one tracer: where a debugger is at work
 * nothing is done.
 */
#ifndef SYS_HALT_H
#define SYS_HALT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum sys_halt {
	SYS_HALT_NONE,    /* a thread of it may run; or it has ended */
	SYS_HALT_STOPPED, /* all are stopped by a signal: state T of ps(1) */
	SYS_HALT_FROZEN,  /* or are in a cgroup that is frozen */
	SYS_HALT_TRACED,  /* one is another process's tracee: t */
};

/* What it does at this moment, by the number that /proc has for it. */
enum sys_halt sys_halt_of(pid_t pid);
/*
 * sys_halt() - keep every thread of @pid from running until the calling thread has ended
 *
 * @interrupt: also those that are not stopped by a signal. One that is in the kernel stands when
 * its system call has been interrupted (signal(7), "Interruption of system calls"). Others than
 * children of the caller's own are waited for by nobody here.
 *
 * Return: 0: none runs; -EAGAIN: one does, without @interrupt; -ETIMEDOUT: one did until @until_ns
 *         of sys_clock_ns(); -EPERM: it is traced, or not for us; -ESRCH: it has ended.
 *         Those that were caught before go on when the caller ends.
 */
int sys_halt(pid_t pid, bool interrupt, uint64_t until_ns);

#endif
