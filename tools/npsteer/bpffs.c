/* SPDX-License-Identifier: BSD-2-Clause */
/* bpffs: the only place that mounts anything. */
#include "bpffs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "netpoll/steer_admin.h"

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

struct search {
	const char *service;
	bool found;
};

static int bpffs_compare(void *arg, const char *name, const char *path)
{
	struct search *s = arg;

	s->found = !strcmp(name, s->service);
	return s->found;
}

/* The library looks: it follows no name that another user may have put there. */
bool bpffs_has(const char *root, const char *service)
{
	struct search s = { service, false };

	np_steer_list(NP_OPTS(np_steer_opts, .bpffs = root), bpffs_compare, &s);
	return s.found;
}

static bool bpffs_may_pass(const struct stat *st, gid_t gid)
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
		if (!bpffs_may_pass(&st, gid))
			return 1;
		if (!path[n])
			return 0;
		n += strspn(path + n, "/");
		n += strcspn(path + n, "/");
	}
}

/*
 * The folder under a mount must not be another's to move: a folder of root's or this user's,
 * written by no other.
 */
static int bpffs_judge(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	return 0;
}

/* Takes *at, one name at a time; none of them is a symbolic link. Missing folders are made, open to
 * all. */
static int bpffs_make_path(int *at, const char *path)
{
	char part[256];
	int fd, r = bpffs_judge(*at);

	while (r == 0 && *path) {
		size_t n = strcspn(path, "/");

		snprintf(part, sizeof part, "%.*s", (int)n, path);
		path += n + strspn(path + n, "/");
		if (mkdirat(*at, part, 0755) < 0 && errno != EEXIST)
			return -errno;
		fd = openat(*at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		close(*at);
		*at = fd;
		r = bpffs_judge(fd);
		if (r == 0 && fchmod(fd, 0755) < 0) /* whatever the umask is */
			r = -errno;
	}
	return r;
}

int bpffs_mount(const char *path)
{
	bool own = !strncmp(path, BPFFS_OWN, sizeof BPFFS_OWN);
	char at[32];
	int fd, r;

	fd = open(own ? "/run" : path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = bpffs_make_path(&fd, own ? &BPFFS_OWN[strlen("/run/")] : "");
	snprintf(at, sizeof at, "/proc/self/fd/%d", fd);
	if (r == 0 && mount("bpf", at, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME,
			    "mode=0755") < 0)
		r = -errno;
	close(fd);
	return r;
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
