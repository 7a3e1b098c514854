/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process: another process's socket, as a descriptor of our own
 *
 * A process has one number in its own PID namespace and others in those around it; from a namespace
 * beside it the process cannot be named at all. The socket's inode is the same everywhere.
 *
 * pidfd_getfd(2), Linux 5.6, asks for the rights that ptrace(2) asks for: root has them, and in
 * general a process of the same user.
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
 * The descriptor's number may be another socket's by the time it is duplicated: ask its cookie.
 * Return: 0; -ENOENT: it has none such; -ESRCH; -EACCES, -EPERM: not for us; -ENOSYS.
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
