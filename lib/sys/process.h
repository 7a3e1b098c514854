/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process: another process's socket, as a descriptor of our own
 *
 * pidfd_getfd(2), Linux 5.6, asks for the rights that ptrace(2) asks for: root has them, and in
 * general who is the same user.
 */
#ifndef SYS_PROCESS_H
#define SYS_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/*
 * sys_process_socket() - a duplicate of @pid's socket of that inode (see diag.h)
 *
 * What is at the descriptor's number when it is duplicated may be another socket by then: ask its
 * cookie. Return: 0; -ENOENT: it has none such; -ESRCH; -EACCES, -EPERM: not for us; -ENOSYS.
 */
int sys_process_socket(pid_t pid, uint64_t inode, int *ret_fd);

#endif
