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

static int process_open_dir(const char *path, DIR **ret)
{
	*ret = opendir(path);
	if (*ret)
		return 0;
	return errno == ENOENT ? -ESRCH : -errno;
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
	n = process_open_dir(path, &dir);
	if (n < 0)
		return n;
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

pid_t sys_process_here(pid_t pid)
{
	char proc[16];

	snprintf(proc, sizeof proc, "%d", (int)pid);
	return process_number_here(proc);
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

bool sys_process_has_socket(pid_t pid, int number, uint64_t inode)
{
	char path[64], is[64], want[48];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, number);
	snprintf(want, sizeof want, "socket:[%llu]", (unsigned long long)inode);
	n = readlink(path, is, sizeof is - 1);
	is[n > 0 ? n : 0] = '\0';
	return !strcmp(is, want);
}

int sys_process_open(pid_t pid, int *ret_fd)
{
	pid_t here = sys_process_here(pid);
	int fd;

	fd = here ? (int)syscall(SYS_pidfd_open, here, 0) : -1;
	if (fd < 0)
		return here ? -errno : -ESRCH;
	*ret_fd = fd; /* close-on-exec: pidfd_open(2) */
	return 0;
}

int sys_process_take(pid_t pid, int number, int *ret_fd)
{
	pid_t here = sys_process_here(pid);

	return here ? process_duplicate(here, number, ret_fd) : -ESRCH;
}

/* ------------------------------------------------------------------ looked at */

/* Calls fn for each name in the folder that is a number. */
static int process_each_number(const char *path, void (*fn)(void *arg, pid_t n), void *arg)
{
	struct dirent *e;
	DIR *dir;
	int r;

	r = process_open_dir(path, &dir);
	if (r < 0)
		return r;
	while ((e = readdir(dir)))
		if (process_is_number(e->d_name))
			fn(arg, (pid_t)atoi(e->d_name));
	closedir(dir);
	return 0;
}

unsigned sys_process_depth(void)
{
	pid_t self[DEEPEST];
	int n = process_numbers("self", self, DEEPEST);

	return n > 1 ? (unsigned)n : 1;
}

bool sys_process_first_is_hidden(void)
{
	return access("/proc/1", F_OK) < 0;
}

int sys_process_each(void (*fn)(void *arg, pid_t pid), void *arg)
{
	return process_each_number("/proc", fn, arg);
}

int sys_process_each_task(pid_t pid, void (*fn)(void *arg, pid_t tid), void *arg)
{
	char path[48];

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	return process_each_number(path, fn, arg);
}

int sys_process_each_fd(pid_t pid, void (*fn)(void *arg, int number, const char *what), void *arg)
{
	char path[48], what[64];
	struct dirent *e;
	ssize_t n;
	DIR *dir;
	int r;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	r = process_open_dir(path, &dir);
	if (r < 0)
		return r;
	while ((e = readdir(dir))) {
		n = readlinkat(dirfd(dir), e->d_name, what, sizeof what - 1);
		if (n < 0 && (errno == EACCES || errno == EPERM))
			r = -errno; /* of our own user, with capabilities that we have not */
		if (n <= 0)
			continue;
		what[n] = '\0';
		fn(arg, atoi(e->d_name), what);
	}
	closedir(dir);
	return r;
}

/* "tfd: 4 events: 80000019 data: ... pos:0 ino:36ddb3 sdev:8", since Linux 4.14 with the inode. */
static bool process_watched_inode(const char *line, uint64_t *ret)
{
	const char *ino = strstr(line, " ino:");

	if (strncmp(line, "tfd:", 4) || !ino)
		return false;
	*ret = strtoull(ino + strlen(" ino:"), NULL, 16);
	return true;
}

int sys_process_each_watched(pid_t pid, int number,
			     void (*fn)(void *arg, int number, uint64_t inode), void *arg)
{
	char path[64], line[256];
	uint64_t inode;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)pid, number);
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fgets(line, sizeof line, f))
		if (process_watched_inode(line, &inode))
			fn(arg, atoi(line + strlen("tfd:")), inode);
	fclose(f);
	return 0;
}

void sys_process_read(pid_t pid, const char *file, char *dst, size_t cap)
{
	char path[80];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = sys_read(fd, dst, cap - 1);
	dst[n > 0 ? n : 0] = '\0';
	sys_close(&fd);
}

static enum sys_wait process_wait_of(long nr)
{
	switch (nr) {
#ifdef __NR_epoll_wait
	case __NR_epoll_wait:
#endif
	case __NR_epoll_pwait:
#ifdef __NR_epoll_pwait2
	case __NR_epoll_pwait2:
#endif
		return SYS_WAIT_EPOLL;
	case __NR_accept:
	case __NR_accept4:
		return SYS_WAIT_ACCEPT;
	default:
		return SYS_WAIT_NONE;
	}
}

/* "NUMBER ARGUMENT ...", or "running". */
enum sys_wait sys_process_waits(pid_t pid, pid_t tid, int *ret_number)
{
	char file[48], text[128];
	unsigned long first;
	long nr;

	snprintf(file, sizeof file, "task/%d/syscall", (int)tid);
	sys_process_read(pid, file, text, sizeof text);
	if (sscanf(text, "%ld %lx", &nr, &first) != 2)
		return SYS_WAIT_NONE;
	*ret_number = (int)first;
	return process_wait_of(nr);
}

/* What follows the name in /proc/PID/stat: state, parent, ... The name may have anything in it. */
static const char *process_stat(pid_t pid, char *dst, size_t cap)
{
	const char *p;

	sys_process_read(pid, "stat", dst, cap);
	p = strrchr(dst, ')');
	return p ? p + 1 : "";
}

uint64_t sys_process_starttime(pid_t pid)
{
	const char *skipped = " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d"
			      " %*d %*d %llu";
	unsigned long long start = 0;
	char text[512];

	return sscanf(process_stat(pid, text, sizeof text), skipped, &start) == 1 ? start : 0;
}

pid_t sys_process_parent(pid_t pid)
{
	char text[512];
	int parent = 0;

	return sscanf(process_stat(pid, text, sizeof text), " %*c %d", &parent) == 1 ? parent : 0;
}

char sys_process_state(pid_t pid)
{
	char text[512], state = 0;

	return sscanf(process_stat(pid, text, sizeof text), " %c", &state) == 1 ? state : 0;
}

uint64_t sys_process_sleeps(pid_t pid)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	char text[4096], *p;

	sys_process_read(pid, "status", text, sizeof text);
	p = strstr(text, key);
	return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

void sys_process_name(pid_t pid, char *dst, size_t cap)
{
	sys_process_read(pid, "comm", dst, cap);
	dst[strcspn(dst, "\n")] = '\0';
}
