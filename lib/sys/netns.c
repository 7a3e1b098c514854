/* SPDX-License-Identifier: BSD-2-Clause */
/* netns: setns(2) is for the calling thread alone, so that one is made for it. */
#include "sys/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sys/thread.h"

int sys_netns_open(pid_t pid, int *ret_fd)
{
	char path[48] = "/proc/self/ns/net";
	int fd;

	if (pid)
		snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

uint64_t sys_netns_id(int netns_fd)
{
	struct stat st;

	return fstat(netns_fd, &st) == 0 ? st.st_ino : 0;
}

struct visit {
	int netns_fd;
	int (*fn)(void *arg);
	void *arg;
	int r;
};

static void netns_visit(void *arg)
{
	struct visit *v = arg;

	v->r = setns(v->netns_fd, CLONE_NEWNET) < 0 ? -errno : v->fn(v->arg);
}

int sys_netns_run(int netns_fd, int (*fn)(void *arg), void *arg)
{
	struct visit v = { netns_fd, fn, arg, 0 };
	struct sys_thread t;
	int r;

	r = sys_thread_start(&t, "np-netns", netns_visit, &v);
	if (r == 0)
		r = sys_thread_join(&t, 0);
	return r < 0 ? r : v.r;
}
