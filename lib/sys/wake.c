/* SPDX-License-Identifier: BSD-2-Clause */
/* wake: eventfd(2), non-blocking on both sides. */
#include "sys/wake.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include "sys/fault.h"
#include "sys/io.h"

int sys_wake_open(int *ret_fd)
{
	int fd;

	SYS_FAULT(eventfd);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int sys_wake_signal(int fd)
{
	uint64_t one = 1;
	ssize_t r = sys_write(fd, &one, sizeof one);

	return r < 0 && r != -EAGAIN ? (int)r : 0;
}

void sys_wake_drain(int fd)
{
	uint64_t n;

	/* EAGAIN: nothing was signalled. A read of one that is open has no other reason to fail. */
	(void)sys_read(fd, &n, sizeof n);
}
