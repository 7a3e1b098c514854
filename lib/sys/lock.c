/* SPDX-License-Identifier: BSD-2-Clause */
/* lock: flock(2) knows no deadline and does not tell whose the lock is: it is tried again, and
 * /proc/locks is asked. */
#include "sys/lock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/process.h"

static void lock_describe(struct sys_holder *h)
{
	h->state = sys_process_state(h->pid);
	sys_process_name(h->pid, h->name, sizeof h->name);
	for (char *p = h->name; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?'; /* a process names itself */
}

/* "1: FLOCK  ADVISORY  WRITE 812 00:2a:224311 0 EOF" */
void sys_lock_holder(int fd, struct sys_holder *ret)
{
	unsigned major, minor;
	unsigned long long ino;
	char line[256];
	struct stat st;
	int pid;
	FILE *f;

	memset(ret, 0, sizeof *ret);
	if (fstat(fd, &st) < 0)
		return;
	f = fopen("/proc/locks", "re");
	if (!f)
		return;
	while (!ret->pid && fgets(line, sizeof line, f))
		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%llu", &pid, &major, &minor, &ino) ==
			    4 &&
		    major == major(st.st_dev) && minor == minor(st.st_dev) && ino == st.st_ino &&
		    pid > 0)
			ret->pid = pid;
	fclose(f);
	if (ret->pid)
		lock_describe(ret);
}

int sys_lock(int fd, uint64_t until_ns, struct sys_holder *ret_holder)
{
	SYS_FAULT(fs);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (!until_ns || sys_clock_ns() >= until_ns) {
			if (ret_holder)
				sys_lock_holder(fd, ret_holder);
			return -EAGAIN;
		}
		poll(NULL, 0, 1);
	}
	return 0;
}

int sys_unlock(int fd)
{
	return flock(fd, LOCK_UN) < 0 ? -errno : 0;
}

void sys_holder_format(const struct sys_holder *h, char *dst, size_t cap)
{
	const char *how = h->state == 'T' || h->state == 't' ? ", stopped" :
			  h->state == 'Z' || h->state == 'X' ? ", dead" :
							       "";

	if (!h->pid)
		snprintf(dst, cap, "a process that cannot be seen from here");
	else if (!h->state) /* a child that inherited the descriptor keeps it */
		snprintf(dst, cap, "a child of process %d, which is gone", (int)h->pid);
	else
		snprintf(dst, cap, "process %d (%s%s)", (int)h->pid, h->name, how);
}
