/* SPDX-License-Identifier: BSD-2-Clause */
/* wake: an eventfd that gets a sleeping thread out of epoll_wait. */
#ifndef SYS_WAKE_H
#define SYS_WAKE_H

int sys_wake_open(int *ret_fd);
/* Never fails for a full counter: then a wake-up is pending anyway. */
int sys_wake_signal(int fd);
/* Takes back what was signalled: for one that is waited for by level. */
void sys_wake_drain(int fd);

#endif
