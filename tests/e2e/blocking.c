/* SPDX-License-Identifier: BSD-2-Clause */
/* blocking: a call that keeps its thread does not keep the poller; public headers only */
#include <errno.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "support/pollers.h"
#include "support/test.h"

static sem_t gate;
static _Atomic(int) begun;

static void setup(void)
{
	sem_init(&gate, 0, 0);
	begun = 0;
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));
}

static void teardown(void)
{
	end_pollers();
	sem_destroy(&gate);
}

static void never(void *arg)
{
	ck_abort_msg("it was refused");
}

static void note_thread(void *arg)
{
	*(pthread_t *)arg = pthread_self();
}

static int call_here(void *arg)
{
	pthread_t t = 0;

	ck_assert_int_eq(np_blocking(note_thread, &t), 0);
	ck_assert(pthread_equal(t, pthread_self()));
	return 0;
}

START_TEST(what_blocks_runs_on_the_thread_that_calls_it)
{
	ck_assert_int_eq(np_run(pollers, call_here, NULL), 0);
}
END_TEST

static int call_too_late(void *arg)
{
	ck_assert_int_eq(np_deadline(NP_NOW, NULL), 0);
	return np_blocking(never, NULL);
}

static int call_without_function(void *arg)
{
	return np_blocking(NULL, NULL);
}

START_TEST(what_may_not_block_is_refused_by_name)
{
	ck_assert_int_eq(np_blocking(never, NULL), -NP_ENOTFIBER);
	ck_assert_int_eq(np_run(pollers, call_too_late, NULL), -ETIMEDOUT);
	ck_assert_int_eq(np_run(pollers, call_without_function, NULL), -EINVAL);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("blocking");
	TCase *t = tcase_create("a call");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_blocks_runs_on_the_thread_that_calls_it);
	tcase_add_test(t, what_may_not_block_is_refused_by_name);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
