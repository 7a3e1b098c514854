/* SPDX-License-Identifier: BSD-2-Clause */
/* cgroup: /proc/PID/cgroup has the path, below the mount is the folder. */
#include "sys/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "sys/fs.h"
#include "sys/process.h"

#define CGROUP_NAME 4096
#define CGROUP_PATH (CGROUP_NAME + 64)

const char *sys_cgroup_root(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (unsigned i = 0; i < sizeof roots / sizeof roots[0]; i++)
		if (statfs(roots[i], &fs) == 0 && (unsigned)fs.f_type == CGROUP2_SUPER_MAGIC)
			return roots[i];
	return NULL;
}

void sys_cgroup_of(pid_t pid, char *dst, size_t cap)
{
	char text[CGROUP_NAME], *p;

	sys_process_read(pid, "cgroup", text, sizeof text);
	p = strstr(text, "0::"); /* the last line, where there are older hierarchies too */
	if (p && p != text && p[-1] != '\n')
		p = strstr(text, "\n0::") ? strstr(text, "\n0::") + 1 : NULL;
	snprintf(dst, cap, "%.*s", p ? (int)strcspn(p + 3, "\n") : 0, p ? p + 3 : "");
}

/* @file of its group, "" for the folder. Return: false: there is none. */
static bool cgroup_path(pid_t pid, const char *file, char dst[CGROUP_PATH])
{
	const char *root = sys_cgroup_root();
	char name[CGROUP_NAME];

	if (!root)
		return false;
	sys_cgroup_of(pid, name, sizeof name);
	snprintf(dst, CGROUP_PATH, "%s%s%s", root, name, file);
	return name[0];
}

int sys_cgroup_open(pid_t pid, int *ret_fd)
{
	char path[CGROUP_PATH];

	return cgroup_path(pid, "", path) ? sys_open_dir_at(AT_FDCWD, path, ret_fd) : -ENOENT;
}

uint64_t sys_cgroup_id(pid_t pid)
{
	char path[CGROUP_PATH];
	struct stat st;

	return cgroup_path(pid, "", path) && stat(path, &st) == 0 ? st.st_ino : 0;
}

/* An ancestor that is frozen freezes it too, and its own file says so. */
bool sys_cgroup_is_frozen(pid_t pid)
{
	char path[CGROUP_PATH], line[64];
	bool frozen = false;
	FILE *f;

	f = cgroup_path(pid, "/cgroup.events", path) ? fopen(path, "re") : NULL;
	while (f && fgets(line, sizeof line, f))
		frozen = frozen || !strcmp(line, "frozen 1\n");
	if (f)
		fclose(f);
	return frozen;
}
