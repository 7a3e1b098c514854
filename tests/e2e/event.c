/* SPDX-License-Identifier: BSD-2-Clause */
/* event: remembered until taken, set from anywhere, waited for by one. Public headers only. */
#include <errno.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "support/pollers.h"
#include "support/test.h"

static struct np_event *e, *other;

static void setup(void)
{
	given_pollers(NULL);
	ck_assert_int_eq(np_event_new(&e), 0);
	ck_assert_int_eq(np_event_new(&other), 0);
}

static void teardown(void)
{
	end_pollers();
	ck_assert_int_eq(np_event_free(&e), 0);
	ck_assert_int_eq(np_event_free(&other), 0);
}

/* ------------------------------------------------------------------ remembered */

static int set_then_wait(void *arg)
{
	ck_assert_int_eq(np_event_set(e), 0);
	return np_event_wait(e, AWAIT_MS);
}

START_TEST(an_event_set_before_the_wait_ends_it_at_once)
{
	ck_assert_int_eq(np_run(pollers, set_then_wait, NULL), 0);
	ck_assert_int_eq(set_then_wait(NULL), 0);
}
END_TEST

static int set_twice(void *arg)
{
	np_event_set(e);
	np_event_set(e);
	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
	return np_event_wait(e, 1);
}

START_TEST(set_twice_is_set_once_and_a_wait_takes_it)
{
	ck_assert_int_eq(np_run(pollers, set_twice, NULL), -ETIMEDOUT);
	ck_assert_int_eq(set_twice(NULL), -ETIMEDOUT);
}
END_TEST

/* ------------------------------------------------------------------ from anywhere */

static int wait_for(void *arg)
{
	return np_event_wait(arg, AWAIT_MS);
}

static int set_it(void *arg)
{
	return np_event_set(arg);
}

static void set_on_main(void *arg)
{
	np_event_set(arg);
}

START_TEST(a_fiber_is_woken_by_a_thread)
{
	struct np_task *t = given_task(0, wait_for, e);

	ck_assert_int_eq(np_event_set(e), 0);
	ck_assert_int_eq(joined(t), 0);
}
END_TEST

START_TEST(a_fiber_is_woken_by_a_fiber_of_its_poller_or_another)
{
	for (int i = 0; i < 2; i++) {
		struct np_task *t = given_task(0, wait_for, e);

		ck_assert_int_eq(joined(given_task(i, set_it, e)), 0);
		ck_assert_int_eq(joined(t), 0);
	}
}
END_TEST

START_TEST(a_fiber_is_woken_from_a_pollers_own_stack)
{
	for (int i = 0; i < 2; i++) {
		struct np_task *t = given_task(0, wait_for, e);

		ck_assert_int_eq(np_post(pollers, i, set_on_main, e), 0);
		ck_assert_int_eq(joined(t), 0);
	}
}
END_TEST

START_TEST(a_thread_is_woken_by_a_fiber)
{
	ck_assert_int_eq(np_go(pollers, 0, set_it, e, NULL), 0);
	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
}
END_TEST

#define ROUNDS 2000

static int ping(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		np_event_set(other);
		ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
	}
	return 0;
}

static int pong(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		ck_assert_int_eq(np_event_wait(other, AWAIT_MS), 0);
		np_event_set(e);
	}
	return 0;
}

START_TEST(no_set_is_lost_between_two_pollers)
{
	struct np_task *t = given_task(0, ping, NULL);

	ck_assert_int_eq(joined(given_task(1, pong, NULL)), 0);
	ck_assert_int_eq(joined(t), 0);
}
END_TEST

START_TEST(no_set_is_lost_between_a_poller_and_a_thread)
{
	struct np_task *t = given_task(0, ping, NULL);

	pong(NULL);
	ck_assert_int_eq(joined(t), 0);
}
END_TEST

/* What the setter wrote before is seen by who waited. TSan judges. */
static int message;

static int write_and_set(void *arg)
{
	for (int i = 1; i <= 100; i++) {
		message = i;
		np_event_set(e);
		ck_assert_int_eq(np_event_wait(other, AWAIT_MS), 0);
	}
	return 0;
}

START_TEST(what_was_written_before_the_set_is_seen_after_the_wait)
{
	struct np_task *t = given_task(1, write_and_set, NULL);

	for (int i = 1; i <= 100; i++) {
		ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
		ck_assert_int_eq(message, i);
		np_event_set(other);
	}
	ck_assert_int_eq(joined(t), 0);
}
END_TEST

static int set_and_forget(void *arg)
{
	return np_event_set(arg);
}

static int free_what_woke_us(void *arg)
{
	for (int i = 0; i < 500; i++) {
		struct np_event *own;

		ck_assert_int_eq(np_event_new(&own), 0);
		ck_assert_int_eq(np_go(NULL, 1, set_and_forget, own, NULL), 0);
		ck_assert_int_eq(np_event_wait(own, AWAIT_MS), 0);
		ck_assert_int_eq(np_event_free(&own), 0);
	}
	return 0;
}

/* ASan and TSan judge. */
START_TEST(who_waited_may_free_the_event_at_once)
{
	ck_assert_int_eq(joined(given_task(0, free_what_woke_us, NULL)), 0);
}
END_TEST

/* ------------------------------------------------------------------ the deadline */

static int wait_1_ms(void *arg)
{
	uint64_t before = now_ms();
	int r = np_event_wait(e, 2);

	ck_assert_uint_ge(now_ms() - before, 1); /* both are whole milliseconds */
	return r;
}

