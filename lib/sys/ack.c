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

/* Up to bytes_received: kernels before 4.1 are refused, later ones have more. */
static int ack_tcp_info(int fd, struct tcp_info *ret)
{
	return sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret,
			      offsetof(struct tcp_info, tcpi_bytes_received) +
				      sizeof ret->tcpi_bytes_received);
}

int sys_ack(int fd, bool tcp, struct sys_ack *ret)
{
	struct sys_ack a = { 0 };
	struct tcp_info info;
	int queued = 0, r = ack_ioctl(fd, TIOCOUTQ, &queued); /* SIOCOUTQ is the same number */

	if (r == -ENOTTY || r == -EINVAL)
		r = ack_ioctl(fd, FIONREAD, &queued); /* a pipe */
	if (r == 0 && tcp)
		r = ack_tcp_info(fd, &info);
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

int sys_tcp_look(int fd, struct sys_tcp_sight *ret)
{
	struct tcp_info info;
	int queued, r = ack_tcp_info(fd, &info);

	if (r == 0)
		r = ack_ioctl(fd, TIOCOUTQ, &queued);
	if (r < 0)
		return r;
	*ret = (struct sys_tcp_sight){
		.received = info.tcpi_bytes_received,
		.sent = info.tcpi_bytes_acked + (uint64_t)queued,
		.in_flight = (uint64_t)queued,
		.quiet_ms = info.tcpi_last_data_recv,
	};
	return 0;
}

uint64_t sys_tcp_quiet_ms(int fd)
{
	struct tcp_info info;

	return ack_tcp_info(fd, &info) == 0 ? info.tcpi_last_data_recv : 0;
}

uint64_t sys_tcp_waited_ms(int fd)
{
	struct tcp_info info;

	return ack_tcp_info(fd, &info) == 0 ? info.tcpi_last_data_sent : 0;
}

int sys_tcp_reset(int fd)
{
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	return sys_connect(fd, &nobody, sizeof nobody);
}

/* Taking back a TCP_CORK that never was pushes. */
int sys_tcp_push(int fd)
{
	return sys_setsockopt_int(fd, IPPROTO_TCP, TCP_CORK, 0);
}
