/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process: another process's socket, as a descriptor of our own
 *
 * A reader would get wrong: a process's number means something in its own PID namespace, and in
 * those around it another one; from a namespace beside it the process cannot be named at all. What
 * is the same everywhere is the socket's inode.
 *
 * pidfd_getfd(2), Linux 5.6, asks for the rights that ptrace(2) asks for: root has them, and in
 * general who is the same user.
 */
#ifndef SYS_PROCESS_H
#define SYS_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* Which PID namespace this process is in: the inode of /proc/self/ns/pid; 0: cannot be known. */
uint32_t sys_process_pidns(void);
/*
 * sys_process_socket() - a duplicate of @pid's socket of that inode (see diag.h)
 *
 * What is at the descriptor's number when it is duplicated may be another socket by then: ask its
 * cookie. Return: 0; -ENOENT: it has none such; -ESRCH; -EACCES, -EPERM: not for us; -ENOSYS.
 */
int sys_process_socket(pid_t pid, uint64_t inode, int *ret_fd);
/*
 * sys_process_find_socket() - the same of whatever process has it
 *
 * Reads the descriptors of every process in /proc, which takes milliseconds, or longer where there
 * are very many.
 * Return: 0, *ret_pid is set; -ENOENT: no process that this one can see and duplicate from has it;
 * -EACCES: nor does one that could be looked into, and there are others; -EPERM, -ENOSYS.
 */
int sys_process_find_socket(uint64_t inode, pid_t *ret_pid, int *ret_fd);

#endif
