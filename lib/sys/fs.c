/* SPDX-License-Identifier: BSD-2-Clause */
/* fs: thin wrappers; -errno. */
#include "sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sys/fault.h"

int sys_open_dir(const char *path, int *ret_fd)
{
	int fd;

	SYS_FAULT(open);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int sys_mkdir(const char *path, mode_t mode)
{
	SYS_FAULT(fs);
	return mkdir(path, mode) < 0 ? -errno : 0;
}

int sys_rmdir(const char *path)
{
	SYS_FAULT(fs);
	return rmdir(path) < 0 ? -errno : 0;
}

int sys_unlink(const char *path)
{
	SYS_FAULT(fs);
	return unlink(path) < 0 ? -errno : 0;
}

int sys_rename_new(const char *from, const char *to)
{
	SYS_FAULT(fs);
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

int sys_set_access(const char *path, mode_t mode, gid_t gid)
{
	SYS_FAULT(fs);
	if (gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0)
		return -errno;
	return chmod(path, mode) < 0 ? -errno : 0;
}

int sys_lstat(const char *path, struct stat *ret)
{
	SYS_FAULT(fs);
	return lstat(path, ret) < 0 ? -errno : 0;
}

int sys_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -errno : 0;
}

int sys_fs_magic(const char *path, long *ret)
{
	struct statfs st;

	SYS_FAULT(fs);
	if (statfs(path, &st) < 0)
		return -errno;
	*ret = (long)st.f_type;
	return 0;
}

int sys_dir_each(const char *path, int (*fn)(void *arg, const char *name), void *arg)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int r = 0;

	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = fn(arg, e->d_name);
	closedir(d);
	return r;
}

static int fs_open_or_make(const char *path, int *ret_fd)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
	int fd;

	do {
		fd = open(path, flags);
		if (fd < 0 && errno == ENOENT)
			fd = open(path, flags | O_CREAT | O_EXCL, 0600);
	} while (fd < 0 && (errno == EEXIST || errno == EINTR));
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int sys_open_lock(const char *path, int *ret_fd)
{
	struct stat st;
	int fd = -1, r;

	SYS_FAULT(open);
	r = fs_open_or_make(path, &fd);
	if (r < 0)
		return r;
	r = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int sys_dup(int fd, int *ret_fd)
{
	int n;

	SYS_FAULT(fs);
	n = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (n < 0)
		return -errno;
	*ret_fd = n;
	return 0;
}

int sys_random(void *p, size_t n)
{
	ssize_t r;

	do
		r = getrandom(p, n, 0);
	while (r < 0 && errno == EINTR);
	return r == (ssize_t)n ? 0 : r < 0 ? -errno : -EIO;
}
