/* SPDX-License-Identifier: BSD-2-Clause */
/* cpu: the affinity mask and the cgroup quota (v1 and v2). */
#include "sys/cpu.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/fault.h"

/*
 * Enough for every kernel Debian ships (NR_CPUS 8192); sched_getaffinity(2) wants >= the kernel's.
 */
#define CPU_MAX 8192

int sys_cpu_list(int *cpus, int max)
{
	cpu_set_t *set = CPU_ALLOC(CPU_MAX);
	size_t size = CPU_ALLOC_SIZE(CPU_MAX);
	int n = 0;

	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(size, set);
	if (sched_getaffinity(0, size, set) < 0)
		n = -errno;
	for (int c = 0; c < CPU_MAX && n >= 0 && n < max; c++)
		if (CPU_ISSET_S(c, size, set)) {
			if (cpus)
				cpus[n] = c;
			n++;
		}
	CPU_FREE(set);
	return n;
}

/* The numbers that a file of the group begins with, at most two. Return: how many. */
static int cpu_numbers(const char *dir, const char *file, long long ret[2])
{
	char *path;
	int n = 0;
	FILE *f;

	if (asprintf(&path, "%s/%s", dir, file) < 0)
		return 0;
	f = fopen(path, "re");
	free(path);
	if (f) {
		n = fscanf(f, "%lld %lld", &ret[0], &ret[1]);
		fclose(f);
	}
	return n;
}

static int cpu_rounded(long long quota, long long period)
{
	long long n = quota > 0 && period > 0 ? quota / period + (quota % period != 0) : 0;

	return n > CPU_MAX ? CPU_MAX : (int)n;
}

/* "max 100000" or "150000 100000". */
static int cpu_quota_v2(const char *dir)
{
	long long n[2];

	return cpu_numbers(dir, "cpu.max", n) == 2 ? cpu_rounded(n[0], n[1]) : 0;
}

static int cpu_quota_v1(const char *dir)
{
	long long quota[2], period[2];

	return cpu_numbers(dir, "cpu.cfs_quota_us", quota) == 1 &&
			       cpu_numbers(dir, "cpu.cfs_period_us", period) == 1 ?
		       cpu_rounded(quota[0], period[0]) :
		       0;
}

/* A container may not see its own group below the mount, only those above: each level is tried. */
int sys_cpu_quota(const char *mount, const char *group, bool v2)
{
	int best = 0, n;
	char *path, *end;

	if (asprintf(&path, "%s%s", mount, group) < 0)
		return 0;
	/* a group has no limit of length but PATH_MAX: one of 300 characters is usual */
	end = path + strlen(mount);
	for (;;) {
		n = v2 ? cpu_quota_v2(path) : cpu_quota_v1(path);
		if (n > 0 && (!best || n < best))
			best = n;
		if (!*end)
			break;
		*strrchr(end, '/') = '\0';
	}
	free(path);
	return best;
}

static int cpu_cgroup_quota(void)
{
	char *line = NULL, *group;
	FILE *f = fopen("/proc/self/cgroup", "re");
	size_t cap = 0;
	int best = 0, n;

	if (!f)
		return 0;
	while (getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		group = strchr(line, '/');
		if (!group)
			continue;
		if (!strncmp(line, "0::", 3))
			n = sys_cpu_quota("/sys/fs/cgroup", group, true);
		else if (strstr(line, ":cpu:") || strstr(line, ":cpu,") || strstr(line, ",cpu:") ||
			 strstr(line, ",cpu,"))
			n = sys_cpu_quota("/sys/fs/cgroup/cpu", group, false);
		else
			continue;
		if (n > 0 && (!best || n < best))
			best = n;
	}
	free(line);
	fclose(f);
	return best;
}

int sys_cpu_count(void)
{
	int n = sys_cpu_list(NULL, INT_MAX), quota = cpu_cgroup_quota();

	if (n < 1)
		n = 1;
	return quota > 0 && quota < n ? quota : n;
}

int sys_cpu_pin(int cpu)
{
	return sys_cpu_pin_any(&cpu, 1);
}

int sys_cpu_pin_any(const int *cpus, int n)
{
	cpu_set_t *set;
	size_t size = CPU_ALLOC_SIZE(CPU_MAX);
	int r;

	SYS_FAULT(setaffinity);
	for (int i = 0; i < n; i++)
		if (cpus[i] < 0 || cpus[i] >= CPU_MAX)
			return -EINVAL;
	set = CPU_ALLOC(CPU_MAX);
	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(size, set);
	for (int i = 0; i < n; i++)
		CPU_SET_S(cpus[i], size, set);
	r = sched_setaffinity(0, size, set) < 0 ? -errno : 0;
	CPU_FREE(set);
	return r;
}
