/* SPDX-License-Identifier: BSD-2-Clause */
/* jobs: what waits for a worker of np_offload() has a bound, obeys deadlines, and is counted;
 * public headers only */
#include <errno.h>
#include <netpoll/pollers.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "support/pollers.h"
#include "support/test.h"

static sem_t gate;
static _Atomic(int) begun;

static void setup(void)
{
	sem_init(&gate, 0, 0);
	given_pollers(
		NP_OPTS(np_pollers_opts, .count = 1, .offload_threads = 1, .offload_queue_max = 2));
}

static void teardown(void)
{
	end_pollers();
	sem_destroy(&gate);
}

static void pass_gate(void *arg)
{
	begun++;
	while (sem_wait(&gate) < 0)
		;
}

static void never(void *arg)
{
	ck_abort_msg("its wait had ended");
}

static int job(void *arg)
{
	return np_offload(pass_gate, NULL);
}

static int job_that_must_not_begin(void *arg)
{
	return np_offload(never, NULL);
}

static int job_with_deadline(void *arg)
{
	ck_assert_int_eq(np_deadline(20, NULL), 0);
	return job(arg);
}

static int queued_with_deadline(void *arg)
{
	ck_assert_int_eq(np_deadline(20, NULL), 0);
	return job_that_must_not_begin(arg);
}

/* One worker, and it is kept. */
static struct np_task *given_a_job_that_runs(int (*fn)(void *))
{
	struct np_task *t = given_task(0, fn, NULL);

	AWAIT(begun == 1);
	return t;
}

static void open_gate(int n)
{
	while (n--)
		sem_post(&gate);
}

START_TEST(a_full_queue_refuses_and_is_counted)
{
	struct np_task *runs = given_a_job_that_runs(job), *wait[2];

	for (int i = 0; i < 2; i++)
		wait[i] = given_task(0, job, NULL);
	AWAIT(pollers_stats().offload_queued == 2);
	ck_assert_uint_eq(pollers_stats().offload_running, 1);

	ck_assert_int_eq(joined(given_task(0, job_that_must_not_begin, NULL)), -EAGAIN);
	ck_assert_uint_eq(pollers_stats().offload_refused, 1);

	open_gate(3);
	ck_assert_int_eq(joined(runs), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(joined(wait[i]), 0);
	ck_assert_uint_eq(pollers_stats().offload_done, 3);
	ck_assert_uint_eq(pollers_stats().offload_queued + pollers_stats().offload_running, 0);
}
END_TEST

START_TEST(a_job_that_waits_ends_at_the_deadline_of_its_fiber)
{
	struct np_task *runs = given_a_job_that_runs(job);

	ck_assert_int_eq(joined(given_task(0, queued_with_deadline, NULL)), -ETIMEDOUT);
	ck_assert_uint_eq(pollers_stats().offload_given_up, 1);
	ck_assert_uint_eq(pollers_stats().offload_queued, 0);
	open_gate(1);
	ck_assert_int_eq(joined(runs), 0);
}
END_TEST

START_TEST(a_job_that_waits_ends_when_its_task_is_cancelled)
{
	struct np_task *runs = given_a_job_that_runs(job),
		       *t = given_task(0, job_that_must_not_begin, NULL);

	AWAIT(pollers_stats().offload_queued == 1);
	ck_assert_int_eq(np_task_cancel(t), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
	open_gate(1);
	ck_assert_int_eq(joined(runs), 0);
}
END_TEST

/* fn may be using the fiber's stack. */
START_TEST(a_job_that_runs_is_waited_for_whatever_happens)
{
	struct np_task *runs = given_a_job_that_runs(job_with_deadline);

	ck_assert_int_eq(np_join_for(&runs, 50, NULL), -ETIMEDOUT);
	ck_assert_int_eq(np_task_cancel(runs), 0);
	ck_assert_int_eq(np_join_for(&runs, 50, NULL), -ETIMEDOUT);
	open_gate(1);
	ck_assert_int_eq(joined(runs), 0);
}
END_TEST

static int late(void *arg)
{
	ck_assert_int_eq(np_deadline(NP_NOW, NULL), 0);
	while (np_deadline_left() != 0) /* a part of a millisecond */
		np_yield();
	return job_that_must_not_begin(NULL);
}

START_TEST(behind_the_deadline_none_begins_though_a_worker_is_free)
{
	ck_assert_int_eq(joined(given_task(0, late, NULL)), -ETIMEDOUT);
}
END_TEST

START_TEST(without_a_limit_all_are_queued)
{
	struct np_task *t[100];

	end_pollers();
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .offload_queue_max = -2),
					  &pollers),
			 -EINVAL);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .offload_threads = 1,
			      .offload_queue_max = -1));
	for (int i = 0; i < 100; i++)
		t[i] = given_task(0, job, NULL);
	AWAIT(pollers_stats().offload_queued == 99);
	open_gate(100);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(joined(t[i]), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "jobs");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_full_queue_refuses_and_is_counted);
	tcase_add_test(t, a_job_that_waits_ends_at_the_deadline_of_its_fiber);
	tcase_add_test(t, a_job_that_waits_ends_when_its_task_is_cancelled);
	tcase_add_test(t, a_job_that_runs_is_waited_for_whatever_happens);
	tcase_add_test(t, behind_the_deadline_none_begins_though_a_worker_is_free);
	tcase_add_test(t, without_a_limit_all_are_queued);
}
