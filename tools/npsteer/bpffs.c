/* SPDX-License-Identifier: BSD-2-Clause */
/* bpffs: the only place that mounts anything. */
#include "bpffs.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "steer_abi.h"

const char *bpffs_place(const char *given, unsigned i)
{
	static const char *const usual[] = { BPFFS_USUAL, BPFFS_OWN, NULL };
	const char *one = given ? given : getenv("NP_BPFFS");

	if (one && *one)
		return i == 0 ? one : NULL;
	return i < 2 ? usual[i] : NULL;
}

bool bpffs_is(const char *path)
{
	struct statfs s;

	return statfs(path, &s) == 0 && (unsigned)s.f_type == (unsigned)BPF_FS_MAGIC;
}

bool bpffs_has(const char *root, const char *service)
{
	char path[512];
	struct stat st;

	if (snprintf(path, sizeof path, "%s/" NP_STEER_DIR "/%s", root, service) >=
	    (int)sizeof path)
		return false;
	return stat(path, &st) == 0;
}

static bool may_pass(const struct stat *st, gid_t gid)
{
	return st->st_gid == gid ? st->st_mode & S_IXGRP : st->st_mode & S_IXOTH;
}

int bpffs_barrier(const char *path, gid_t gid, char *ret_at, size_t cap, mode_t *ret_mode)
{
	struct stat st;
	size_t n = 1;

	if (path[0] != '/' || strlen(path) >= cap)
		return -EINVAL;
	for (;;) {
		memcpy(ret_at, path, n);
		ret_at[n] = '\0';
		if (stat(ret_at, &st) < 0)
			return -errno;
		*ret_mode = st.st_mode & 07777;
		if (!may_pass(&st, gid))
			return 1;
		if (!path[n])
			return 0;
		n += strspn(path + n, "/");
		n += strcspn(path + n, "/");
	}
}

/* Every folder of the path that is missing, open to all: what is pinned has its own modes. */
static int make_path(const char *path)
{
	char part[512];

	for (size_t n = 1 + strcspn(path + 1, "/");; n += 1 + strcspn(path + n + 1, "/")) {
		if (n >= sizeof part)
			return -ENAMETOOLONG;
		memcpy(part, path, n);
		part[n] = '\0';
		if (mkdir(part, 0755) == 0) {
			if (chmod(part, 0755) < 0) /* whatever the umask is */
				return -errno;
		} else if (errno != EEXIST) {
			return -errno;
		}
		if (!path[n])
			return 0;
	}
}

int bpffs_mount(const char *path)
{
	int r = 0;

	if (!strncmp(path, BPFFS_OWN, sizeof BPFFS_OWN))
		r = make_path(path);
	if (r < 0)
		return r;
	if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, "mode=0755") <
	    0)
		return -errno;
	return 0;
}

void bpffs_unmount(const char *path)
{
	char parent[512];
	char *slash;

	if (umount2(path, UMOUNT_NOFOLLOW) < 0 || strncmp(path, BPFFS_OWN, sizeof BPFFS_OWN))
		return;
	snprintf(parent, sizeof parent, "%s", path);
	slash = strrchr(parent, '/');
	/* Folders of others are not empty, and stay. */
	if (rmdir(path) == 0 && slash) {
		*slash = '\0';
		rmdir(parent);
	}
}
