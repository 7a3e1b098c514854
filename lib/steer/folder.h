/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * folder: a folder of a bpffs, held open, and whose it is
 *
 * The only way to the pins. Of a path each name is followed once, by the open that makes a
 * descriptor of it; from there on everything goes by descriptors: what was looked at is what is
 * used, whatever its name means by then.
 *
 * Trusted is a folder that belongs to root or to this process's user, and that no other may write.
 * In the root of a bpffs, which the kernel mounts with mode 1777 unless told otherwise, others may
 * make names too, while the sticky bit is set: what they make is not trusted, and they cannot take
 * away what is ours. A symbolic link is never followed.
 *
 * A group that may write is others too. Members of a service write its maps, which have modes of
 * their own; the folder is its loader's.
 */
#ifndef STEER_FOLDER_H
#define STEER_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Room for a reason. */
#define FOLDER_WHY 128

/*
 * folder_open_root() - the bpffs at @path, "which is the caller's word": its symbolic links are
 * followed
 * folder_open()      - the folder @name in the folder @at
 *
 * *ret_fd is O_PATH: for what is below only.
 * Return: 0; -ENODEV: no bpffs; -ENOENT; -EACCES: not trusted, @why says it in words that go behind
 *         its path ("belongs to uid 1000"), or closed to this user, @why is "" then; -EMFILE and
 *         others.
 */
int folder_open_root(const char *path, int *ret_fd, char why[FOLDER_WHY]);
int folder_open(int at, const char *name, int *ret_fd, char why[FOLDER_WHY]);
/* The same folder for flock(2) and fchmod(2). */
int folder_reopen(int fd, int *ret_fd);
struct sys_holder;
/* As sys_lock(), on a folder that folder_reopen() gave; -EBUSY instead of -EAGAIN. */
int folder_lock(int fd, uint64_t until_ns, struct sys_holder *ret_holder);
/* Whether both descriptors are of one folder. */
bool folder_is_same(int fd, int other);
/* Whether the folder behind the descriptor is in the file system no more. */
bool folder_is_removed(int fd);
/* Makes it, of mode 0700, and opens it. -EEXIST. */
int folder_make(int at, const char *name, int *ret_fd, char why[FOLDER_WHY]);
/* As sys_dir_each(). */
int folder_each(int fd, int (*fn)(void *arg, const char *name), void *arg);
/* The folder @name and the pins in it. -ENOENT, -EACCES as folder_open(). */
int folder_remove(int at, const char *name, char why[FOLDER_WHY]);

/* @flags: 0, BPF_F_RDONLY. */
int folder_get(int fd, const char *name, uint32_t flags, int *ret_fd);
int folder_pin(int fd, const char *name, int bpf_fd);

#endif
