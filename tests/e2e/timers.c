/* SPDX-License-Identifier: BSD-2-Clause */
/* timers: np_timer fires once, not early, on its poller's own stack, and never after its stop. */
#include <errno.h>
#include <netpoll/pollers.h>
#include <stdlib.h>

#include "support/pollers.h"
#include "support/test.h"

static struct np_event *done;
static struct np_timer *timer;
static int fired, code;

static void setup(void)
{
	given_pollers(NULL);
	ck_assert_int_eq(np_event_new(&done), 0);
}

static void teardown(void)
{
	end_pollers();
	np_event_free(&done);
}

static void fire(void *arg)
{
	fired++;
	np_event_set(done);
}

/* ------------------------------------------------------------------ it fires */

static int start_and_wait(void *arg)
{
	uint64_t before = now_ms();

	ck_assert_int_eq(np_timer_start(2, fire, NULL, &timer), 0);
	ck_assert_int_eq(np_event_wait(done, AWAIT_MS), 0);
	ck_assert_uint_ge(now_ms() - before, 1); /* both are whole milliseconds */
	ck_assert_int_eq(np_event_wait(done, 5), -ETIMEDOUT);
	ck_assert_int_eq(np_timer_stop(&timer), 0);
	return fired;
}

START_TEST(it_fires_once_and_not_early)
{
	ck_assert_int_eq(np_run(pollers, start_and_wait, NULL), 1);
}
END_TEST

static int start_unkept(void *arg)
{
	ck_assert_int_eq(np_timer_start(0, fire, NULL, NULL), 0);
	return np_event_wait(done, AWAIT_MS);
}

START_TEST(nobody_has_to_keep_it)
{
	ck_assert_int_eq(np_run(pollers, start_unkept, NULL), 0);
	ck_assert_int_eq(fired, 1);
}
END_TEST

static int order[3], n_fired;

static void note(void *arg)
{
	order[n_fired++] = *(int *)arg;
	if (n_fired == 3)
		np_event_set(done);
}

static int start_three(void *arg)
{
	static int id[] = { 0, 1, 2 };

	ck_assert_int_eq(np_timer_start(200, note, &id[2], NULL), 0);
	ck_assert_int_eq(np_timer_start(1, note, &id[0], NULL), 0);
	ck_assert_int_eq(np_timer_start(100, note, &id[1], NULL), 0);
	return np_event_wait(done, AWAIT_MS);
}

