/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover_meet: how the two processes find each other: a socket that one has inherited, or a path
 *
 * At a path the old one waits. Its file is a socket like any other, and a process that can reach it
 * may connect: SO_PEERCRED says who that is, and another user is refused, and waited on no longer.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netpoll/handover.h"
#include "sys/addr.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "sys/sock.h"

#define MEET_AGAIN_MS 10
#define MEET_QUEUE    4    /* of processes that come */
#define MEET_HEARD_MS 1000 /* as long as an answer */

static bool meet_is_fd(const char *where, int *ret_fd)
{
	char *end;
	long n;

	if (strncmp(where, "fd:", 3) != 0)
		return false;
	errno = 0;
	n = strtol(where + 3, &end, 10);
	*ret_fd = !where[3] || *end || errno || n < 0 || n > INT_MAX ? -1 : (int)n;
	return true;
}

/* The same user, or root. */
static int meet_check_peer(struct np_server *s, int sock)
{
	uid_t uid;
	pid_t pid;
	int r = sys_pass_peer(sock, &uid, &pid);

	if (r < 0)
		return server_say(s, r, "who is at the other end of the socket cannot be told: %s",
				  np_strerror(r));
	if (uid == geteuid() || uid == 0)
		return 0;
	handover_refuse(sock, "connections are for a process of the same user");
	return server_say(
		s, -EACCES,
		"process %d is another user's (%u): it is given nothing, and trusted with nothing",
		(int)pid, (unsigned)uid);
}

static int meet_inherited(struct np_server *s, int fd, int *ret_sock)
{
	int type = 0, domain = 0, r;

	r = sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE, &type);
	if (r == 0)
		r = sys_getsockopt_int(fd, SOL_SOCKET, SO_DOMAIN, &domain);
	if (r < 0 || type != SOCK_STREAM || domain != AF_UNIX)
		return server_say(s, -EINVAL, "descriptor %d is no unix stream socket", fd);
	r = sys_set_nonblock(fd);
	if (r == 0)
		r = sys_set_cloexec(fd);
	if (r == 0)
		r = meet_check_peer(s, fd);
	if (r < 0) {
		sys_close(&fd);
		return r;
	}
	*ret_sock = fd;
	return 0;
}

uint64_t handover_heard_until(uint64_t until_ns)
{
	uint64_t least = sys_clock_ns() + MEET_HEARD_MS * 1000000ull;

	return until_ns > least ? until_ns : least;
}

/* ------------------------------------------------------------------ the old one waits */

static int meet_bind(const struct addr *at, struct socket_file *f, int fd)
{
	int r = sys_bind(fd, (const struct sockaddr *)&at->ss, at->len);

	if (r == -EADDRINUSE && f->path) {
		r = socket_file_clear(f, at);
		if (r == 0)
			r = sys_bind(fd, (const struct sockaddr *)&at->ss, at->len);
	}
	return r == 0 && f->path ? socket_file_note(f) : r;
}

static int meet_listen(const char *where, struct socket_file *f, int *ret_fd)
{
	struct addr at;
	int fd = -1, r = addr_parse("unix", where, &at);

	if (r == 0)
		r = sys_socket(AF_UNIX, SOCK_STREAM, &fd);
	if (r == 0 && where[0] != '@')
		r = socket_file_open(f, where, NULL);
	if (r == 0)
		r = meet_bind(&at, f, fd);
	if (r == 0)
		r = sys_listen(fd, MEET_QUEUE);
	socket_file_unlock(f);
	if (r < 0) {
		socket_file_remove(f);
		sys_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* A listener that was shut is ready for ever, and accept4(2) still says EAGAIN where it may not
 * wait. */
static int meet_wait(struct np_server *s, int fd, uint64_t until_ns)
{
	int r = sys_wait_until(fd, POLLIN, until_ns);

	return r == 0 && server_facts_hand_over_ends(s) ? -ECANCELED : r;
}

/*
 * The first that may have it. Each that may not is told so. This process may have been stopped
 * until behind its time: those that are in the queue by then are looked at.
 */
static int meet_accept(struct np_server *s, int fd, uint64_t until_ns, int *ret_sock)
{
	int sock = -1, r = 0;

	for (unsigned late = 0; r == 0; late += sys_clock_ns() >= until_ns) {
		if (late > MEET_QUEUE)
			return -ETIMEDOUT;
		r = sys_accept4(fd, NULL, NULL, &sock);
		if (r == 0 && meet_check_peer(s, sock) == 0) {
			s->error[0] = '\0'; /* of others that came */
			*ret_sock = sock;
			return 0;
		}
		sys_close(&sock);
		if (r == 0 || r == -EAGAIN || r == -ECONNABORTED)
			r = meet_wait(s, fd, until_ns);
	}
	return r;
}

int handover_meet(struct np_server *s, const char *where, uint64_t until_ns, int *ret_sock)
{
	struct socket_file f = { .path = NULL };
	int fd = -1, r;

	if (meet_is_fd(where, &fd))
		return meet_inherited(s, fd, ret_sock);
	r = meet_listen(where, &f, &fd);
	if (r < 0)
		return server_say(s, r, "%s: %s", where, np_strerror(r));
	server_facts_hand_over(s, fd);
	r = meet_accept(s, fd, until_ns, ret_sock);
	server_facts_hand_over(s, -1);
	socket_file_remove(&f);
	sys_close(&fd);
	if (r < 0 && !s->error[0])
		server_say(s, r, "%s: %s", where,
			   r == -ETIMEDOUT ? "no process has come to take over" : np_strerror(r));
	return r;
}

/* ------------------------------------------------------------------ the new one comes */

static bool meet_may_come_yet(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN;
}

/* The last try begins behind the deadline: until then this process may have been stopped. */
static int meet_connect(const struct addr *at, uint64_t until_ns, int *ret_sock)
{
	int sock = -1, r = sys_socket(AF_UNIX, SOCK_STREAM, &sock);

	while (r == 0) {
		bool late = sys_clock_ns() >= until_ns;

		r = sys_connect(sock, (const struct sockaddr *)&at->ss, at->len);
		if (r == 0) {
			*ret_sock = sock;
			return 0;
		}
		if (meet_may_come_yet(r) && !late) {
			sys_wait_readable(-1, MEET_AGAIN_MS); /* a signal makes it shorter */
			r = 0;
		}
	}
	sys_close(&sock);
	return r;
}

int handover_reach(struct np_server *s, const char *where, uint64_t until_ns, int *ret_sock)
{
	struct addr at;
	int fd = -1, r;

	if (meet_is_fd(where, &fd))
		return meet_inherited(s, fd, ret_sock);
	r = addr_parse("unix", where, &at);
	if (r == 0)
		r = meet_connect(&at, until_ns, &fd);
	if (r < 0)
		return server_say(s, r, "%s: %s", where, np_strerror(r));
	r = meet_check_peer(s, fd);
	if (r < 0)
		sys_close(&fd);
	else
		*ret_sock = fd;
	return r;
}
