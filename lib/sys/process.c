/* SPDX-License-Identifier: BSD-2-Clause */
/* process: /proc/PID/fd finds the number, pidfd_getfd(2) the socket. */
#include "sys/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/io.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

uint32_t sys_process_pidns(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (uint32_t)st.st_ino : 0;
}

/* ------------------------------------------------------------------ one process */

/* The number under which @dir's process has what @link names; -ENOENT. */
static int process_find_number(DIR *dir, const char *link)
{
	char target[64];
	struct dirent *e;
	ssize_t n;

	while ((e = readdir(dir))) {
		n = readlinkat(dirfd(dir), e->d_name, target, sizeof target - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		if (!strcmp(target, link))
			return atoi(e->d_name);
	}
	return -ENOENT;
}

/* @proc: its folder in /proc. */
static int process_number_of(const char *proc, uint64_t inode)
{
	char path[288], link[48];
	DIR *dir;
	int n;

	snprintf(path, sizeof path, "/proc/%s/fd", proc);
	snprintf(link, sizeof link, "socket:[%llu]", (unsigned long long)inode);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	n = process_find_number(dir, link);
	closedir(dir);
	return n;
}

static int process_duplicate(pid_t pid, int number, int *ret_fd)
{
	int pidfd, fd, r;

	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	r = fd < 0 ? -errno : 0;
	sys_close(&pidfd);
	if (r == 0)
		*ret_fd = fd; /* close-on-exec: pidfd_getfd(2) */
	return r;
}

int sys_process_socket(pid_t pid, uint64_t inode, int *ret_fd)
{
	char proc[16];
	int n;

	if (pid <= 0)
		return -ESRCH;
	snprintf(proc, sizeof proc, "%d", (int)pid);
	n = process_number_of(proc, inode);
	return n < 0 ? n : process_duplicate(pid, n, ret_fd);
}

/* ------------------------------------------------------------------ every process */

/*
 * The numbers of @proc, outermost first: that of the namespace whose /proc it is, then one for each
 * namespace inside it.
 * Return: how many, at most @max.
 */
static int process_numbers(const char *proc, pid_t *dst, int max)
{
	char path[288], line[512], *p, *end;
	int n = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%s/status", proc);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof line, f)) {
		if (strncmp(line, "NSpid:", 6))
			continue;
		for (p = line + 6; n < max; p = end) {
			long v = strtol(p, &end, 10);

			if (end == p)
				break;
			dst[n++] = (pid_t)v;
		}
		break;
	}
	fclose(f);
	return n;
}

#define DEEPEST 33 /* PID namespaces nest 32 deep */

/*
 * The number that pidfd_open(2) takes for the process which /proc has as @proc: /proc may be of a
 * namespace around ours, as it is after `unshare --pid` alone. 0: it has none here.
 */
static pid_t process_number_here(const char *proc)
{
	pid_t self[DEEPEST], it[DEEPEST];
	int depth = process_numbers("self", self, DEEPEST), n = process_numbers(proc, it, DEEPEST);

	return depth < 1 || n < depth ? 0 : it[depth - 1];
}

static bool process_is_number(const char *name)
{
	return *name && strspn(name, "0123456789") == strlen(name);
}

int sys_process_find_socket(uint64_t inode, pid_t *ret_pid, int *ret_fd)
{
	int n, r = -ENOENT;
	struct dirent *e;
	pid_t pid;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		if (!process_is_number(e->d_name))
			continue;
		n = process_number_of(e->d_name, inode);
		if (n == -EACCES || n == -EPERM)
			r = -EACCES;
		if (n < 0)
			continue;
		pid = process_number_here(e->d_name);
		r = pid ? process_duplicate(pid, n, ret_fd) : -ENOENT;
		if (r < 0)
			continue; /* another one may share the socket with it */
		*ret_pid = pid;
		break;
	}
	closedir(dir);
	return r;
}
