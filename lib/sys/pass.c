/* SPDX-License-Identifier: BSD-2-Clause */
/* pass: SCM_RIGHTS and SO_PEERCRED: unix(7). */
#include "sys/pass.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/io.h"

union pass_control {
	struct cmsghdr align;
	char room[CMSG_SPACE((SYS_PASS_MAX + 1) * sizeof(int))];
};

static void pass_put(struct msghdr *m, union pass_control *u, const int *fds, unsigned n)
{
	struct cmsghdr *h;

	memset(u, 0, sizeof *u);
	m->msg_control = u;
	m->msg_controllen = CMSG_SPACE(n * sizeof *fds);
	h = CMSG_FIRSTHDR(m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(n * sizeof *fds);
	memcpy(CMSG_DATA(h), fds, n * sizeof *fds);
}

ssize_t sys_pass_send(int sock, const void *p, size_t n, const int *fds, unsigned n_fds)
{
	struct iovec iov = { .iov_base = (void *)p, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	union pass_control u;
	ssize_t r;

	SYS_FAULT(sendmsg);
	if (n_fds > SYS_PASS_MAX)
		return -EINVAL;
	if (n_fds)
		pass_put(&m, &u, fds, n_fds);
	do
		r = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* All that came with the message, one too many perhaps. */
static unsigned pass_take(struct msghdr *m, int *fds)
{
	unsigned n = 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t bytes = h->cmsg_len - CMSG_LEN(0);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds + n, CMSG_DATA(h), bytes);
		n += (unsigned)(bytes / sizeof *fds);
	}
	return n;
}

ssize_t sys_pass_recv(int sock, void *p, size_t n, int *fds, unsigned *ret_n)
{
	struct iovec iov = { .iov_base = p, .iov_len = n };
	union pass_control u;
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof u
	};
	int all[sizeof u / sizeof(int)];
	unsigned got;
	ssize_t r;

	SYS_FAULT(recv);
	do
		r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	got = pass_take(&m, all);
	if (got > SYS_PASS_MAX || (m.msg_flags & MSG_CTRUNC)) {
		while (got)
			sys_close(&all[--got]);
		return -EMSGSIZE;
	}
	memcpy(fds, all, got * sizeof *fds);
	*ret_n = got;
	return r;
}

int sys_pass_peer(int sock, uid_t *ret_uid, pid_t *ret_pid)
{
	struct ucred c;
	socklen_t len = sizeof c;

	SYS_FAULT(getsockopt);
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &c, &len) < 0)
		return -errno;
	*ret_uid = c.uid;
	*ret_pid = c.pid;
	return 0;
}

int sys_wait_until(int fd, short events, uint64_t until_ns)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = sys_clock_ns();
		uint64_t ms = until_ns > now ? (until_ns - now + 999999u) / 1000000u : 0;
		int r = poll(&p, 1, ms < 60000 ? (int)ms : 60000);

		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (!ms)
			return -ETIMEDOUT;
	}
}
