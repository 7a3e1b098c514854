/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fd_table: the kernel's table of this process's descriptors, made large before it has to be
 *
 * The kernel doubles it when a number does not fit: at 64, 256, 512 ... In a process with threads
 * it then waits until none of them can still look at the old one (synchronize_rcu()), 10 to 25 ms
 * each time, and that is how long the accept or open takes that got the number.
 */
#ifndef SYS_FD_TABLE_H
#define SYS_FD_TABLE_H

/*
 * sys_fd_table_grow() - room for @most descriptors, or as many as the soft RLIMIT_NOFILE allows
 *
 * Eight bytes each, of the kernel's. Costs nothing to speak of while the process has one thread.
 * Return: 0; -EMFILE: the last number is taken, and so it is that large; -errno.
 */
int sys_fd_table_grow(unsigned most);

#endif
