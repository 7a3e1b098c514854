/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf: the commands of bpf(2) that take a name, or that libbpf has no part in; membarrier(2). */
#include "sys/bpf.h"

#include <asm/unistd.h> /* not sys/syscall.h, whose SYS_bpf is the fault injector's name too */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sys/fault.h"

#define PATH_FD (1u << 14) /* BPF_F_PATH_FD, later than the headers of Debian 12 */

/* That part of union bpf_attr. */
struct by_name {
	uint64_t pathname;
	uint32_t bpf_fd;
	uint32_t file_flags;
	int32_t path_fd;
	uint32_t _padding;
};

static int bpf_by_name(int cmd, int at, const char *name, uint32_t flags, int bpf_fd)
{
	struct by_name a = { (uintptr_t)name, (uint32_t)bpf_fd, flags | PATH_FD, at, 0 };
	char path[300];
	long r;

	SYS_FAULT(bpf);
	r = syscall(__NR_bpf, cmd, &a, 20u); /* to the end of path_fd */
	if (r >= 0 || errno != EINVAL)
		return r < 0 ? -errno : (int)r;
	/* Before 6.5, which knows neither the flag nor the field. */
	if (snprintf(path, sizeof path, "/proc/self/fd/%d/%s", at, name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	a = (struct by_name){ (uintptr_t)path, (uint32_t)bpf_fd, flags, 0, 0 };
	r = syscall(__NR_bpf, cmd, &a, 16u);
	return r < 0 ? -errno : (int)r;
}

int sys_bpf_get_at(int at, const char *name, uint32_t flags, int *ret_fd)
{
	int fd = bpf_by_name(BPF_OBJ_GET, at, name, flags, 0);

	if (fd < 0)
		return fd;
	*ret_fd = fd; /* close-on-exec, as all of bpf(2)'s */
	return 0;
}

int sys_bpf_pin_at(int at, const char *name, int bpf_fd)
{
	SYS_FAULT(folder_write);
	return bpf_by_name(BPF_OBJ_PIN, at, name, 0, bpf_fd);
}

uint32_t sys_bpf_program_id(int prog_fd)
{
	struct bpf_prog_info info;
	union bpf_attr a;

	memset(&info, 0, sizeof info);
	memset(&a, 0, sizeof a);
	a.info.bpf_fd = (uint32_t)prog_fd;
	a.info.info_len = sizeof info;
	a.info.info = (uintptr_t)&info;
	return syscall(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &a, sizeof a) < 0 ? 0 : info.id;
}

void sys_bpf_settle(void)
{
	syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}
