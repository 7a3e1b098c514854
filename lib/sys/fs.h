/* SPDX-License-Identifier: BSD-2-Clause */
/* fs: folders and the names in them. What is opened is close-on-exec. */
#ifndef SYS_FS_H
#define SYS_FS_H

#include <stdbool.h>
#include <sys/types.h>

struct stat;

int sys_open_dir(const char *path, int *ret_fd);
int sys_mkdir(const char *path, mode_t mode);
int sys_rmdir(const char *path);
int sys_unlink(const char *path);
/* -EEXIST where @to exists; never replaces. */
int sys_rename_new(const char *from, const char *to);
/* gid (gid_t)-1: leave it. */
int sys_set_access(const char *path, mode_t mode, gid_t gid);
int sys_lstat(const char *path, struct stat *ret);
/* 0, or -errno as for any path: -ENOENT, -EACCES. */
int sys_exists(const char *path);
/* The file system's magic number (statfs(2)). */
int sys_fs_magic(const char *path, long *ret);
/* Calls fn for each name but "." and ".."; nonzero from it ends the walk and is returned. */
int sys_dir_each(const char *path, int (*fn)(void *arg, const char *name), void *arg);
/*
 * sys_open_lock() - a file for sys_lock(), made with mode 0600 where there is none
 *
 * O_CREAT on a file that is there fails for root in a sticky folder (fs.protected_regular), so it is not
 * asked for then. A symlink is -ELOOP, what is no regular file -EINVAL.
 */
int sys_open_lock(const char *path, int *ret_fd);
int sys_dup(int fd, int *ret_fd);
int sys_random(void *p, size_t n);

#endif
