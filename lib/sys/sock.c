/* SPDX-License-Identifier: BSD-2-Clause */
/* sock: thin wrappers; the only caller of the socket calls. */
#include "sys/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sys/fault.h"

int sys_socket(int family, int type, int *ret_fd)
{
	int fd;

	SYS_FAULT(socket);
	fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int sys_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	SYS_FAULT(bind);
	return bind(fd, sa, len) < 0 ? -errno : 0;
}

int sys_listen(int fd, int backlog)
{
	SYS_FAULT(listen);
	return listen(fd, backlog) < 0 ? -errno : 0;
}

int sys_accept4(int fd, struct sockaddr *sa, socklen_t *len, int *ret_fd)
{
	int c;

	SYS_FAULT(accept4);
	do
		c = accept4(fd, sa, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (c < 0 && errno == EINTR);
	if (c < 0)
		return -errno;
	*ret_fd = c;
	return 0;
}

int sys_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	SYS_FAULT(connect);
	if (connect(fd, sa, len) == 0)
		return 0;
	/*
	 * connect(2): after EINTR the connection goes on being set up; a second call is EALREADY.
	 */
	return errno == EINTR ? -EINPROGRESS : -errno;
}

int sys_shutdown(int fd, int how)
{
	SYS_FAULT(shutdown);
	return shutdown(fd, how) < 0 ? -errno : 0;
}

int sys_setsockopt(int fd, int level, int name, const void *v, socklen_t len)
{
	SYS_FAULT(setsockopt);
	return setsockopt(fd, level, name, v, len) < 0 ? -errno : 0;
}

int sys_setsockopt_int(int fd, int level, int name, int v)
{
	return sys_setsockopt(fd, level, name, &v, sizeof v);
}

int sys_set_keepalive(int fd, int idle_s, int intvl_s, int cnt)
{
	int r;

	if (idle_s <= 0)
		return sys_setsockopt_int(fd, SOL_SOCKET, SO_KEEPALIVE, 0);
	r = sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
	if (r == 0)
		r = sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, intvl_s ? intvl_s : idle_s);
	if (r == 0)
		r = sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPCNT, cnt ? cnt : 3);
	return r < 0 ? r : sys_setsockopt_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

int sys_set_user_timeout(int fd, int ms)
{
	return sys_setsockopt_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, ms < 0 ? INT_MAX : ms);
}

int sys_getsockopt_int(int fd, int level, int name, int *ret)
{
	socklen_t len = sizeof *ret;
	int v;

	SYS_FAULT(getsockopt);
	if (getsockopt(fd, level, name, &v, &len) < 0)
		return -errno;
	*ret = v;
	return 0;
}

int sys_getsockopt(int fd, int level, int name, void *v, socklen_t len)
{
	socklen_t n = len;

	SYS_FAULT(getsockopt);
	if (getsockopt(fd, level, name, v, &n) < 0)
		return -errno;
	return n == len ? 0 : -EPROTO;
}

int sys_getsockname(int fd, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	SYS_FAULT(getsockname);
	*ret_len = sizeof *ret;
	return getsockname(fd, (struct sockaddr *)ret, ret_len) < 0 ? -errno : 0;
}

int sys_getpeername(int fd, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	SYS_FAULT(getpeername);
	*ret_len = sizeof *ret;
	return getpeername(fd, (struct sockaddr *)ret, ret_len) < 0 ? -errno : 0;
}

/*
 * A TCP socket that was reset is in CLOSE, where getpeername(2) looks no further; SO_PEERNAME asks
 * as accept4(2) does, and the socket knows until it is closed. It takes no length above that of the
 * address.
 */
static int sock_peername(int fd, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(struct sockaddr_in);

	SYS_FAULT(getsockopt);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &ss, &len) < 0)
		return -errno;
	if (ss.ss_family == AF_INET6) {
		len = sizeof(struct sockaddr_in6);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &ss, &len) < 0)
			return -errno;
	} else if (ss.ss_family != AF_INET) {
		return -ENOTCONN;
	}
	*ret = ss;
	*ret_len = len;
	return 0;
}

int sys_peer_addr(int fd, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int r = sys_getpeername(fd, &ss, &len);

	if (r == -ENOTCONN)
		return sock_peername(fd, ret, ret_len) < 0 ? r : 0;
	if (r < 0)
		return r;
	*ret = ss;
	*ret_len = len;
	return 0;
}

/* tcpi_unacked of a listener is its sk_ack_backlog. */
int sys_accept_queue(int fd, unsigned *ret)
{
	struct tcp_info info;
	socklen_t len = sizeof info;

	SYS_FAULT(getsockopt);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return -errno;
	if (len < offsetof(struct tcp_info, tcpi_unacked) + sizeof info.tcpi_unacked ||
	    info.tcpi_state != TCP_LISTEN)
		return -EINVAL;
	*ret = info.tcpi_unacked;
	return 0;
}

unsigned sys_somaxconn(void)
{
	FILE *f = fopen("/proc/sys/net/core/somaxconn", "re");
	unsigned n;

	if (!f)
		return UINT16_MAX;
	if (fscanf(f, "%u", &n) != 1)
		n = UINT16_MAX;
	fclose(f);
	return n;
}

int sys_set_cloexec(int fd)
{
	return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

bool sys_can_read(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	return fl >= 0 && (fl & O_ACCMODE) != O_WRONLY;
}

bool sys_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

int sys_set_nonblock(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	if (fl < 0)
		return -errno;
	if (fl & O_NONBLOCK)
		return 0;
	return fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0 ? -errno : 0;
}
