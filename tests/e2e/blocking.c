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

static void pass_gate(void *arg)
{
	begun++;
	while (sem_wait(&gate) < 0)
		;
}

static int block(void *arg)
{
	return np_blocking(pass_gate, NULL);
}

static int nothing(void *arg)
{
	return 7;
}

START_TEST(while_one_blocks_the_others_of_its_poller_go_on)
{
	struct np_task *t = given_task(0, block, NULL);

	AWAIT(begun == 1);
	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	ck_assert_uint_eq(pollers_stats().away, 1);
	sem_post(&gate);
	ck_assert_int_eq(joined(t), 0);
	ck_assert_uint_eq(pollers_stats().away, 0);
	ck_assert_uint_eq(pollers_stats().handoffs, 1);
}
END_TEST

START_TEST(many_block_at_once_each_on_its_thread)
{
	enum { N = 10 };
	struct np_task *t[N];

	for (int i = 0; i < N; i++)
		t[i] = given_task(0, block, NULL);
	AWAIT(begun == N);
	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	for (int i = 0; i < N; i++)
		sem_post(&gate);
	for (int i = 0; i < N; i++)
		ck_assert_int_eq(joined(t[i]), 0);
}
END_TEST

static void sleep_in_there(void *arg)
{
	pthread_t me = pthread_self();

	ck_assert_int_eq(np_sleep(1), 0);
	ck_assert_int_eq(np_yield(), 0);
	ck_assert(pthread_equal(me, pthread_self()));
	ck_assert_int_eq(np_poller_self(), 0);
	*(int *)arg = 1;
}

static int verbs_inside(void *arg)
{
	int done = 0, r = np_blocking(sleep_in_there, &done);

	return r < 0 ? r : done;
}

START_TEST(verbs_inside_wait_for_their_turn_and_work)
{
	ck_assert_int_eq(np_run(pollers, verbs_inside, NULL), 1);
}
END_TEST

/* Where two threads have been taken the third waits for one. */
START_TEST(at_the_bound_it_waits_for_a_thread)
{
	struct np_task *t[3];

	end_pollers();
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .handoff_threads = 2));
	for (int i = 0; i < 3; i++)
		t[i] = given_task(0, block, NULL);
	AWAIT(begun == 2 && pollers_stats().handoffs_refused == 1);
	ck_assert_int_eq(np_run(pollers, nothing, NULL), 7);
	ck_assert_int_eq(begun, 2);
	sem_post(&gate);
	AWAIT(begun == 3);
	sem_post(&gate);
	sem_post(&gate);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(joined(t[i]), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "a call");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_blocks_runs_on_the_thread_that_calls_it);
	tcase_add_test(t, what_may_not_block_is_refused_by_name);
	tcase_add_test(t, while_one_blocks_the_others_of_its_poller_go_on);
	tcase_add_test(t, many_block_at_once_each_on_its_thread);
	tcase_add_test(t, verbs_inside_wait_for_their_turn_and_work);
	tcase_add_test(t, at_the_bound_it_waits_for_a_thread);
}
