/* SPDX-License-Identifier: BSD-2-Clause */
/* proc: text files, read line by line. */
#include "proc.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

#include "child.h"

/* The number behind @name in a file of lines "name: number kB". */
static long kilobytes(const char *path, const char *name)
{
	char line[256], form[64];
	long kb = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		die(path);
	snprintf(form, sizeof form, "%s: %%ld kB", name);
	while (fgets(line, sizeof line, f) && sscanf(line, form, &kb) != 1)
		;
	fclose(f);
	return kb;
}

long proc_memory(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	return kilobytes(path, "Anonymous") * 1024;
}

long proc_kernel_memory(void)
{
	return kilobytes("/proc/meminfo", "SUnreclaim") * 1024;
}

uint64_t proc_cpu_ns(pid_t pid)
{
	uint64_t ns, sum = 0;
	char path[320];
	struct dirent *e;
	DIR *d;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	d = opendir(path);
	if (!d)
		die(path);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, e->d_name);
		f = fopen(path, "re");
		if (f && fscanf(f, "%" SCNu64, &ns) == 1)
			sum += ns;
		if (f)
			fclose(f);
	}
	closedir(d);
	return sum;
}
