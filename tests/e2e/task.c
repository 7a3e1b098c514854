/* SPDX-License-Identifier: BSD-2-Clause */
/* task: np_go, np_join, np_run, np_post: where they run, in which order, and what a stop does to
 * them. */
#include <errno.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "support/log.h"
#include "support/pollers.h"
#include "support/test.h"

static void setup(void)
{
	given_pollers(NULL);
}

static void *on_thread(void *arg)
{
	void (*fn)(void) = *(void (**)(void))arg;

	fn();
	return NULL;
}

static void run_on_thread(void (*fn)(void))
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, on_thread, &fn), 0);
	pthread_join(t, NULL);
}

/* ------------------------------------------------------------------ where it runs */

static int where(void *arg)
{
	return np_poller_self();
}

START_TEST(run_calls_on_a_poller_and_returns_what_fn_returned)
{
	ck_assert_int_eq(np_poller_self(), -1);

	for (int i = 0; i < 4; i++) {
		int at = np_run(pollers, where, NULL);

		ck_assert_int_ge(at, 0);
		ck_assert_int_lt(at, 2);
	}
}
END_TEST

START_TEST(go_runs_on_the_poller_of_that_index)
{
	ck_assert_int_eq(joined(given_task(1, where, NULL)), 1);
	ck_assert_int_eq(joined(given_task(0, where, NULL)), 0);
}
END_TEST

static int spread_tasks(void *arg)
{
	unsigned *at = arg;

	for (int i = 0; i < 10; i++)
		at[joined(given_task(NP_SPREAD, where, NULL))]++;
	return 0;
}

START_TEST(spread_gives_each_poller_its_share)
{
	unsigned from_thread[2] = { 0 }, from_fiber[2] = { 0 };

	spread_tasks(from_thread);
	ck_assert_int_eq(np_run(pollers, spread_tasks, from_fiber), 0);

	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(from_thread[i], 5);
		ck_assert_uint_eq(from_fiber[i], 5);
	}
}
END_TEST

static int other_and_back(void *arg)
{
	int other = 1 - np_poller_self();

	ck_assert_int_eq(joined(given_task(other, where, NULL)), other);
	ck_assert_int_eq(joined(given_task(NP_HERE, where, NULL)), np_poller_self());
	return 0;
}

START_TEST(a_fiber_may_go_and_join_on_any_poller)
{
	ck_assert_int_eq(np_run(pollers, other_and_back, NULL), 0);
}
END_TEST

static int go_without_set(void *arg)
{
	struct np_task *t;

	ck_assert_int_eq(np_go(NULL, NP_HERE, where, NULL, &t), 0);
	ck_assert_int_eq(joined(t), np_poller_self());
	return 0;
}

START_TEST(no_set_is_the_set_of_this_poller)
{
	struct np_task *t = NULL;

	ck_assert_int_eq(np_run(pollers, go_without_set, NULL), 0);
	ck_assert_int_eq(np_go(NULL, 0, where, NULL, &t), -EINVAL);
	ck_assert_ptr_null(t);
}
END_TEST

/* ------------------------------------------------------------------ in which order */

static struct {
	int n, at[64];
} seen;

static int note(void *arg)
{
	seen.at[seen.n++] = (int)(intptr_t)arg;
	return 0;
}

static void post_note(void *arg)
{
	note(arg);
}

static int go_notes(void *arg)
{
	for (intptr_t i = 0; i < 64; i++)
		ck_assert_int_eq(np_go(pollers, 0, note, (void *)i, NULL), 0);
	return joined(given_task(0, where, NULL));
}

static void then_in_order(void)
{
	ck_assert_int_eq(seen.n, 64);
	for (int i = 0; i < 64; i++)
		ck_assert_int_eq(seen.at[i], i);
}

START_TEST(tasks_of_a_thread_start_in_its_order)
{
	go_notes(NULL);
	then_in_order();
}
END_TEST

START_TEST(tasks_of_a_fiber_start_in_its_order)
{
	ck_assert_int_eq(joined(given_task(0, go_notes, NULL)), 0);
	then_in_order();
}
END_TEST

START_TEST(tasks_from_another_poller_start_in_its_order)
{
	ck_assert_int_eq(joined(given_task(1, go_notes, NULL)), 0);
	then_in_order();
}
END_TEST

static void set_event(void *arg)
{
	np_event_set(arg);
}

START_TEST(posts_run_in_their_senders_order)
{
	struct np_event *last;

	ck_assert_int_eq(np_event_new(&last), 0);
	for (intptr_t i = 0; i < 64; i++)
		ck_assert_int_eq(np_post(pollers, 1, post_note, (void *)i), 0);
	ck_assert_int_eq(np_post(pollers, 1, set_event, last), 0);

	ck_assert_int_eq(np_event_wait(last, AWAIT_MS), 0);
	then_in_order();
	ck_assert_int_eq(np_event_free(&last), 0);
}
END_TEST

