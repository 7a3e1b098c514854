/* SPDX-License-Identifier: BSD-2-Clause */
/* sched: what the scheduler says of a thread. */
#ifndef SYS_SCHED_H
#define SYS_SCHED_H

#include <stdint.h>
#include <time.h>

/* How often the calling thread has given up its CPU by itself: it slept, or waited. */
uint64_t sys_sched_sleeps(void);

/* A thread that is asked by others, too. */
struct sys_sched {
	int tid;
	clockid_t clock;
	int fd; /* its schedstat, -1: it has not been asked for */
};

/* The calling one. */
void sys_sched_open(struct sys_sched *s);
void sys_sched_close(struct sys_sched *s);
/* What it has had of its CPU. */
uint64_t sys_sched_ran_ns(const struct sys_sched *s);
/*
 * How long it was ready and had no CPU, proc_pid_schedstat(5).
 *
 * Return: nanoseconds; 0 where the kernel does not say.
 */
uint64_t sys_sched_waited_ns(struct sys_sched *s);

#endif
