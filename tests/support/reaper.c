/* SPDX-License-Identifier: BSD-2-Clause */
/* reaper: waits for its children, and for the end of the test's process, which a pidfd tells of. */
#include "support/reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/test.h"

struct verdict {
	int status; /* of the command */
	bool left;  /* something that it has started goes on */
};

/* ------------------------------------------------------------------ in the reaper */

struct watch {
	int test;  /* readable when the test's process has ended */
	int heard; /* SIGCHLD, and SIGTERM from reaper_kill() */
	int tell;
	pid_t command;
};

/* SIGKILL to each child. False: /proc does not say which those are. */
static bool reaper_strike(void)
{
	char text[4096], *p = text, *end;
	int fd = open("/proc/thread-self/children", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	long pid;

	close(fd);
	if (n < 0)
		return false;
	text[n] = '\0';
	while ((pid = strtol(p, &end, 10)) > 0 && end != p) {
		kill((pid_t)pid, SIGKILL);
		p = end;
	}
	return true;
}

/* The children of one that is killed are ours then, and their turn comes. */
static void reaper_end_all(void)
{
	do
		if (!reaper_strike())
			kill(0, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno != ECHILD);
	_exit(0);
}

/* Those that have ended. Ends with the last one. */
static void reaper_reap(struct watch *w)
{
	struct verdict v;
	bool ended = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != w->command)
			continue;
		ended = true;
		v.status = status;
	}
	v.left = pid == 0;
	if (ended && write(w->tell, &v, sizeof v) != sizeof v)
		reaper_end_all();
	if (!v.left)
		_exit(0);
}

static void reaper_watch(struct watch *w)
{
	struct signalfd_siginfo i;

	for (;;) {
		struct pollfd p[2] = { { w->test, POLLIN, 0 }, { w->heard, POLLIN, 0 } };

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents)
			reaper_end_all();
		if (read(w->heard, &i, sizeof i) == sizeof i && i.ssi_signo == SIGTERM)
			reaper_end_all();
		reaper_reap(w);
	}
}

/* Its own are 0 to 2, and none of the test's is left. */
static void reaper_own_descriptors(struct watch *w)
{
	int *own[] = { &w->test, &w->heard, &w->tell };

	for (int i = 0; i < 3; i++)
		*own[i] = fcntl(*own[i], F_DUPFD, 3);
	for (int i = 0; i < 3; i++)
		*own[i] = dup2(*own[i], i);
	syscall(SYS_close_range, 3, ~0u, 0);
}

static void reaper_run(int test, int tell, void (*fn)(void *arg), void *arg)
{
	struct watch w = { .test = test, .tell = tell };
	sigset_t heard, before;

	sigemptyset(&heard);
	sigaddset(&heard, SIGCHLD);
	sigaddset(&heard, SIGTERM);
	sigprocmask(SIG_BLOCK, &heard, &before);
	w.heard = signalfd(-1, &heard, SFD_CLOEXEC);
	setsid();
	if (w.heard < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		_exit(1);
	w.command = fork();
	if (w.command == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		fn(arg);
		_exit(127);
	}
	if (write(tell, &w.command, sizeof w.command) != sizeof w.command)
		reaper_end_all();
	reaper_own_descriptors(&w);
	reaper_watch(&w);
}

/* ------------------------------------------------------------------ in the test */

static void reaper_hear(const struct reaper *r, void *dst, size_t size)
{
	ssize_t n;

	while ((n = read(r->told, dst, size)) < 0 && errno == EINTR)
		;
	ck_assert_int_eq(n, size);
}

void reaper_start(struct reaper *r, void (*fn)(void *arg), void *arg)
{
	int test = (int)syscall(SYS_pidfd_open, getpid(), 0), ends[2];

	ck_assert_int_ge(test, 0);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	r->pid = fork();
	ck_assert_int_ge(r->pid, 0);
	if (r->pid == 0)
		reaper_run(test, ends[1], fn, arg);
	close(test);
	close(ends[1]);
	r->told = ends[0];
	reaper_hear(r, &r->command, sizeof r->command);
	ck_assert_int_gt(r->command, 0);
}

int reaper_join(struct reaper *r)
{
	struct verdict v;

	reaper_hear(r, &v, sizeof v);
	close(r->told);
	if (!v.left)
		ck_assert_int_eq(waitpid(r->pid, NULL, 0), r->pid);
	return v.status;
}

void reaper_kill(struct reaper *r)
{
	ck_assert_int_eq(kill(r->pid, SIGTERM), 0);
	close(r->told);
	ck_assert_int_eq(waitpid(r->pid, NULL, 0), r->pid);
}