/* ------------------------------------------------------------------ join */

static int answer(void *arg)
{
	return 42;
}

/* The task's end and the join meet in every order; the memory is the sanitizers' to watch. */
static int join_many(void *arg)
{
	for (int i = 0; i < 500; i++) {
		struct np_task *t = given_task(i & 1, answer, NULL);

		if (i & 2 && np_poller_self() >= 0)
			ck_assert_int_eq(np_yield(), 0);
		ck_assert_int_eq(joined(t), 42);
	}
	return 0;
}

START_TEST(join_gets_the_result_whether_it_comes_before_or_after_the_end)
{
	join_many(NULL);
	ck_assert_int_eq(np_run(pollers, join_many, NULL), 0);
}
END_TEST

static int join_self(void *arg)
{
	struct np_task **self = arg;

	return np_join(self, NULL);
}

static int start_join_self(void *arg)
{
	static struct np_task *self;

	self = NULL;
	ck_assert_int_eq(np_go(NULL, NP_HERE, join_self, &self, &self), 0);
	return joined(self);
}

START_TEST(a_task_cannot_join_itself)
{
	ck_assert_int_eq(np_run(pollers, start_join_self, NULL), -EDEADLK);
}
END_TEST

static int join_later(void *arg)
{
	struct np_task **t = arg;
	int result;

	ck_assert_int_eq(np_join(t, &result), 0);
	return result;
}

static int reuse_a_stack(void *arg)
{
	struct np_task *t = given_task(NP_HERE, answer, NULL);

	ck_assert_int_eq(np_yield(), 0); /* t has ended, and its stack is the next to be used */
	return joined(given_task(NP_HERE, join_later, &t));
}

/* That a stack was the ended task's must not make its new user look like that task. */
START_TEST(a_task_on_a_reused_stack_may_join_the_one_that_left_it)
{
	ck_assert_int_eq(np_run(pollers, reuse_a_stack, NULL), 42);
}
END_TEST

START_TEST(join_of_nothing_is_refused)
{
	struct np_task *t = NULL;

	ck_assert_int_eq(np_join(&t, NULL), -EINVAL);
}
END_TEST

static struct np_event *gate;

static int wait_gate(void *arg)
{
	return np_event_wait(gate, AWAIT_MS);
}

static int join_arg(void *arg)
{
	struct np_task *t = arg;

	return np_join(&t, NULL);
}

static int join_twice(void *arg)
{
	struct np_task *t = given_task(NP_HERE, wait_gate, NULL), *first, *u = t;

	first = given_task(NP_HERE, join_arg, t);
	/* both wait now: on one poller tasks start in their order */
	ck_assert_int_eq(np_yield(), 0);
	ck_assert_int_eq(np_join(&u, NULL), -NP_ECONCURRENT);
	ck_assert_ptr_eq(u, t);
	np_event_set(gate);
	return joined(first);
}

START_TEST(a_second_join_is_refused_while_one_waits)
{
	ck_assert_int_eq(np_event_new(&gate), 0);
	ck_assert_int_eq(np_run(pollers, join_twice, NULL), 0);
	np_event_free(&gate);
}
END_TEST

/* ------------------------------------------------------------------ wrong places */

static int run_here(void *arg)
{
	return np_run(pollers, where, NULL);
}

START_TEST(run_is_refused_on_a_poller)
{
	ck_assert_int_eq(np_run(pollers, run_here, NULL), -EDEADLK);
}
END_TEST

static int codes[2];
static struct np_task *left;

static void join_on_main(void *arg)
{
	left = given_task(NP_HERE, where, NULL);
	codes[0] = np_join(&left, NULL);
	codes[1] = np_run(pollers, where, NULL);
	np_event_set(arg);
}

START_TEST(nothing_parks_on_a_pollers_own_stack)
{
	struct np_event *e;

	ck_assert_int_eq(np_event_new(&e), 0);
	ck_assert_int_eq(np_post(pollers, 0, join_on_main, e), 0);
	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);

	ck_assert_int_eq(codes[0], -NP_ENOTFIBER);
	ck_assert_int_eq(codes[1], -EDEADLK);
	ck_assert_int_eq(joined(left), 0);
	np_event_free(&e);
}
END_TEST

START_TEST(here_is_refused_off_a_poller)
{
	struct np_task *t = NULL;

	ck_assert_int_eq(np_go(pollers, NP_HERE, where, NULL, &t), -EPERM);
	ck_assert_int_eq(np_post(pollers, NP_HERE, post_note, NULL), -EPERM);
	ck_assert_ptr_null(t);
}
END_TEST

