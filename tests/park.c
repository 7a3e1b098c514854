/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * park: a wait is ended once, by whatever comes first; and the clock that its limit is measured by.
 */
#include "poll/park.h"

#include <errno.h>

#include "given_poller.h"
#include "netpoll/status.h"
#include "sys/clock.h"

static struct poller *p;
static struct park *waiting;
static int result;
static unsigned woken; /* how often the fiber came back */

static void setup(void)
{
	p = given_poller();
}

static void teardown(void)
{
	free_poller(p);
}

static void wait_and_stop(struct park *k, uint64_t until_ms)
{
	waiting = k;
	result = park_wait(k, until_ms);
	woken++;
	poller_stop(p);
}

static unsigned second_wakes(void)
{
	struct poller_stats st;

	poller_get_stats(p, &st);
	return (unsigned)st.second_wakes;
}

/* ------------------------------------------------------------------ once */

static void wake_twice(struct timer *t)
{
	ck_assert(park_wake(waiting, 7));
	ck_assert(!park_wake(waiting, 8));
}

static void wait_for_ever(void *arg)
{
	struct park k;

	ck_assert_int_eq(park_init(&k, NULL, "test"), 0);
	wait_and_stop(&k, 0);
}

START_TEST(the_first_wake_counts_and_the_second_says_so)
{
	struct timer t;

	timer_init(&t, wake_twice);
	timer_arm(p, &t, poller_after_ms(p, 1));
	poller_spawn(p, wait_for_ever, NULL);
	run_loop(p);

	ck_assert_int_eq(result, 7);
	ck_assert_uint_eq(woken, 1);
	ck_assert_uint_eq(second_wakes(), 1);
}
END_TEST

static void woken_before_it_waits(void *arg)
{
	struct park k;

	ck_assert_int_eq(park_init(&k, NULL, "test"), 0);
	ck_assert(park_wake(&k, 3));
	wait_and_stop(&k, poller_after_ms(p, 1));
}

START_TEST(a_wake_that_comes_before_the_wait_is_kept)
{
	poller_spawn(p, woken_before_it_waits, NULL);
	run_loop(p);

	ck_assert_int_eq(result, 3);
	ck_assert_uint_eq(second_wakes(), 0);
}
END_TEST

/* Three waits whose limits and wakes come due in one turn, in both orders: a dial's deadline and
 * its answer. */
#define CROWD 3
static struct park crowd[CROWD];
static struct timer wakers[CROWD];
static unsigned came_back;

static void wake_one(struct timer *t)
{
	park_wake(&crowd[t - wakers], 0);
}

static void one_of_crowd(void *arg)
{
	struct park *k = &crowd[(uintptr_t)arg];

	ck_assert_int_eq(park_init(k, NULL, "test"), 0);
	park_wait(k, poller_now_ms(p) + 20);
	if (++came_back == CROWD)
		poller_stop(p);
}

/* The thread is kept until all of it is due. */
static void keep_thread(struct timer *t)
{
	uint64_t until = sys_clock_ns() + 60 * 1000000u;

	while (sys_clock_ns() < until)
		;
}

START_TEST(a_limit_and_a_wake_of_the_same_turn_bring_a_fiber_back_once)
{
	struct timer stall;

	timer_init(&stall, keep_thread);
	timer_arm(p, &stall, poller_after_ms(p, 2));
	for (uintptr_t i = 0; i < CROWD; i++) {
		poller_spawn(p, one_of_crowd, (void *)i);
		timer_init(&wakers[i], wake_one);
		timer_arm(p, &wakers[i], poller_after_ms(p, 19 + (int)i));
	}
	run_loop(p);

	ck_assert_uint_eq(came_back, CROWD);
}
END_TEST

/* ------------------------------------------------------------------ what ends it */

static int asked;

static bool end_finds_it(struct park *k, int *why)
{
	asked = *why;
	*why = 42;
	return true;
}

static void wait_with_a_look(void *arg)
{
	struct park k;

	ck_assert_int_eq(park_init(&k, end_finds_it, "test"), 0);
	wait_and_stop(&k, poller_after_ms(p, 1));
}

START_TEST(a_limit_asks_once_more_and_what_is_found_is_the_result)
{
	poller_spawn(p, wait_with_a_look, NULL);
	run_loop(p);

	ck_assert_int_eq(asked, -ETIMEDOUT);
	ck_assert_int_eq(result, 42);
}
END_TEST

static bool by_deadline;

static void wait_with_both(void *arg)
{
	const int *ms = arg; /* its own limit, the fiber's */
	struct park k;

	fiber_set_until(fiber_self(), poller_after_ms(p, ms[1]));
	ck_assert_int_eq(park_init(&k, NULL, "test"), 0);
	wait_and_stop(&k, ms[0] ? poller_after_ms(p, ms[0]) : 0);
	by_deadline = k.by_deadline;
}

START_TEST(the_sooner_of_limit_and_deadline_ends_it_and_is_known)
{
	static const int both[][2] = { { 0, 1 }, { 5000, 1 }, { 1, 5000 } };

	poller_spawn(p, wait_with_both, (void *)both[_i]);
	run_loop(p);

	ck_assert_int_eq(result, -ETIMEDOUT);
	ck_assert_int_eq(by_deadline, _i < 2);
}
END_TEST

