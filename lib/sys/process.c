/* SPDX-License-Identifier: BSD-2-Clause */
/* process: /proc/PID/fd finds the number, pidfd_getfd(2) the socket. */
#include "sys/process.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/io.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* The number under which @dir's process has what @link names; -ENOENT. */
static int find_number(DIR *dir, const char *link)
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

static int number_of(pid_t pid, uint64_t inode)
{
	char path[32], link[48];
	DIR *dir;
	int n;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	snprintf(link, sizeof link, "socket:[%llu]", (unsigned long long)inode);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	n = find_number(dir, link);
	closedir(dir);
	return n;
}

int sys_process_socket(pid_t pid, uint64_t inode, int *ret_fd)
{
	int pidfd, fd, n;

	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	n = number_of(pid, inode);
	fd = n < 0 ? n : (int)syscall(SYS_pidfd_getfd, pidfd, n, 0);
	if (n >= 0 && fd < 0)
		fd = -errno;
	sys_close(&pidfd);
	if (fd < 0)
		return fd;
	*ret_fd = fd; /* close-on-exec: pidfd_getfd(2) */
	return 0;
}
