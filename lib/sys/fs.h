/* SPDX-License-Identifier: BSD-2-Clause */
/* fs: folders and the names in them. Descriptors are close-on-exec. */
#ifndef SYS_FS_H
#define SYS_FS_H

#include <stdbool.h>
#include <sys/types.h>

struct stat;

/*
 * sys_open_folder()    - O_PATH: to be looked at and passed through
 * sys_open_folder_at() - the same for one name in the folder @at; -ENOTDIR: a symbolic link
 * sys_open_dir_at()    - one to be read, locked, and given modes
 */
int sys_open_folder(const char *path, int *ret_fd);
int sys_open_folder_at(int at, const char *name, int *ret_fd);
int sys_open_dir_at(int at, const char *name, int *ret_fd);
int sys_fstat(int fd, struct stat *ret);
int sys_mkdir_at(int at, const char *name, mode_t mode);
int sys_unlink_at(int at, const char *name, bool dir);
/* -EEXIST where @to exists; never replaces. */
int sys_rename_new_at(int at, const char *from, const char *to);
/*
 * Both exist, and have each other's name afterwards. -EINVAL: not on this kernel and file system.
 */
int sys_rename_swap_at(int at, const char *a, const char *b);
/* gid (gid_t)-1: leave it. The second steps through a symbolic link: for folders that are ours
 * alone. */
int sys_set_access(int fd, mode_t mode, gid_t gid);
int sys_set_access_at(int at, const char *name, mode_t mode, gid_t gid);
/* The file system's magic number (fstatfs(2)); also of an O_PATH descriptor. */
int sys_fs_magic(int fd, long *ret);
/* Takes *fd. Calls fn for each name but "." and ".."; nonzero from it ends the walk and is
 * returned. */
int sys_dir_each(int *fd, int (*fn)(void *arg, const char *name), void *arg);
int sys_unlink(const char *path);
int sys_lstat(const char *path, struct stat *ret);
int sys_getcwd(char *dst, size_t cap);
/* 0, or -errno as for any path: -ENOENT, -EACCES. */
int sys_exists(const char *path);
/*
 * sys_open_lock() - a file for sys_lock(), made with mode 0600 where there is none
 *
 * O_CREAT on a file that is there fails for root in a sticky folder (fs.protected_regular), so it
 * is not asked for then. A symlink is -ELOOP, another thing than a file -EINVAL.
 */
int sys_open_lock(const char *path, int *ret_fd);
int sys_dup(int fd, int *ret_fd);
int sys_random(void *p, size_t n);

#endif
