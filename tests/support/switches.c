/* SPDX-License-Identifier: BSD-2-Clause */
/* switches: summed over the threads whose name is ours. */
#include "support/switches.h"

#include <dirent.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "support/test.h"

static void add_line(struct switches *s, const char *line)
{
	unsigned long long n;

	if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1)
		s->slept += n;
	else if (sscanf(line, "nonvoluntary_ctxt_switches: %llu", &n) == 1)
		s->forced += n;
}

static void add_thread(struct switches *s, const char *id, const char *name)
{
	char path[64 + 256], line[128];
	bool ours = false;
	char comm[17];
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%s/status", id);
	f = fopen(path, "re");
	if (!f)
		return; /* . and .., or gone meanwhile */
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "Name: %16s", comm) == 1)
			ours = !strncmp(comm, name, strlen(name));
		if (ours)
			add_line(s, line);
	}
	fclose(f);
}

struct switches np_switches(const char *name)
{
	DIR *d = opendir("/proc/self/task");
	struct switches s = { 0 };

	ck_assert_ptr_nonnull(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		add_thread(&s, e->d_name, name);
	closedir(d);
	return s;
}

unsigned long long np_switches_within(int ms)
{
	struct switches before = np_switches("np-"), now;

	poll(NULL, 0, ms);
	now = np_switches("np-");
	return now.slept - before.slept + now.forced - before.forced;
}
