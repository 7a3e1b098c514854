/* SPDX-License-Identifier: BSD-2-Clause */
/* owner: looked at from many sides before anything is sent. */
#include "owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TASK_LOOKS  200
#define TASK_LOOK_S 0.01

void owner_init(struct owner *o, int pid)
{
	*o = (struct owner){ .pid = pid, .pidfd = -1, .lock = -1 };
}

int owner_signal(const struct owner *o, int signal)
{
	return syscall(SYS_pidfd_send_signal, o->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

/* A process that has ended is readable. */
bool owner_is_gone(const struct owner *o)
{
	struct pollfd p = { .fd = o->pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

void owner_release(struct owner *o)
{
	if (o->lock >= 0)
		close(o->lock);
	if (o->pidfd >= 0)
		close(o->pidfd);
	owner_init(o, o->pid);
}

/* ------------------------------------------------------------------ what it is */

struct owner_search {
	struct np_steer *s;
	int pid;
	bool found;
};

static bool owner_is_address_of(struct np_steer *s, const char *address)
{
	struct np_steer_info info = { .sz = sizeof info };
	struct np_steer_group_info g;

	np_steer_info(s, &info);
	for (unsigned i = 0; i < info.groups; i++)
		if (read_group(s, i, &g) && !strcmp(g.address, address))
			return true;
	return false;
}

static int owner_look_at(void *arg, const struct np_steer_listener *l)
{
	struct owner_search *o = arg;

	for (unsigned i = 0; i < l->n_holders && !o->found; i++)
		o->found = l->holders[i].pid == o->pid && owner_is_address_of(o->s, l->address);
	return o->found;
}

static bool owner_listens(struct np_steer *s, int pid)
{
	struct owner_search o = { .s = s, .pid = pid };

	np_steer_listeners(NP_OPTS(np_steer_find_opts, .pid = pid), owner_look_at, &o);
	return o.found;
}

/* The mask that "SigCgt:" or the like has in a status of /proc. */
static uint64_t owner_mask(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

/* A file of /proc, with a zero behind it. */
static bool owner_read(char *dst, size_t cap, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static bool owner_read(char *dst, size_t cap, const char *fmt, ...)
{
	char path[300];
	va_list ap;
	ssize_t n;
	int fd;

	va_start(ap, fmt);
	vsnprintf(path, sizeof path, fmt, ap);
	va_end(ap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, dst, cap - 1);
	close(fd);
	dst[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* What @line, of /proc/PID/task/TID/syscall, says the thread waits for. */
static bool owner_waits(int pid, const char *line, uint64_t bit)
{
	unsigned long long set = 0, at;
	char path[64];
	long number;
	int fd;

	if (sscanf(line, "%ld %llx", &number, &at) != 2 || number != SYS_rt_sigtimedwait)
		return false;
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (pread(fd, &set, sizeof set, (off_t)at) != sizeof set)
		set = 0;
	close(fd);
	return set & bit;
}

static bool owner_blocks(int pid, const char *task, uint64_t bit)
{
	char status[4096];

	return owner_read(status, sizeof status, "/proc/%d/task/%s/status", pid, task) &&
	       owner_mask(status, "SigBlk:") & bit;
}

/*
 * While a thread is in sigwait(3) the kernel takes what it waits for out of its mask. Which that is
 * stands in its memory: the call's first argument. Of one that is about to run or to sleep the
 * kernel says neither: it is looked at again.
 */
static bool owner_task_keeps(int pid, const char *task, uint64_t bit)
{
	char line[256] = "";

	for (int i = 0; i < TASK_LOOKS; i++) {
		if (owner_blocks(pid, task, bit))
			return true;
		if (!owner_read(line, sizeof line, "/proc/%d/task/%s/syscall", pid, task))
			return false;
		if (owner_waits(pid, line, bit))
			return true;
		if (strncmp(line, "running", 7) && !owner_blocks(pid, task, bit))
			return false;
		pause_for(TASK_LOOK_S);
	}
	return false;
}

/*
 * Caught, or kept from every thread that does not wait for it: it ends nobody. Whether it is
 * ignored says nothing: one that is kept is delivered all the same, and nohup(1) ignores SIGHUP.
 */
static bool owner_knows(int pid, int signal)
{
	uint64_t bit = 1ull << (signal - 1);
	char path[32], status[4096];
	bool blocked = true;
	struct dirent *d;
	DIR *tasks;

	if (!owner_read(status, sizeof status, "/proc/%d/status", pid))
		return false;
	if (owner_mask(status, "SigCgt:") & bit)
		return true;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	tasks = opendir(path);
	if (!tasks)
		return false;
	while (blocked && (d = readdir(tasks)))
		if (*d->d_name != '.')
			blocked = owner_task_keeps(pid, d->d_name, bit);
	closedir(tasks);
	return blocked;
}

/* ------------------------------------------------------------------ taken */

static int owner_refuse(char *why, size_t cap, enum exit_code code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static int owner_refuse(char *why, size_t cap, enum exit_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, cap, fmt, ap);
	va_end(ap);
	return code;
}

int owner_check(struct npsteer *n, struct np_steer *s, struct owner *o, int signal, char *why,
		size_t cap)
{
	o->pidfd = (int)syscall(SYS_pidfd_open, o->pid, 0);
	if (o->pidfd < 0)
		return owner_refuse(why, cap, ABSENT, "process %d cannot be found: %s", o->pid,
				    strerror(errno));
	if (owner_signal(o, 0) < 0)
		return owner_refuse(
			why, cap, DENIED,
			"process %d is another user's: run npsteer as that user, or as root",
			o->pid);
	if (!owner_listens(s, o->pid))
		return owner_refuse(
			why, cap, FAILED,
			"process %d has no listener of the service %s, though a worker says that it is its: it is left alone",
			o->pid, service_of(n));
	if (!owner_knows(o->pid, signal))
		return owner_refuse(
			why, cap, FAILED,
			"process %d does not know SIG%s, and would be ended or do nothing: restart it as its own supervisor does",
			o->pid, sigabbrev_np(signal));
	if (owner_is_gone(o))
		return owner_refuse(why, cap, ABSENT, "process %d has just ended", o->pid);
	return DONE;
}

bool owner_lock(struct owner *o)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/%d/fd", o->pid);
	o->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return o->lock < 0 || flock(o->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

int owner_take(struct npsteer *n, struct np_steer *s, struct owner *o, int signal)
{
	char why[400];
	int code = owner_check(n, s, o, signal, why, sizeof why);

	return code == DONE ? DONE : fail(n, (enum exit_code)code, "%s", why);
}
