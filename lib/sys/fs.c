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
#include "sys/io.h"

static int fs_open(int at, const char *path, int flags, int *ret_fd)
{
	int fd;

	SYS_FAULT(open);
	fd = openat(at, path, flags | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int sys_open_folder(const char *path, int *ret_fd)
{
	return fs_open(AT_FDCWD, path, O_PATH, ret_fd);
}

int sys_open_folder_at(int at, const char *name, int *ret_fd)
{
	return fs_open(at, name, O_PATH | O_NOFOLLOW, ret_fd);
}

int sys_open_dir_at(int at, const char *name, int *ret_fd)
{
	return fs_open(at, name, O_RDONLY | O_NOFOLLOW, ret_fd);
}

int sys_unlink(const char *path)
{
	SYS_FAULT(fs);
	SYS_FAULT(folder_write);
	return unlink(path) < 0 ? -errno : 0;
}

int sys_lstat(const char *path, struct stat *ret)
{
	SYS_FAULT(fs);
	return lstat(path, ret) < 0 ? -errno : 0;
}

int sys_getcwd(char *dst, size_t cap)
{
	SYS_FAULT(fs);
	return getcwd(dst, cap) ? 0 : -errno;
}

int sys_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -errno : 0;
}

int sys_fstat(int fd, struct stat *ret)
{
	struct stat st;

	SYS_FAULT(fs);
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = st;
	return 0;
}

int sys_mkdir_at(int at, const char *name, mode_t mode)
{
	SYS_FAULT(fs);
	SYS_FAULT(folder_write);
	return mkdirat(at, name, mode) < 0 ? -errno : 0;
}

int sys_unlink_at(int at, const char *name, bool dir)
{
	SYS_FAULT(fs);
	SYS_FAULT(folder_write);
	return unlinkat(at, name, dir ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

static int fs_rename(int at, const char *from, const char *to, unsigned flags)
{
	SYS_FAULT(fs);
	SYS_FAULT(folder_write);
	return renameat2(at, from, at, to, flags) < 0 ? -errno : 0;
}

int sys_rename_new_at(int at, const char *from, const char *to)
{
	return fs_rename(at, from, to, RENAME_NOREPLACE);
}

int sys_rename_swap_at(int at, const char *a, const char *b)
{
	return fs_rename(at, a, b, RENAME_EXCHANGE);
}

int sys_set_access(int fd, mode_t mode, gid_t gid)
{
	SYS_FAULT(fs);
	SYS_FAULT(folder_write);
	if (gid != (gid_t)-1 && fchown(fd, (uid_t)-1, gid) < 0)
		return -errno;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

int sys_set_access_at(int at, const char *name, mode_t mode, gid_t gid)
{
	SYS_FAULT(fs);
	SYS_FAULT(folder_write);
	if (gid != (gid_t)-1 && fchownat(at, name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return fchmodat(at, name, mode, 0) < 0 ? -errno : 0;
}

int sys_fs_magic(int fd, long *ret)
{
	struct statfs st;

	SYS_FAULT(fs);
	if (fstatfs(fd, &st) < 0)
		return -errno;
	*ret = (long)st.f_type;
	return 0;
}

int sys_dir_each(int *fd, int (*fn)(void *arg, const char *name), void *arg)
{
	DIR *d = fdopendir(*fd);
	struct dirent *e;
	int r = 0;

	if (!d) {
		r = -errno;
		sys_close(fd);
		return r;
	}
	*fd = -1;
	while (r == 0 && (errno = 0, e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = fn(arg, e->d_name);
	if (r == 0 && !e && errno)
		r = -errno;
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
