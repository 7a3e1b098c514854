/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_file: whether a path that is to be read is a file
 *
 * A FIFO in its place would keep the thread that opens it until somebody writes, and a reload is
 * made by a poller.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/tls.h"

int tls_file_check(const char *what, const char *path, struct tls_text *why)
{
	struct stat st;

	if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
		return 0; /* what cannot be found says who reads it */
	tls_error_say(why, "%s %s: not a file", what, path);
	return -NP_ETLS;
}

/* Ours or root's, and nobody else writes it: who has the secret reads what was said. */
static bool file_is_trusted(const struct stat *st)
{
	return (st->st_uid == geteuid() || st->st_uid == 0) && !(st->st_mode & S_IWOTH);
}

static int file_open_secret(const char *what, const char *path, struct tls_text *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		tls_error_say(why, "%s %s: %s", what, path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		tls_error_say(why, "%s %s: not a file", what, path);
	else if (!file_is_trusted(&st))
		tls_error_say(why, "%s %s: others own it, or may write it", what, path);
	else
		return fd;
	if (fd >= 0)
		close(fd);
	return -NP_ETLS;
}

ssize_t tls_file_read_secret(const char *what, const char *path, void *dst, size_t cap,
			     struct tls_text *why)
{
	int fd = file_open_secret(what, path, why);
	size_t n = 0;
	ssize_t r = 1;

	if (fd < 0)
		return fd;
	while (n < cap && r > 0) {
		r = read(fd, (char *)dst + n, cap - n);
		n += r > 0 ? (size_t)r : 0;
	}
	if (r < 0)
		tls_error_say(why, "%s %s: %s", what, path, strerror(errno));
	close(fd);
	return r < 0 ? -NP_ETLS : (ssize_t)n;
}
