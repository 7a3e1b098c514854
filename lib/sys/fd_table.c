/* SPDX-License-Identifier: BSD-2-Clause */
/* fd_table: a descriptor that has the last number for a moment. */
#include "sys/fd_table.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sys/fault.h"

int sys_fd_table_grow(unsigned most)
{
	struct rlimit r;
	int fd, last, err;

	SYS_FAULT(fs);
	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return -errno;
	if (r.rlim_cur < most)
		most = (unsigned)r.rlim_cur;
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	last = fcntl(fd, F_DUPFD_CLOEXEC, most ? (int)most - 1 : 0);
	err = last < 0 ? -errno : 0;
	if (last >= 0)
		close(last);
	close(fd);
	return err;
}
