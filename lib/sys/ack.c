/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ack: TIOCOUTQ and TCP_INFO; apart from sock.c because <linux/tcp.h> and <netinet/tcp.h> exclude
 * each other.
 */
#include "sys/ack.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "sys/fault.h"
#include "sys/sock.h"

#define TCP_STATE_CLOSE 7 /* TCP_CLOSE of <netinet/tcp.h> */

static int ack_ioctl(int fd, unsigned long request, int *ret)
{
	SYS_FAULT(ioctl);
	return ioctl(fd, request, ret) < 0 ? -errno : 0;
}

int sys_ack(int fd, bool tcp, struct sys_ack *ret)
{
	struct sys_ack a = { 0 };
	struct tcp_info info;
	int queued = 0, r = ack_ioctl(fd, TIOCOUTQ, &queued); /* SIOCOUTQ is the same number */

	if (r == -ENOTTY || r == -EINVAL)
		r = ack_ioctl(fd, FIONREAD, &queued); /* a pipe */
	/* up to what is asked for: kernels before 4.1 are refused, later ones have more */
	if (r == 0 && tcp)
		r = sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info,
				   offsetof(struct tcp_info, tcpi_bytes_acked) +
					   sizeof info.tcpi_bytes_acked);
	if (r < 0)
		return r;
	a.queued = queued > 0 ? (size_t)queued : 0;
	if (tcp) {
		a.acked = info.tcpi_bytes_acked;
		a.over = info.tcpi_state == TCP_STATE_CLOSE;
	}
	*ret = a;
	return 0;
}

int sys_tcp_reset(int fd)
{
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	return sys_connect(fd, &nobody, sizeof nobody);
}
