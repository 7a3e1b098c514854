/* SPDX-License-Identifier: BSD-2-Clause */
/* child: fork, a socket pair, and an exit code. */
#include "support/child.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/test.h"

void child_start(struct child *c, void (*fn)(int sock, void *arg), void *arg)
{
	int sp[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp), 0);
	c->pid = fork();
	ck_assert_int_ge(c->pid, 0);
	if (c->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive a test that fails */
		close(sp[0]);
		fn(sp[1], arg);
		_exit(0);
	}
	close(sp[1]);
	c->sock = sp[0];
}

void child_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

void child_send(int sock, const void *p, size_t n)
{
	if (send(sock, p, n, MSG_NOSIGNAL) != (ssize_t)n)
		child_fail("the other process is gone");
}

/* Longer than any wait of the other process: what that waits for in vain it says itself. */
#define HEAR_MS (3 * AWAIT_MS)

/* Ends the process that waits in vain, which in a test's own process is a failed test. */
void child_recv(int sock, void *p, size_t n)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };

	if (poll(&pfd, 1, HEAR_MS) != 1 || recv(sock, p, n, MSG_WAITALL) != (ssize_t)n)
		child_fail("heard nothing from the other process");
}

void child_say(int sock, char what)
{
	child_send(sock, &what, 1);
}

char child_hear(int sock)
{
	char what;

	child_recv(sock, &what, 1);
	return what;
}

void child_join(struct child *c)
{
	int status;

	close(c->sock);
	ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed: status %#x",
		      (unsigned)status);
}

void child_kill(struct child *c)
{
	kill(c->pid, SIGKILL);
	close(c->sock);
	ck_assert_int_eq(waitpid(c->pid, NULL, 0), c->pid);
}
