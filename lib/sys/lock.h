/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lock: an exclusive lock on an open folder, and the process that has it
 *
 * flock(2): it belongs to the open description, so that the kernel drops it however its holder
 * ends. A stopped holder keeps it, and so does a child that inherited the description: every wait
 * has an end, and tells whose lock it was.
 */
#ifndef SYS_LOCK_H
#define SYS_LOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sys_holder {
	/* that took the lock; 0: not to be seen from this PID namespace, or gone meanwhile */
	pid_t pid;
	char name[32]; /* of its program, printable; "" unknown */
	char state;    /* as ps(1) has it: 'T' is stopped; 0 unknown, or the process is gone */
};

/*
 * sys_lock() - take the lock on the folder open as @fd
 *
 * Waits until @until_ns of sys_clock_ns(); 0, or a time that is past: one try, which never waits.
 * Thread: any.
 * Return: 0; -EAGAIN while another has it: *ret_holder (may be NULL) is set then; -EBADF, -ENOLCK.
 */
int sys_lock(int fd, uint64_t until_ns, struct sys_holder *ret_holder);
int sys_unlock(int fd);
/* Its holder at this moment; ret->pid 0: nobody, or not to be seen from here. */
void sys_lock_holder(int fd, struct sys_holder *ret);
/* "process 812 (nginx, stopped)" for a sentence about it. */
void sys_holder_format(const struct sys_holder *h, char *dst, size_t cap);

#endif