START_TEST(what_is_no_poller_or_no_function_is_refused)
{
	struct np_task *t = NULL;

	ck_assert_int_eq(np_go(pollers, 2, where, NULL, &t), -EINVAL);
	ck_assert_int_eq(np_go(pollers, -3, where, NULL, &t), -EINVAL);
	ck_assert_int_eq(np_go(pollers, 0, NULL, NULL, &t), -EINVAL);
	ck_assert_int_eq(np_post(pollers, 2, post_note, NULL), -EINVAL);
	ck_assert_int_eq(np_post(pollers, 0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(np_run(pollers, NULL, NULL), -EINVAL);
	ck_assert_int_eq(np_run(NULL, where, NULL), -EINVAL);
	ck_assert_ptr_null(t);
}
END_TEST

/* ------------------------------------------------------------------ many at once */

static _Atomic(unsigned) ran;

static int count(void *arg)
{
	ran++;
	return 0;
}

static void send_tasks(void)
{
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(np_go(pollers, NP_SPREAD, count, NULL, NULL), 0);
}

static void *sender(void *arg)
{
	send_tasks();
	return NULL;
}

START_TEST(what_was_accepted_runs_though_the_stop_comes_right_behind)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, sender, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_uint_eq(ran, 4000);
}
END_TEST

/* ------------------------------------------------------------------ stop */

static void *run_until_refused(void *arg)
{
	unsigned *done = arg;
	int r;

	do {
		r = np_run(pollers, answer, NULL);
		ck_assert(r == 42 || r == -ECANCELED);
		*done += r == 42;
	} while (r == 42);
	return NULL;
}

/* Each np_run() ends: with the answer, or refused. None is left waiting for a poller that has
 * ended. */
START_TEST(runs_that_race_with_a_stop_all_return)
{
	unsigned done[4] = { 0 };
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, run_until_refused, &done[i]), 0);
	ck_assert_int_eq(np_run(pollers, answer, NULL), 42);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}
END_TEST

static void all_verbs_are_refused(void)
{
	struct np_task *t = NULL;

	ck_assert_int_eq(np_run(pollers, where, NULL), -ECANCELED);
	ck_assert_int_eq(np_go(pollers, 0, where, NULL, &t), -ECANCELED);
	ck_assert_int_eq(np_post(pollers, 0, post_note, NULL), -ECANCELED);
	ck_assert_ptr_null(t);
}

START_TEST(after_a_stop_nothing_is_taken)
{
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	all_verbs_are_refused();
	run_on_thread(all_verbs_are_refused);
}
END_TEST

START_TEST(a_task_that_has_ended_may_be_joined_after_its_pollers)
{
	struct np_task *t = given_task(0, answer, NULL);

	end_pollers();
	ck_assert_int_eq(joined(t), 42);
}
END_TEST

static int until_canceled(void *arg)
{
	int r;

	np_event_set(gate);
	do
		r = np_sleep(1000000);
	while (r == 0);
	return r;
}

