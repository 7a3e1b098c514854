/* SPDX-License-Identifier: BSD-2-Clause */
/* socket_file: look, compare, unlink, under the lock. */
#include "netpoll/socket_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/addr.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/sock.h"

#define LOCK_NS       1000000000ull /* what is done under it takes microseconds */
#define LOCK_PATH_MAX (PATH_MAX + sizeof ".lock")
#define LOCK_TRIES    20 /* each time, one that ended has just unlinked it */

static int socket_file_lock_path(const char *path, char *dst, size_t cap)
{
	int n = snprintf(dst, cap, "%s.lock", path);

	return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

static int socket_file_lock(int fd, struct sys_holder *ret)
{
	return sys_lock(fd, sys_clock_ns() + LOCK_NS, ret);
}

/* Whether it has been unlinked since it was opened. */
static bool socket_file_lock_is_gone(const char *lock, int fd)
{
	struct stat held, there;

	return sys_fstat(fd, &held) == 0 &&
	       (sys_lstat(lock, &there) == -ENOENT || held.st_dev != there.st_dev ||
		held.st_ino != there.st_ino);
}

static int socket_file_open_lock(const char *lock, struct sys_holder *ret_holder, int *ret_fd)
{
	int fd = -1, r = -EAGAIN;

	for (int i = 0; i < LOCK_TRIES; i++) {
		r = sys_open_lock(lock, &fd);
		if (r == 0)
			r = socket_file_lock(fd, ret_holder);
		if (r < 0 || !socket_file_lock_is_gone(lock, fd))
			break;
		sys_close(&fd);
		r = -EAGAIN;
	}
	if (r < 0)
		sys_close(&fd);
	else
		*ret_fd = fd;
	return r;
}

/*
 * From the root: the process may be in another folder when it takes the file away. A folder that
 * the root does not lead to has no such name, and the path stays as it is.
 */
static int socket_file_path(const char *path, char **ret)
{
	char cwd[PATH_MAX] = "", *whole;
	bool inside;

	if (*path != '/' && sys_getcwd(cwd, sizeof cwd) < 0)
		*cwd = '\0';
	inside = *cwd == '/';
	if (asprintf(&whole, "%s%s%s", inside ? cwd : "", inside ? "/" : "", path) < 0)
		return -ENOMEM;
	*ret = whole;
	return 0;
}

int socket_file_open(struct socket_file *f, const char *path, struct sys_holder *ret_holder)
{
	char lock[LOCK_PATH_MAX], *whole = NULL;
	int fd = -1, r = socket_file_path(path, &whole);

	if (r == 0)
		r = socket_file_lock_path(whole, lock, sizeof lock);
	if (r == 0)
		r = socket_file_open_lock(lock, ret_holder, &fd);
	if (r < 0)
		free(whole);
	else
		*f = (struct socket_file){ .path = whole, .lock_fd = fd };
	return r;
}

/* ECONNREFUSED alone is no proof: connect(2) says it of every inode that is no socket, too. */
static bool socket_file_refuses(const struct addr *at)
{
	int fd, r = sys_socket(AF_UNIX, SOCK_STREAM, &fd);

	if (r < 0)
		return false;
	r = sys_connect(fd, (const struct sockaddr *)&at->ss, at->len);
	sys_close(&fd);
	return r == -ECONNREFUSED;
}

int socket_file_look(const struct socket_file *f, const struct addr *at)
{
	struct stat before, after;
	int r = sys_lstat(f->path, &before);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (!S_ISSOCK(before.st_mode) || (geteuid() && before.st_uid != geteuid()))
		return -EADDRINUSE;
	if (!socket_file_refuses(at))
		return -EADDRINUSE;
	r = sys_lstat(f->path, &after);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return before.st_dev == after.st_dev && before.st_ino == after.st_ino ? 0 : -EADDRINUSE;
}

int socket_file_clear(const struct socket_file *f, const struct addr *at)
{
	int r = socket_file_look(f, at);

	if (r == 0)
		r = sys_unlink(f->path);
	return r == -ENOENT ? 0 : r;
}

int socket_file_note(struct socket_file *f)
{
	struct stat st;
	int r = sys_lstat(f->path, &st);

	if (r < 0)
		return r;
	f->device = st.st_dev;
	f->inode = st.st_ino;
	f->noted = true;
	return 0;
}

void socket_file_unlock(const struct socket_file *f)
{
	if (f->path)
		sys_unlock(f->lock_fd);
}

void socket_file_end_lock(const struct socket_file *f)
{
	char lock[LOCK_PATH_MAX];

	if (f->lock_goes && socket_file_lock_path(f->path, lock, sizeof lock) == 0)
		sys_unlink(lock);
}

void socket_file_remove(struct socket_file *f)
{
	struct stat st;

	if (!f->path)
		return;
	if (f->noted && socket_file_lock(f->lock_fd, NULL) == 0) {
		if (sys_lstat(f->path, &st) == 0 && S_ISSOCK(st.st_mode) &&
		    st.st_dev == f->device && st.st_ino == f->inode)
			sys_unlink(f->path);
		socket_file_end_lock(f);
		sys_unlock(f->lock_fd); /* a child that was forked meanwhile would keep it locked */
	}
	sys_close(&f->lock_fd);
	free(f->path);
	*f = (struct socket_file){ 0 };
}
