/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpffs: where services are pinned: finding it, judging the way to it, mounting one
 *
 * systemd mounts /sys/fs/bpf with mode 0700, so that no member of a group can reach a service
 * pinned there for it. Then npsteer mounts one of its own.
 */
#ifndef NPSTEER_BPFFS_H
#define NPSTEER_BPFFS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define BPFFS_USUAL "/sys/fs/bpf"
#define BPFFS_OWN   "/run/netpoll/bpf"

/* The @i-th place to look, NULL past the last: what the caller says, else $NP_BPFFS, else the usual
 * two. */
const char *bpffs_place(const char *given, unsigned i);
bool bpffs_is(const char *path);
/* Whether <root>/netpoll/<service> is there. */
bool bpffs_has(const char *root, const char *service);

/*
 * bpffs_barrier() - the first component of @path that members of @gid may not pass
 *
 * Return: 1 and the component in @ret_at, "/" at least; 0 if the way is free; -errno if @path
 *         cannot be followed, with the component where it ends.
 */
int bpffs_barrier(const char *path, gid_t gid, char *ret_at, size_t cap, mode_t *ret_mode);

/*
 * bpffs_mount() - mounts one there, mode 0755, making the folders of BPFFS_OWN
 *
 * Return: 0; -EPERM, also where the folder is, or can be made, another user's; -errno.
 */
int bpffs_mount(const char *path);
/* Takes back bpffs_mount(), if no process uses it by now. */
void bpffs_unmount(const char *path);

#endif
