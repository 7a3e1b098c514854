/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * observer_socket: as a server's unix socket: looked at, bound and noted under a lock beside it
 *
 * Its mode alone keeps others out on Linux; the user of the peer is looked at all the same, for the
 * file may have been given another mode since.
 */
#include "netpoll/observer_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netpoll/observe.h"
#include "sys/addr.h"
#include "sys/fs.h"
#include "sys/io.h"
#include "sys/pass.h"
#include "sys/sock.h"

#define OBSERVER_BACKLOG 16

void observer_socket_path(const char *path, char *dst, size_t cap)
{
	if (*path)
		snprintf(dst, cap, "%s", path);
	else
		snprintf(dst, cap, OBSERVER_FOLDER "/%d.sock", (int)getpid());
}

static int observer_socket_bind(struct observer_socket *s, const struct addr *at)
{
	const struct sockaddr *sa = (const struct sockaddr *)&at->ss;
	int r = sys_set_access(s->fd, 0600, (gid_t)-1); /* the file gets it from the socket */

	if (r == 0)
		r = sys_bind(s->fd, sa, at->len);
	if (r == -EADDRINUSE) {
		r = socket_file_clear(&s->file, at);
		if (r == 0)
			r = sys_bind(s->fd, sa, at->len);
	}
	if (r == 0)
		r = socket_file_note(&s->file);
	return r == 0 ? sys_listen(s->fd, OBSERVER_BACKLOG) : r;
}

int observer_socket_open(struct observer_socket *s, const char *path)
{
	char where[sizeof(struct sockaddr_storage)];
	struct addr at;
	int r;

	observer_socket_path(path, where, sizeof where);
	*s = (struct observer_socket){ .fd = -1 };
	r = addr_parse("unix", where, &at);
	if (r == 0 && *where == '@')
		r = -EINVAL; /* anybody may connect there */
	if (r == 0 && !*path) {
		r = sys_mkdir_at(AT_FDCWD, OBSERVER_FOLDER, 0755);
		r = r == -EEXIST ? 0 : r;
		np_observe_sweep(NULL, NULL);
	}
	if (r == 0)
		r = socket_file_open(&s->file, where, NULL);
	if (r < 0)
		return r == -EAGAIN ? -EADDRINUSE : r;
	s->file.lock_goes = !*path; /* nobody else wants that name */
	r = sys_socket(AF_UNIX, SOCK_STREAM, &s->fd);
	if (r == 0)
		r = observer_socket_bind(s, &at);
	socket_file_unlock(&s->file);
	if (r < 0)
		observer_socket_close(s);
	return r;
}

void observer_socket_close(struct observer_socket *s)
{
	socket_file_remove(&s->file);
	if (s->fd >= 0)
		sys_shutdown(s->fd, SHUT_RDWR); /* a forked child may hold it */
	sys_close(&s->fd);
}

int observer_socket_accept(const struct observer_socket *s, int *ret_fd)
{
	uid_t uid;
	pid_t pid;
	int fd = -1, r = sys_accept4(s->fd, NULL, NULL, &fd);

	if (r < 0)
		return r;
	r = sys_pass_peer(fd, &uid, &pid);
	if (r == 0 && uid && uid != geteuid())
		r = -EACCES;
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}
