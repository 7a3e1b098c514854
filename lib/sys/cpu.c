/* SPDX-License-Identifier: BSD-2-Clause */
/* cpu: the affinity mask and the cgroup quota (v1 and v2). */
#include "sys/cpu.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/fault.h"

/* Enough for every kernel Debian ships (NR_CPUS 8192); sched_getaffinity(2) wants >= the kernel's. */
#define CPU_MAX 8192

int sys_cpu_list(int *cpus, int max)
{
	cpu_set_t *set = CPU_ALLOC(CPU_MAX);
	size_t size = CPU_ALLOC_SIZE(CPU_MAX);
	int n = 0;

	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(size, set);
	if (sched_getaffinity(0, size, set) < 0) {
		CPU_FREE(set);
		return -errno;
	}
	for (int c = 0; c < CPU_MAX && n < max; c++)
		if (CPU_ISSET_S(c, size, set))
			cpus[n++] = c;
	CPU_FREE(set);
	return n;
}

/* "max 100000" or "150000 100000" in @path -> CPUs rounded up, 0 = no limit. */
static int quota_v2(const char *path)
{
	long long quota, period;
	FILE *f = fopen(path, "re");
	int n = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
		n = (int)((quota + period - 1) / period);
	fclose(f);
	return n;
}

static int quota_v1(const char *dir)
{
	char path[512 + sizeof "/cpu.cfs_period_us"];
	long long quota = -1, period = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%lld", &quota) != 1)
		quota = -1;
	fclose(f);
	snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%lld", &period) != 1)
		period = 0;
	fclose(f);
	return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

/* The tightest quota from @group up to the root of the hierarchy mounted at @root. */
static int quota_upwards(const char *root, const char *group, bool v2)
{
	char rel[256], path[512];
	int best = 0, n;

	snprintf(rel, sizeof rel, "%s", group);
	for (;;) {
		snprintf(path, sizeof path, v2 ? "%s%s/cpu.max" : "%s%s", root, rel);
		n = v2 ? quota_v2(path) : quota_v1(path);
		if (n > 0 && (!best || n < best))
			best = n;
		if (!rel[0] || !strcmp(rel, "/"))
			return best;
		*strrchr(rel, '/') = '\0';
	}
}

static int cgroup_quota(void)
{
	char line[512], *group;
	int best = 0, n = 0;
	FILE *f = fopen("/proc/self/cgroup", "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		group = strchr(line, '/');
		if (!group)
			continue;
		if (!strncmp(line, "0::", 3))
			n = quota_upwards("/sys/fs/cgroup", group, true);
		else if (strstr(line, ":cpu:") || strstr(line, ":cpu,") || strstr(line, ",cpu:"))
			n = quota_upwards("/sys/fs/cgroup/cpu", group, false);
		else
			continue;
		if (n > 0 && (!best || n < best))
			best = n;
	}
	fclose(f);
	return best;
}

int sys_cpu_count(void)
{
	int cpus[1024];
	int n = sys_cpu_list(cpus, 1024);
	int quota = cgroup_quota();

	if (n < 1)
		n = 1;
	return quota > 0 && quota < n ? quota : n;
}

int sys_cpu_pin(int cpu)
{
	cpu_set_t *set;
	size_t size = CPU_ALLOC_SIZE(CPU_MAX);
	int r;

	SYS_FAULT(setaffinity);
	if (cpu < 0 || cpu >= CPU_MAX)
		return -EINVAL;
	set = CPU_ALLOC(CPU_MAX);
	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	r = sched_setaffinity(0, size, set) < 0 ? -errno : 0;
	CPU_FREE(set);
	return r;
}
