/* SPDX-License-Identifier: BSD-2-Clause */
/* inherit: listening sockets that were there before this process: sd_listen_fds(3), without its
 * library */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "netpoll/server.h"
#include "sys/sock.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

/* -1: not there, or no number. */
static long inherit_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long n;

	if (!text || !*text)
		return -1;
	errno = 0;
	n = strtol(text, &end, 10);
	return *end || errno || n < 0 || n > INT_MAX - FIRST_FD ? -1 : n;
}

int np_server_listen_inherited(struct np_server *s)
{
	long n = inherit_number("LISTEN_FDS");

	if (n <= 0 || inherit_number("LISTEN_PID") != getpid())
		return 0;
	for (int i = 0; i < n; i++) {
		int fd = FIRST_FD + i, r;

		r = sys_set_cloexec(fd); /* systemd leaves that to us */
		if (r == 0)
			r = np_server_listen_fd(s, &fd);
		if (r < 0)
			return r;
	}
	return (int)n;
}
