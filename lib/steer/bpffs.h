/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpffs: <root>/netpoll, the folder in a BPF file system where services are pinned
 *
 * While services come and go, netpoll/+lock is locked; the kernel drops such a lock however its
 * holder ends. It is a folder, since a bpffs has no files, and of mode 0700: netpoll/ itself may be
 * opened, and so locked, by any user.
 */
#ifndef STEER_BPFFS_H
#define STEER_BPFFS_H

#include <stdbool.h>

#include "steer/folder.h"

struct np_steer;

struct bpffs {
	int root, netpoll;    /* open, -1: not */
	char at[300];         /* what could not be opened, else netpoll's path: for sentences */
	char why[FOLDER_WHY]; /* as folder_open() */
};

/* The @i-th root, NULL past the last: the caller's, else the environment's, else the usual two. */
const char *bpffs_root(const char *bpffs, unsigned i);
/* Where the service of @s lies already, else the first bpffs there is. -ENODEV and a sentence. */
int bpffs_find_root(struct np_steer *s, const char *bpffs, const char **ret);
/* As folder_open_root() and folder_open(). bpffs_close() in any case. */
int bpffs_open(const char *root, struct bpffs *ret);
/* The same, with netpoll/ made if @make; with a sentence. */
int bpffs_open_or_make(struct np_steer *s, const char *root, bool make, struct bpffs *ret);
void bpffs_close(struct bpffs *b);
/* The lock, until *ret_fd is closed. The first waits up to STEER_LOCK_MS, and has a sentence. */
int bpffs_lock(struct np_steer *s, const struct bpffs *b, int *ret_fd);
int bpffs_try_lock(const struct bpffs *b, int *ret_fd);

#endif
