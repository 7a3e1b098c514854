/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_replaced: a service that is taken away or replaced while others join it is there, or is not
 *
 * Never is what is half gone called one of another ABI.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/steer.h"
#include "support/test.h"

#define ROUNDS 3

static pid_t load_and_unload(void)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	for (int i = 0; i < ROUNDS; i++)
		if (np_steer_load("web", NP_OPTS(np_steer_load_opts, .force = true)) < 0 ||
		    np_steer_unload("web", NULL) < 0)
			_exit(1);
	_exit(0);
}

START_TEST(joining_beside_load_and_unload_finds_all_of_it_or_nothing)
{
	char why[NP_STEER_TEXT_MAX] = "";
	int status = 1, r;
	struct np_steer *s;
	pid_t pid;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	pid = load_and_unload();
	while (waitpid(pid, &status, WNOHANG) == 0) {
		r = np_steer_open("web",
				  NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN, .error = why,
					  .error_cap = sizeof why),
				  &s);
		if (r != 0 && r != -ENOENT)
			kill(pid, SIGKILL);
		ck_assert_msg(r == 0 || r == -ENOENT, "%d: %s", r, why);
		if (r == 0)
			ck_assert_int_eq(np_steer_close(&s), 0);
	}
	ck_assert_int_eq(status, 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "replaced");

	tcase_add_test(t, joining_beside_load_and_unload_finds_all_of_it_or_nothing);
}
