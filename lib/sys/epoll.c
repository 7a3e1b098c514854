/* SPDX-License-Identifier: BSD-2-Clause */
/* epoll: create, ctl, wait. */
#include "sys/epoll.h"

#include <errno.h>

#include "sys/fault.h"
#include "sys/raw.h"

int sys_epoll_create(int *ret_fd)
{
	int fd;

	SYS_FAULT(epoll_create);
	fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int epoll_change(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	SYS_FAULT(epoll_ctl);
	return epoll_ctl(ep, op, fd, &ev) < 0 ? -errno : 0;
}

int sys_epoll_add(int ep, int fd, uint32_t events, uint64_t data)
{
	return epoll_change(ep, EPOLL_CTL_ADD, fd, events, data);
}

int sys_epoll_mod(int ep, int fd, uint32_t events, uint64_t data)
{
	return epoll_change(ep, EPOLL_CTL_MOD, fd, events, data);
}

int sys_epoll_del(int ep, int fd)
{
	return epoll_change(ep, EPOLL_CTL_DEL, fd, 0, 0);
}

int sys_epoll_wait(int ep, struct epoll_event *ev, int max, int timeout_ms)
{
	int n;

	SYS_FAULT(epoll_wait);
	/* epoll_pwait without a mask: aarch64 has no epoll_wait. */
	n = (int)RAW_CALL(epoll_wait(ep, ev, max, timeout_ms), __NR_epoll_pwait, ep, ev, max,
			  timeout_ms, 0, 8);
	/*
	 * A process that was stopped and goes on gets EINTR, and its timers are over: events that
	 * have come meanwhile are to be seen before they are judged. Without a timeout there is no
	 * second one.
	 */
	if (n == -EINTR)
		n = (int)RAW_CALL(epoll_wait(ep, ev, max, 0), __NR_epoll_pwait, ep, ev, max, 0, 0,
				  8);
	return n == -EINTR ? 0 : n;
}