START_TEST(a_wait_ends_at_its_deadline_and_not_before)
{
	ck_assert_int_eq(np_run(pollers, wait_1_ms, NULL), -ETIMEDOUT);
	ck_assert_int_eq(wait_1_ms(NULL), -ETIMEDOUT);
}
END_TEST

static _Atomic(bool) enough;

static int set_all_the_time(void *arg)
{
	while (!enough) {
		np_event_set(e);
		if (np_poller_self() >= 0)
			np_yield();
	}
	return 0;
}

static int wait_shortly(void *arg)
{
	int n[2] = { 0 };

	for (int i = 0; i < 300; i++) {
		int r = np_event_wait(e, 1);

		ck_assert(r == 0 || r == -ETIMEDOUT);
		n[r == 0]++;
		if (r == 0 && i % 3 == 0)
			np_event_wait(e, 1);
	}
	return 0;
}

/* The set and the deadline come in every order: each wait ends once, and none for ever. */
START_TEST(a_set_and_a_deadline_may_meet)
{
	struct np_task *setter = given_task(1, set_all_the_time, NULL);

	ck_assert_int_eq(joined(given_task(0, wait_shortly, NULL)), 0);
	wait_shortly(NULL);
	enough = true;
	ck_assert_int_eq(joined(setter), 0);
}
END_TEST

/* ------------------------------------------------------------------ refused */

static int second_wait(void *arg)
{
	struct np_task *first = given_task(NP_HERE, wait_for, e);

	ck_assert_int_eq(np_yield(), 0);
	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), -NP_ECONCURRENT);
	ck_assert_int_eq(np_event_free(&e), -EBUSY);
	ck_assert_ptr_nonnull(e);
	np_event_set(e);
	return joined(first);
}

START_TEST(a_second_wait_and_a_free_under_a_wait_are_refused)
{
	ck_assert_int_eq(np_run(pollers, second_wait, NULL), 0);
}
END_TEST

static int codes[2];

static void wait_on_main(void *arg)
{
	codes[0] = np_event_wait(e, 1);
	np_event_set(e);
	codes[1] = np_event_wait(e, 1); /* it would not have to park */
	np_event_set(other);
}

START_TEST(no_wait_on_a_pollers_own_stack)
{
	ck_assert_int_eq(np_post(pollers, 0, wait_on_main, NULL), 0);
	ck_assert_int_eq(np_event_wait(other, AWAIT_MS), 0);
	ck_assert_int_eq(codes[0], -NP_ENOTFIBER);
	ck_assert_int_eq(codes[1], -NP_ENOTFIBER);
}
END_TEST

START_TEST(a_negative_limit_is_refused)
{
	ck_assert_int_eq(np_event_wait(e, -2), -EINVAL);
}
END_TEST

/* ------------------------------------------------------------------ stop */

static int wait_in_vain(void *arg)
{
	int r;

	np_event_set(other);
	r = np_event_wait(e, 0);
	ck_assert_int_eq(np_event_wait(e, 0), r); /* and from then on */
	np_event_set(e);
	ck_assert_int_eq(np_event_wait(e, 0), 0); /* what was set is still reported */
	return r;
}

START_TEST(stop_cancels_waits_at_its_deadline)
{
	struct np_task *t = given_task(1, wait_in_vain, NULL);

	ck_assert_int_eq(np_event_wait(other, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, 1), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
}
END_TEST

static int wait_all_the_time(void *arg)
{
	int r;

	do
		r = np_event_wait(e, AWAIT_MS);
	while (r == 0);
	return r;
}

static void *setter(void *arg)
{
	set_all_the_time(NULL);
	return NULL;
}

/* The mail of a set is under way while the wait is cancelled: TSan and ASan judge, and it ends. */
START_TEST(a_set_and_a_cancellation_may_meet)
{
	struct np_task *t = given_task(0, wait_all_the_time, NULL);
	pthread_t s;
	int r;

	ck_assert_int_eq(pthread_create(&s, NULL, setter, NULL), 0);
	r = np_pollers_stop(pollers, 1);
	enough = true;
	pthread_join(s, NULL);
	if (r == -ETIMEDOUT) /* a set always came first */
		r = np_pollers_stop(pollers, AWAIT_MS);
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "event");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_event_set_before_the_wait_ends_it_at_once);
	tcase_add_test(tc, set_twice_is_set_once_and_a_wait_takes_it);
	tcase_add_test(tc, a_fiber_is_woken_by_a_thread);
	tcase_add_test(tc, a_fiber_is_woken_by_a_fiber_of_its_poller_or_another);
	tcase_add_test(tc, a_fiber_is_woken_from_a_pollers_own_stack);
	tcase_add_test(tc, a_thread_is_woken_by_a_fiber);
	tcase_add_test(tc, no_set_is_lost_between_two_pollers);
	tcase_add_test(tc, no_set_is_lost_between_a_poller_and_a_thread);
	tcase_add_test(tc, what_was_written_before_the_set_is_seen_after_the_wait);
	tcase_add_test(tc, who_waited_may_free_the_event_at_once);
	tcase_add_test(tc, a_wait_ends_at_its_deadline_and_not_before);
	tcase_add_test(tc, a_set_and_a_deadline_may_meet);
	tcase_add_test(tc, a_second_wait_and_a_free_under_a_wait_are_refused);
	tcase_add_test(tc, no_wait_on_a_pollers_own_stack);
	tcase_add_test(tc, a_negative_limit_is_refused);
	tcase_add_test(tc, stop_cancels_waits_at_its_deadline);
	tcase_add_test(tc, a_set_and_a_cancellation_may_meet);
}