static void cancel_it(struct timer *t)
{
	struct fiber *f = waiting->fiber;

	park_cancel_fiber(f);
	park_cancel_fiber(f); /* repeated: there is nothing left to end */
}

START_TEST(a_cancel_ends_the_wait_of_that_fiber_once)
{
	struct timer t;

	timer_init(&t, cancel_it);
	timer_arm(p, &t, poller_after_ms(p, 1));
	poller_spawn(p, wait_for_ever, NULL);
	run_loop(p);

	ck_assert_int_eq(result, -ECANCELED);
	ck_assert_uint_eq(second_wakes(), 0);
}
END_TEST

static struct timer waker;

static bool too_late(struct park *k, int *why)
{
	return false;
}

static void wake_with_9(struct timer *t)
{
	park_wake(waiting, 9);
}

static void wait_for_what_is_on_its_way(void *arg)
{
	struct park k;

	ck_assert_int_eq(park_init(&k, too_late, "test"), 0);
	timer_init(&waker, wake_with_9);
	timer_arm(p, &waker, poller_after_ms(p, 20));
	wait_and_stop(&k, poller_after_ms(p, 1));
}

START_TEST(a_waker_that_is_on_its_way_is_waited_for)
{
	poller_spawn(p, wait_for_what_is_on_its_way, NULL);
	run_loop(p);

	ck_assert_int_eq(result, 9);
}
END_TEST

/* ------------------------------------------------------------------ the clock */

#define STALL_MS 30

static uint64_t before, after, behind;

static void stall(void)
{
	uint64_t until = sys_clock_ns() + STALL_MS * 1000000u;

	while (sys_clock_ns() < until)
		;
}

static void user_code(struct timer *t)
{
	before = poller_now_ms(p);
	poller_note_handler(p, (const void *)user_code, -1);
	stall();
	after = poller_now_ms(p); /* still inside: read anew each time */
	stall();
}

static void read_behind(struct timer *t)
{
	behind = poller_now_ms(p);
	poller_stop(p);
}

START_TEST(now_is_now_inside_user_code_and_behind_it)
{
	struct timer user, next;
	uint64_t due = poller_after_ms(p, 1);

	timer_init(&user, user_code);
	timer_init(&next, read_behind);
	timer_arm(p, &user, due);
	timer_arm(p, &next, due);
	run_loop(p);

	ck_assert_uint_ge(after, before + STALL_MS);
	ck_assert_uint_ge(behind, after + STALL_MS);
}
END_TEST

static void fiber_that_stalls(void *arg)
{
	struct park k;

	before = poller_now_ms(p);
	poller_note_handler(p, (const void *)fiber_that_stalls, -1);
	ck_assert_int_eq(park_init(&k, NULL, "test"), 0);
	park_wake(&k, 0);
	park_wait(&k, 0);
	stall(); /* resumed: user code again */
}

START_TEST(a_fiber_that_went_on_is_user_code_too)
{
	struct timer next;

	timer_init(&next, read_behind);
	timer_arm(p, &next, poller_after_ms(p, 2));
	poller_spawn(p, fiber_that_stalls, NULL);
	run_loop(p);

	ck_assert_uint_ge(behind, before + STALL_MS);
}
END_TEST

static uint64_t stamp;

static void read_stamp(struct timer *t)
{
	poller_note_handler(p, (const void *)read_stamp, -1);
	stall();
	before = sys_clock_coarse_ns() / 1000000u;
	stamp = poller_stamp_ms(p);
	after = sys_clock_ns() / 1000000u;
	poller_stop(p);
}

/* How late the tick itself is, the machine decides: a virtual one may get every other tick only. */
START_TEST(a_stamp_inside_user_code_is_of_the_last_tick)
{
	struct timer t;

	timer_init(&t, read_stamp);
	timer_arm(p, &t, poller_after_ms(p, 1));
	run_loop(p);

	ck_assert_uint_ge(stamp, before);
	ck_assert_uint_le(stamp, after);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "once");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_first_wake_counts_and_the_second_says_so);
	tcase_add_test(t, a_wake_that_comes_before_the_wait_is_kept);
	tcase_add_test(t, a_limit_and_a_wake_of_the_same_turn_bring_a_fiber_back_once);

	t = add_case(s, "ends");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_limit_asks_once_more_and_what_is_found_is_the_result);
	tcase_add_loop_test(t, the_sooner_of_limit_and_deadline_ends_it_and_is_known, 0, 3);
	tcase_add_test(t, a_cancel_ends_the_wait_of_that_fiber_once);
	tcase_add_test(t, a_waker_that_is_on_its_way_is_waited_for);

	t = add_case(s, "clock");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, now_is_now_inside_user_code_and_behind_it);
	tcase_add_test(t, a_fiber_that_went_on_is_user_code_too);
	tcase_add_test(t, a_stamp_inside_user_code_is_of_the_last_tick);
}
