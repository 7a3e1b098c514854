/* SPDX-License-Identifier: BSD-2-Clause */
/* deputy: fork(2), and a pipe for the result, whose end without one says that it was killed. */
#include "sys/deputy.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/fault.h"
#include "sys/io.h"

static int deputy_fork(pid_t *ret)
{
	SYS_FAULT(fork);
	*ret = fork();
	return *ret < 0 ? -errno : 0;
}

static void deputy_run(int (*fn)(void *arg), void *arg, int pipe[2])
{
	int result = fn(arg);

	sys_write_quietly(pipe[1], &result, sizeof result);
	_exit(0);
}

/* Another one may have waited for all children of this process: the pipe tells. */
static int deputy_await(pid_t pid, int fd, int *ret_result)
{
	struct pollfd said = { .fd = fd, .events = POLLIN };
	int result;
	ssize_t n;

	while (sys_poll_wait(&said, 1, -1) == 0)
		;
	n = sys_read(fd, &result, sizeof result);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (n != sizeof result)
		return -ECHILD;
	*ret_result = result;
	return 0;
}

int sys_deputy(int (*fn)(void *arg), void *arg, int *ret_result)
{
	int pipe[2] = { -1, -1 }, r;
	sigset_t all, old;
	pid_t pid = 0;
	ssize_t n;

	n = sys_pipe(pipe, sizeof *ret_result);
	if (n < 0)
		return (int)n;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* the deputy's, from its first moment on */
	r = deputy_fork(&pid);
	if (r == 0 && !pid)
		deputy_run(fn, arg, pipe);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sys_close(&pipe[1]);
	if (r == 0)
		r = deputy_await(pid, pipe[0], ret_result);
	sys_close(&pipe[0]);
	return r;
}
