/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cpu: how many CPUs this process may really use, and pinning to one
 *
 * "May use" is the smaller of the affinity mask and the cgroup's CPU quota rounded up:
 * sysconf(_SC_NPROCESSORS_ONLN) sees neither, and a container that gets 2 CPUs of 64 would
 * start 64 pollers.
 */
#ifndef SYS_CPU_H
#define SYS_CPU_H

#include <sched.h>
#include <stdbool.h>

/* The affinity mask of the calling thread, as a sorted list; @cpus may be NULL. Return: how many,
 * or -errno. */
int sys_cpu_list(int *cpus, int max);
/* min(affinity mask, cgroup quota rounded up), at least 1. */
int sys_cpu_count(void);
/*
 * sys_cpu_quota() - the tightest quota of @group and of those above it, in the hierarchy mounted at
 * @mount
 *
 * @group as /proc/self/cgroup has it: "/", "/a/b". Return: CPUs rounded up; 0: none, or none to be
 * seen.
 */
int sys_cpu_quota(const char *mount, const char *group, bool v2);
/* Pins the calling thread to @cpu. -EINVAL where the mask or a cpuset forbids it. */
int sys_cpu_pin(int cpu);
/* To all of the @n: it runs on any of them. Return: 0; -EINVAL, -EPERM, -ENOMEM. */
int sys_cpu_pin_any(const int *cpus, int n);

#endif
