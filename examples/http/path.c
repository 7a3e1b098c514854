/* SPDX-License-Identifier: BSD-2-Clause */
/* path: only a regular file is ever opened. To open a FIFO wakes its writer, a device may act. */
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hex.h"

/* The byte that begins at @p, of which @left are here. Return: how many it took; 0: it is none. */
static size_t decode(const char *p, size_t left, char *ret)
{
	int hi, lo;

	if (*p != '%') {
		*ret = *p;
		return 1;
	}
	hi = left > 2 ? hex_digit(p[1]) : -1;
	lo = left > 2 ? hex_digit(p[2]) : -1;
	if (hi < 0 || lo < 0)
		return 0;
	*ret = (char)(hi << 4 | lo);
	return *ret ? 3 : 0;
}

int path_name(struct text path, char *dst)
{
	size_t n = 0;
	char c, last = '/';

	for (size_t i = 1, k; i < path.n; i += k) {
		k = decode(path.p + i, path.n - i, &c);
		if (!k)
			return 400;
		if (n == PATH_NAME_MAX - 1 || (last == '/' && (c == '/' || c == '.')) ||
		    (k == 3 && c == '/'))
			return 404;
		dst[n++] = last = c;
	}
	dst[n] = '\0';
	return 0;
}

static int status_of(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return -403;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EAGAIN: /* something above it was renamed meanwhile */
		return -503;
	default:
		return -404;
	}
}

int path_find(int folder, const char *name, struct stat *ret)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
					   RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, folder, *name ? name : ".", &how, sizeof how);

	if (fd < 0)
		return status_of(errno);
	if (fstat(fd, ret) == 0)
		return fd;
	close(fd);
	return -404;
}

int path_open(int descriptors, int found)
{
	char name[16];
	int fd;

	snprintf(name, sizeof name, "%d", found);
	fd = openat(descriptors, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? status_of(errno) : fd;
}
