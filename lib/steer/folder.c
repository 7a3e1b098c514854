/* SPDX-License-Identifier: BSD-2-Clause */
/* folder: descriptors first, then questions about them. */
#include "steer/folder.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/bpf.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/lock.h"

#define BPF_FS_MAGIC 0xcafe4a11u

/* Asked of the descriptor: a name could be another folder's by the time it is used. */
static int folder_judge(int fd, bool root, char why[FOLDER_WHY])
{
	unsigned may_write;
	struct stat st;
	int r;

	r = sys_fstat(fd, &st);
	if (r < 0)
		return r;
	may_write = st.st_mode & (S_IWGRP | S_IWOTH);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		snprintf(why, FOLDER_WHY, "belongs to uid %u", (unsigned)st.st_uid);
	else if (may_write && !(root && (st.st_mode & S_ISVTX)))
		snprintf(why, FOLDER_WHY, "may be written by others (mode %04o)",
			 (unsigned)st.st_mode & 07777);
	else
		return 0;
	return -EACCES;
}

static int folder_keep(int fd, bool root, int *ret_fd, char why[FOLDER_WHY])
{
	long magic = 0;
	int r;

	r = sys_fs_magic(fd, &magic);
	if (r == 0 && (unsigned)magic != BPF_FS_MAGIC)
		r = -ENODEV;
	if (r == 0)
		r = folder_judge(fd, root, why);
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int folder_open_root(const char *path, int *ret_fd, char why[FOLDER_WHY])
{
	int fd = -1, r;

	why[0] = '\0';
	r = sys_open_folder(path, &fd);
	if (r == -ENOTDIR)
		r = -ENODEV;
	return r < 0 ? r : folder_keep(fd, true, ret_fd, why);
}

int folder_open(int at, const char *name, int *ret_fd, char why[FOLDER_WHY])
{
	int fd = -1, r;

	why[0] = '\0';
	r = sys_open_folder_at(at, name, &fd);
	if (r == -ENOTDIR || r == -ELOOP) {
		snprintf(why, FOLDER_WHY, "is no folder, or a symbolic link");
		return -EACCES;
	}
	return r < 0 ? r : folder_keep(fd, false, ret_fd, why);
}

int folder_reopen(int fd, int *ret_fd)
{
	return sys_open_dir_at(fd, ".", ret_fd);
}

int folder_lock(int fd, uint64_t until_ns, struct sys_holder *ret_holder)
{
	int r = sys_lock(fd, until_ns, ret_holder);

	return r == -EAGAIN ? -EBUSY : r;
}

bool folder_is_removed(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

bool folder_is_same(int fd, int other)
{
	struct stat a, b;

	return sys_fstat(fd, &a) == 0 && sys_fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

int folder_make(int at, const char *name, int *ret_fd, char why[FOLDER_WHY])
{
	int r;

	why[0] = '\0';
	r = sys_mkdir_at(at, name, 0700);
	return r < 0 ? r : folder_open(at, name, ret_fd, why);
}

int folder_each(int fd, int (*fn)(void *arg, const char *name), void *arg)
{
	int dir = -1, r;

	r = folder_reopen(fd, &dir);
	if (r == 0)
		r = sys_dir_each(&dir, fn, arg);
	return r;
}

static int folder_unlink(void *arg, const char *name)
{
	int r = sys_unlink_at(*(const int *)arg, name, false);

	return r == -EISDIR || r == -EPERM ? sys_unlink_at(*(const int *)arg, name, true) : r;
}

/* No folder: a symbolic link, or a pin. It goes, and what it points to stays. */
static bool folder_is_other(int at, const char *name)
{
	int fd = -1, r = sys_open_folder_at(at, name, &fd);

	sys_close(&fd);
	return r == -ENOTDIR || r == -ELOOP;
}

int folder_remove(int at, const char *name, char why[FOLDER_WHY])
{
	int fd = -1, r;

	r = folder_open(at, name, &fd, why);
	if (r == -EACCES && folder_is_other(at, name))
		return sys_unlink_at(at, name, false);
	if (r < 0)
		return r;
	r = folder_each(fd, folder_unlink, &fd);
	sys_close(&fd);
	return r == 0 ? sys_unlink_at(at, name, true) : r;
}

int folder_get(int fd, const char *name, uint32_t flags, int *ret_fd)
{
	return sys_bpf_get_at(fd, name, flags, ret_fd);
}

int folder_pin(int fd, const char *name, int bpf_fd)
{
	return sys_bpf_pin_at(fd, name, bpf_fd);
}