START_TEST(stop_waits_for_tasks_and_cancels_their_waits_at_the_deadline)
{
	struct np_task *t;

	ck_assert_int_eq(np_event_new(&gate), 0);
	t = given_task(0, until_canceled, NULL);
	ck_assert_int_eq(np_event_wait(gate, AWAIT_MS), 0);

	ck_assert_int_eq(np_pollers_stop(pollers, 1), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
	np_event_free(&gate);
}
END_TEST

static int works_to_the_end(void *arg)
{
	int r;

	np_event_set(gate);
	do /* until another poller is refused: the stop has begun */
		r = np_go(NULL, 1 - np_poller_self(), count, NULL, NULL);
	while (r == 0 && np_yield() == 0);
	ck_assert_int_eq(r, -ECANCELED);
	return joined(given_task(NP_HERE, answer, NULL));
}

START_TEST(a_task_may_still_go_here_while_the_stop_waits_for_it)
{
	struct np_task *t;

	ck_assert_int_eq(np_event_new(&gate), 0);
	t = given_task(0, works_to_the_end, NULL);
	ck_assert_int_eq(np_event_wait(gate, AWAIT_MS), 0);

	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(joined(t), 42);
	np_event_free(&gate);
}
END_TEST

static _Atomic(bool) let_go;

static int yields(void *arg)
{
	np_event_set(gate);
	while (!let_go)
		np_yield();
	return 1;
}

static int spins(void *arg)
{
	np_event_set(gate);
	while (!let_go)
		;
	return 1;
}

static void given_a_log(void)
{
	end_pollers();
	given_pollers(NP_OPTS(np_pollers_opts, .count = 2, .pin = NP_OFF, .log = keep_log));
	ck_assert_int_eq(np_event_new(&gate), 0);
}

static struct np_task *given_running(int poller, int (*fn)(void *))
{
	struct np_task *t = given_task(poller, fn, NULL);

	ck_assert_int_eq(np_event_wait(gate, AWAIT_MS), 0);
	return t;
}

START_TEST(who_does_not_return_is_named_and_counted_and_nothing_is_freed)
{
	struct np_task *t[4];

	given_a_log();
	t[0] = given_running(0, yields);
	t[1] = given_running(0, yields);
	t[2] = given_running(0, until_canceled);
	t[3] = given_running(1, spins);

	ck_assert_int_eq(np_pollers_stop(pollers, 1), -ETIMEDOUT);
	ck_assert_int_eq(np_pollers_free(&pollers), -EBUSY);
	ck_assert_uint_eq(in_log("poller 0: 2 of handler"), 1);
	ck_assert_uint_ge(log_names(yields), 1);
	ck_assert_uint_ge(log_names(spins), 1); /* as hogs too, perhaps */
	ck_assert_uint_eq(log_names(until_canceled), 0);
	ck_assert_uint_eq(in_log("handlers that do not return: 3;"), 1);

	let_go = true;
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(joined(t[2]), -ECANCELED);
	for (int i = 0; i < 4; i++)
		if (i != 2)
			ck_assert_int_eq(joined(t[i]), 1);
	np_event_free(&gate);
}
END_TEST

START_TEST(a_stop_that_ran_out_of_time_is_taken_up_again)
{
	struct np_task *t;

	given_a_log();
	t = given_running(0, spins);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(np_pollers_stop(pollers, 1), -ETIMEDOUT);
	ck_assert_uint_eq(in_log("handlers that do not return: 1;"), 2);
	let_go = true;
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(joined(t), 1);
	np_event_free(&gate);
}
END_TEST

static int stop_here(void *arg)
{
	return np_pollers_stop(pollers, 1);
}

START_TEST(stop_is_refused_on_a_poller_and_free_before_stop)
{
	ck_assert_int_eq(np_run(pollers, stop_here, NULL), -EDEADLK);
	ck_assert_int_eq(np_pollers_free(&pollers), -EBUSY);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "task");

	tcase_add_checked_fixture(tc, setup, end_pollers);
	tcase_add_test(tc, run_calls_on_a_poller_and_returns_what_fn_returned);
	tcase_add_test(tc, go_runs_on_the_poller_of_that_index);
	tcase_add_test(tc, spread_gives_each_poller_its_share);
	tcase_add_test(tc, a_fiber_may_go_and_join_on_any_poller);
	tcase_add_test(tc, no_set_is_the_set_of_this_poller);
	tcase_add_test(tc, tasks_of_a_thread_start_in_its_order);
	tcase_add_test(tc, tasks_of_a_fiber_start_in_its_order);
	tcase_add_test(tc, tasks_from_another_poller_start_in_its_order);
	tcase_add_test(tc, posts_run_in_their_senders_order);
	tcase_add_test(tc, join_gets_the_result_whether_it_comes_before_or_after_the_end);
	tcase_add_test(tc, a_task_cannot_join_itself);
	tcase_add_test(tc, a_task_on_a_reused_stack_may_join_the_one_that_left_it);
	tcase_add_test(tc, join_of_nothing_is_refused);
	tcase_add_test(tc, a_second_join_is_refused_while_one_waits);
	tcase_add_test(tc, run_is_refused_on_a_poller);
	tcase_add_test(tc, nothing_parks_on_a_pollers_own_stack);
	tcase_add_test(tc, here_is_refused_off_a_poller);
	tcase_add_test(tc, what_is_no_poller_or_no_function_is_refused);
	tcase_add_test(tc, what_was_accepted_runs_though_the_stop_comes_right_behind);
	tcase_add_test(tc, runs_that_race_with_a_stop_all_return);
	tcase_add_test(tc, after_a_stop_nothing_is_taken);
	tcase_add_test(tc, a_task_that_has_ended_may_be_joined_after_its_pollers);
	tcase_add_test(tc, stop_waits_for_tasks_and_cancels_their_waits_at_the_deadline);
	tcase_add_test(tc, a_task_may_still_go_here_while_the_stop_waits_for_it);
	tcase_add_test(tc, who_does_not_return_is_named_and_counted_and_nothing_is_freed);
	tcase_add_test(tc, a_stop_that_ran_out_of_time_is_taken_up_again);
	tcase_add_test(tc, stop_is_refused_on_a_poller_and_free_before_stop);
}
