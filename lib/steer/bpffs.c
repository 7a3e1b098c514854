/* SPDX-License-Identifier: BSD-2-Clause */
/* bpffs: descriptors of a root and its netpoll/, which is open to all: each service has a mode. */
#include "steer/bpffs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "steer/steer.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/lock.h"

#define BPFFS_LOCK "+lock" /* no service can have such a name */

static const char *const usual_roots[] = { "/sys/fs/bpf", "/run/netpoll/bpf", NULL };

const char *bpffs_root(const char *bpffs, unsigned i)
{
	const char *one = bpffs ? bpffs : getenv("NP_BPFFS");

	if (one && *one)
		return i == 0 ? one : NULL;
	return usual_roots[i];
}

int bpffs_open(const char *root, struct bpffs *ret)
{
	struct bpffs b = { .root = -1, .netpoll = -1 };
	int r;

	r = folder_open_root(root, &b.root, b.why);
	snprintf(b.at, sizeof b.at, "%s", root);
	if (r == 0) {
		r = folder_open(b.root, NP_STEER_DIR, &b.netpoll, b.why);
		snprintf(b.at, sizeof b.at, "%s/" NP_STEER_DIR, root);
	}
	*ret = b;
	return r;
}

void bpffs_close(struct bpffs *b)
{
	sys_close(&b->netpoll);
	sys_close(&b->root);
}

/* Whether the service lies below @root. */
static bool bpffs_has(const struct np_steer *s, const char *root)
{
	char why[FOLDER_WHY];
	struct bpffs b;
	int fd = -1;
	bool yes;

	yes = bpffs_open(root, &b) == 0 && folder_open(b.netpoll, s->name, &fd, why) == 0;
	sys_close(&fd);
	bpffs_close(&b);
	return yes;
}

static bool bpffs_is(const char *root)
{
	char why[FOLDER_WHY];
	int fd = -1, r;

	r = folder_open_root(root, &fd, why);
	sys_close(&fd);
	return r == 0 || r == -EACCES;
}

int bpffs_find_root(struct np_steer *s, const char *bpffs, const char **ret)
{
	for (unsigned i = 0; bpffs_root(bpffs, i); i++)
		if (bpffs_has(s, bpffs_root(bpffs, i))) {
			*ret = bpffs_root(bpffs, i);
			return 0;
		}
	for (unsigned i = 0; bpffs_root(bpffs, i); i++)
		if (bpffs_is(bpffs_root(bpffs, i))) {
			*ret = bpffs_root(bpffs, i);
			return 0;
		}
	return steer_fail(s, -ENODEV,
			  "no BPF file system at %s: `mount -t bpf -o mode=0755 bpf %s`",
			  bpffs_root(bpffs, 0), bpffs_root(bpffs, 0));
}

/* A folder of another user's: on a bpffs that was mounted without a mode every user may make it. */
static int bpffs_refuse(struct np_steer *s, const struct bpffs *b, const char *root, int r)
{
	if (r == -EACCES && b->why[0])
		return steer_fail(
			s, r,
			"%.80s %.60s: it has to be root's or this user's, and writable by nobody else: remove it, and mount with `mount -t bpf -o mode=0755 bpf %.80s`",
			b->at, b->why, root);
	return steer_fail(s, r, "%s cannot be used: %s", b->at, strerror(-r));
}

/* netpoll/ is for everybody to pass through: each service has its mode. */
static int bpffs_make(struct bpffs *b)
{
	int fd = -1, r;

	r = folder_make(b->root, NP_STEER_DIR, &b->netpoll, b->why);
	if (r == 0)
		r = folder_reopen(b->netpoll, &fd);
	if (r == 0)
		r = sys_set_access(fd, 0755, (gid_t)-1);
	sys_close(&fd);
	return r == -EEXIST ? folder_open(b->root, NP_STEER_DIR, &b->netpoll, b->why) : r;
}

int bpffs_open_or_make(struct np_steer *s, const char *root, bool make, struct bpffs *ret)
{
	int r;

	r = bpffs_open(root, ret);
	if (r == -ENOENT && make && ret->root >= 0)
		r = bpffs_make(ret);
	return r < 0 ? bpffs_refuse(s, ret, root, r) : 0;
}

static int bpffs_lock_until(const struct bpffs *b, uint64_t until_ns, struct sys_holder *h,
			    int *ret_fd)
{
	int folder = -1, fd = -1, r;
	char why[FOLDER_WHY];

	r = folder_make(b->netpoll, BPFFS_LOCK, &folder, why);
	if (r == -EEXIST)
		r = folder_open(b->netpoll, BPFFS_LOCK, &folder, why);
	if (r == 0)
		r = folder_reopen(folder, &fd);
	sys_close(&folder);
	if (r == 0)
		r = folder_lock(fd, until_ns, h);
	if (r < 0)
		sys_close(&fd);
	else
		*ret_fd = fd;
	return r;
}

int bpffs_try_lock(const struct bpffs *b, int *ret_fd)
{
	return bpffs_lock_until(b, 0, NULL, ret_fd);
}

int bpffs_lock(struct np_steer *s, const struct bpffs *b, int *ret_fd)
{
	struct sys_holder h = { 0 };
	char holder[80];
	int r;

	r = bpffs_lock_until(b, sys_clock_ns() + STEER_LOCK_MS * 1000000ull, &h, ret_fd);
	if (r == -EBUSY) {
		sys_holder_format(&h, holder, sizeof holder);
		return steer_fail(s, r, "%s is locked by %s: let it go on, or end it", b->at,
				  holder);
	}
	return r < 0 ? steer_fail(s, r, "%s/" BPFFS_LOCK " cannot be locked: %s", b->at,
				  strerror(-r)) :
		       0;
}
