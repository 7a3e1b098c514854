/* SPDX-License-Identifier: BSD-2-Clause */
/* traced: the child stops at each entry and each exit. */
#include "support/traced.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/test.h"

#define AT_CALL (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */

static pid_t traced_fork(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		fn(arg);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, pid, NULL,
				(void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)),
			 0);
	return pid;
}

unsigned traced_calls(void (*fn)(void *arg), void *arg)
{
	pid_t pid = traced_fork(fn, arg);
	unsigned stops = 0;
	int status, sig = 0;

	for (;;) {
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)sig), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		stops += WSTOPSIG(status) == AT_CALL;
		sig = WSTOPSIG(status) == AT_CALL ? 0 : WSTOPSIG(status);
	}
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
	return stops / 2;
}
