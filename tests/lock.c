/* SPDX-License-Identifier: BSD-2-Clause */
/* lock: a lock on a folder waits as long as it was told to, and tells whose it is. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/run.h"
#include "support/test.h"
#include "sys/clock.h"
#include "sys/lock.h"

static int folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void hold(int sock, void *arg)
{
	int fd = open(arg, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || sys_lock(fd, 0, NULL) < 0)
		child_fail("no lock");
	child_say(sock, 'l');
	child_hear(sock);
}

START_TEST(whose_lock_it_is_is_told)
{
	struct sys_holder h = { 0 };
	char *dir = temp_dir(), text[80];
	int fd = folder(dir), status;
	struct child c;

	child_start(&c, hold, dir);
	child_hear(c.sock);
	ck_assert_int_eq(sys_lock(fd, 0, &h), -EAGAIN);
	ck_assert_int_eq(h.pid, c.pid);
	ck_assert_str_ne(h.name, "");

	kill(c.pid, SIGSTOP);
	ck_assert_int_eq(waitpid(c.pid, &status, WUNTRACED), c.pid);
	ck_assert_int_eq(sys_lock(fd, sys_clock_ns() + 20000000u, &h), -EAGAIN);
	ck_assert_int_eq(h.state, 'T');
	sys_holder_format(&h, text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, ", stopped)"));

	child_kill(&c); /* the kernel drops its lock */
	ck_assert_int_eq(sys_lock(fd, sys_clock_ns() + AWAIT_MS * 1000000ull, &h), 0);
	ck_assert_int_eq(sys_unlock(fd), 0);
	close(fd);
	remove_tree(&dir);
}
END_TEST

/* The description lives on in a child of the process that took the lock. */
START_TEST(a_lock_left_to_a_child_is_told_as_that)
{
	struct sys_holder h = { .pid = 1 << 29, .state = 0 };
	char text[80];

	sys_holder_format(&h, text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "a child of process 536870912"));
	h.pid = 0;
	sys_holder_format(&h, text, sizeof text);
	ck_assert_str_eq(text, "a process that cannot be seen from here");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "lock");

	tcase_add_test(t, whose_lock_it_is_is_told);
	tcase_add_test(t, a_lock_left_to_a_child_is_told_as_that);
}
