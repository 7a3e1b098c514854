/* SPDX-License-Identifier: BSD-2-Clause */
/* pollers: given a set, then it ends without a trace. */
#include "support/pollers.h"

#include "support/test.h"

struct np_pollers *pollers;
static int fds_before;

void given_pollers(const struct np_pollers_opts *o)
{
	static const struct np_pollers_opts two = { .sz = sizeof two, .count = 2, .pin = NP_OFF };

	fds_before = open_fds();
	ck_assert_int_eq(np_pollers_start(o ? o : &two, &pollers), 0);
}

struct np_task *given_task(int poller, int (*fn)(void *), void *arg)
{
	struct np_task *t = NULL;

	ck_assert_int_eq(np_go(pollers, poller, fn, arg, &t), 0);
	return t;
}

int joined(struct np_task *t)
{
	int result = 0;

	ck_assert_int_eq(np_join(&t, &result), 0);
	ck_assert_ptr_null(t);
	return result;
}

struct np_pollers_stats pollers_stats(void)
{
	struct np_pollers_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_pollers_stats(pollers, &st), 0);
	return st;
}

void end_pollers(void)
{
	if (!pollers)
		return;
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&pollers), 0);
	ck_assert_int_eq(open_fds(), fds_before);
	AWAIT(np_threads() == 0);
}
