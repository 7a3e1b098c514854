/* SPDX-License-Identifier: BSD-2-Clause */
/* sched: what the scheduler says of the calling thread. */
#ifndef SYS_SCHED_H
#define SYS_SCHED_H

#include <stdint.h>

/* How often it has given up its CPU by itself: it slept, or waited for something. */
uint64_t sys_sched_sleeps(void);
/*
 * How long it was ready and had no CPU, proc_pid_schedstat(5). *fd is kept open between calls, and
 * -1 before the first. Return: nanoseconds; 0 where the kernel does not say.
 */
uint64_t sys_sched_waited_ns(int *fd);

#endif
