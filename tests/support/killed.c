/* SPDX-License-Identifier: BSD-2-Clause */
/* killed: fork, an armed fault, and what waitpid(2) says. */
#include "support/killed.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/test.h"

#ifdef NP_FAULT

static void killed_run(const struct strike *strike, const char *service,
		       int (*deed)(struct np_steer *s, void *arg), void *arg)
{
	struct np_steer *s = NULL;

	if (service &&
	    np_steer_open(service, NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .rescue = NP_OFF),
			  &s) < 0)
		_exit(2);
	sys_fault_arm(strike->call, strike->nth, strike->whom);
	_exit(deed(s, arg) != 0);
}

bool killed_by(const struct strike *strike, const char *service,
	       int (*deed)(struct np_steer *s, void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		killed_run(strike, service, deed, arg);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s %u: status %#x",
		      sys_fault_name(strike->call), strike->nth, (unsigned)status);
	return false;
}

#endif