START_TEST(the_earlier_one_fires_first)
{
	ck_assert_int_eq(np_run(pollers, start_three, NULL), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(order[i], i);
}
END_TEST

static void sleep_in_it(void *arg)
{
	code = np_sleep(1);
	ck_assert_int_eq(np_go(NULL, NP_HERE, start_unkept, NULL, NULL), 0);
}

static int start_sleeper(void *arg)
{
	ck_assert_int_eq(np_timer_start(0, sleep_in_it, NULL, NULL), 0);
	while (!fired)
		np_yield();
	return code;
}

START_TEST(it_may_not_park_but_go)
{
	ck_assert_int_eq(np_run(pollers, start_sleeper, NULL), -NP_ENOTFIBER);
}
END_TEST

/* ------------------------------------------------------------------ it is stopped */

static int start_and_stop(void *arg)
{
	ck_assert_int_eq(np_timer_start(1, fire, NULL, &timer), 0);
	ck_assert_int_eq(np_timer_stop(&timer), 0);
	ck_assert_int_eq(np_sleep(5), 0);
	return fired;
}

START_TEST(after_its_stop_it_does_not_fire)
{
	ck_assert_int_eq(np_run(pollers, start_and_stop, NULL), 0);
}
END_TEST

static void stop_itself(void *arg)
{
	fired++;
	code = np_timer_stop(&timer);
	np_event_set(done);
}

static int start_stop_itself(void *arg)
{
	ck_assert_int_eq(np_timer_start(1, stop_itself, NULL, &timer), 0);
	return np_event_wait(done, AWAIT_MS);
}

START_TEST(it_may_stop_itself)
{
	ck_assert_int_eq(np_run(pollers, start_stop_itself, NULL), 0);
	ck_assert_int_eq(code, 0);
	ck_assert_int_eq(fired, 1);
}
END_TEST

static struct np_timer *pair[2];

static void stop_the_other(void *arg)
{
	struct np_timer **self = arg;

	fired++;
	np_timer_stop(&pair[self == &pair[0]]);
	np_timer_stop(self);
}

static int start_pair(void *arg)
{
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(np_timer_start(1, stop_the_other, &pair[i], &pair[i]), 0);
	ck_assert_int_eq(np_sleep(5), 0);
	return fired;
}

START_TEST(one_may_stop_another_that_is_due_in_the_same_turn)
{
	ck_assert_int_eq(np_run(pollers, start_pair, NULL), 1);
}
END_TEST

static void start_again(void *arg)
{
	np_timer_stop(&timer);
	if (++fired < 5)
		ck_assert_int_eq(np_timer_start(0, start_again, NULL, &timer), 0);
	else
		np_event_set(done);
}

static int start_series(void *arg)
{
	ck_assert_int_eq(np_timer_start(0, start_again, NULL, &timer), 0);
	return np_event_wait(done, AWAIT_MS);
}

START_TEST(it_may_start_the_next_one)
{
	ck_assert_int_eq(np_run(pollers, start_series, NULL), 0);
	ck_assert_int_eq(fired, 5);
}
END_TEST

/* ------------------------------------------------------------------ refused */

static int start_far(void *arg)
{
	return np_timer_start(1000000, fire, NULL, &timer);
}

static int stop_timer(void *arg)
{
	return np_timer_stop(&timer);
}

START_TEST(only_its_own_poller_starts_and_stops_it)
{
	ck_assert_int_eq(np_timer_start(1, fire, NULL, &timer), -EPERM);
	ck_assert_int_eq(joined(given_task(0, start_far, NULL)), 0);

	ck_assert_int_eq(np_timer_stop(&timer), -EPERM);
	ck_assert_int_eq(joined(given_task(1, stop_timer, NULL)), -EPERM);
	ck_assert_int_eq(joined(given_task(0, stop_timer, NULL)), 0);
	ck_assert_ptr_null(timer);
	ck_assert_int_eq(np_timer_stop(&timer), 0);
}
END_TEST

static int start_wrongly(void *arg)
{
	ck_assert_int_eq(np_timer_start(-1, fire, NULL, &timer), -EINVAL);
	return np_timer_start(1, NULL, NULL, &timer);
}

START_TEST(a_negative_time_and_no_function_are_refused)
{
	ck_assert_int_eq(np_run(pollers, start_wrongly, NULL), -EINVAL);
}
END_TEST

/* ------------------------------------------------------------------ stop */

/* LeakSanitizer judges. */
START_TEST(one_that_is_pending_neither_holds_up_a_stop_nor_fires_nor_leaks)
{
	ck_assert_int_eq(np_run(pollers, start_far, NULL), 0);
	timer = NULL;
	end_pollers();
	ck_assert_int_eq(fired, 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "timers");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, it_fires_once_and_not_early);
	tcase_add_test(tc, nobody_has_to_keep_it);
	tcase_add_test(tc, the_earlier_one_fires_first);
	tcase_add_test(tc, it_may_not_park_but_go);
	tcase_add_test(tc, after_its_stop_it_does_not_fire);
	tcase_add_test(tc, it_may_stop_itself);
	tcase_add_test(tc, one_may_stop_another_that_is_due_in_the_same_turn);
	tcase_add_test(tc, it_may_start_the_next_one);
	tcase_add_test(tc, only_its_own_poller_starts_and_stops_it);
	tcase_add_test(tc, a_negative_time_and_no_function_are_refused);
	tcase_add_test(tc, one_that_is_pending_neither_holds_up_a_stop_nor_fires_nor_leaks);
}
