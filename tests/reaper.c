/* SPDX-License-Identifier: BSD-2-Clause */
/* reaper: what a test has started, in the background too, does not outlive it. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/child.h"
#include "support/run.h"
#include "support/test.h"

/* A process that does not end by itself; its number is in a file once it is there. */
#define LASTING "sh -c 'echo $$ > %1$s/new && mv %1$s/new %1$s/pid && exec sleep 1000'"

static const char *const commands[] = {
	LASTING "; true",                         /* in the foreground: the command goes on */
	LASTING " > /dev/null 2>&1 &",            /* in the background of one that has ended */
	"setsid -f " LASTING " > /dev/null 2>&1", /* a daemon, in a session of its own */
};
#define COMMANDS (int)(sizeof commands / sizeof commands[0])

static char *dir;

/* In a process group of its own, as Check has each test. */
static void test_that_hangs(int sock, void *arg)
{
	const char *command = arg;
	struct ran r;

	setpgid(0, 0);
	sh(&r, command, dir);
	for (;;)
		pause();
}

static int lasting_pid(void)
{
	char path[256];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/pid", dir);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

START_TEST(what_a_killed_test_has_started_ends_with_it)
{
	struct child c;
	int lasting;

	dir = temp_dir();
	child_start(&c, test_that_hangs, (void *)commands[_i]);
	AWAIT(lasting_pid() > 0);
	lasting = (int)syscall(SYS_pidfd_open, lasting_pid(), 0);
	ck_assert_int_ge(lasting, 0);
	kill(-c.pid, SIGKILL); /* as Check does when time is up */
	child_kill(&c);
	await_fd(lasting, POLLIN);
	close(lasting);
	remove_tree(&dir);
}
END_TEST

START_TEST(a_daemon_outlives_the_command_that_started_it)
{
	int lasting;

	dir = temp_dir();
	must_sh(commands[_i], dir);
	AWAIT(lasting_pid() > 0);
	lasting = (int)syscall(SYS_pidfd_open, lasting_pid(), 0);
	ck_assert_int_ge(lasting, 0);
	must_sh("true");
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = lasting, .events = POLLIN }, 1, 0), 0);
	remove_tree(&dir);
	close(lasting);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "reaper");

	tcase_add_loop_test(t, what_a_killed_test_has_started_ends_with_it, 0, COMMANDS);
	tcase_add_loop_test(t, a_daemon_outlives_the_command_that_started_it, 1, COMMANDS);
}
