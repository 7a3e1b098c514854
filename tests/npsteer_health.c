/* SPDX-License-Identifier: BSD-2-Clause */
/* npsteer_health: how npsteer agent's percentage is made, and that it does not flap. */
#include "tools/npsteer/health.h"

#include "support/test.h"

#define FULL 64

static struct fact_worker workers[4];
static struct facts facts = { .info.hang_ms = 100, .workers = workers };

/* @n workers that are ready, idle and listen. */
static void given(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		workers[i] = (struct fact_worker){
			.number = i, .info.state = NP_STEER_READY, .listeners = 1, .backlog = 4096
		};
	facts.n = n;
}

static struct health health(void)
{
	struct health h;

	health_of(&facts, FULL, 0, &h);
	return h;
}

START_TEST(idle_workers_take_all)
{
	given(4);
	ck_assert_int_eq(health().state, HEALTH_UP);
	ck_assert_int_eq(health().percent, 100);
}
END_TEST

START_TEST(one_that_hangs_takes_nothing)
{
	given(4);
	workers[0].info.busy_ms = 99;
	ck_assert_int_eq(health().percent, 100);
	workers[0].info.busy_ms = 100;
	ck_assert_int_eq(health().percent, 75);
	workers[1].stuck = true;
	ck_assert_int_eq(health().percent, 50);
	workers[2].listeners = 0;
	ck_assert_int_eq(health().percent, 25);
	ck_assert_uint_eq(health().hanging, 3);
	workers[3].stuck = true;
	ck_assert_int_eq(health().state, HEALTH_DOWN);
	ck_assert_int_eq(health().percent, 0);
}
END_TEST

START_TEST(hang_ms_of_none_makes_none_hang)
{
	given(1);
	facts.info.hang_ms = 0;
	workers[0].info.busy_ms = 1000000;
	ck_assert_int_eq(health().percent, 100);
}
END_TEST

START_TEST(a_queue_takes_its_part_and_a_full_one_all)
{
	given(2);
	workers[0].queued = FULL / 2;
	ck_assert_int_eq(health().percent, 75);
	workers[0].queued = FULL;
	ck_assert_int_eq(health().percent, 50);
	workers[0].queued = 10 * FULL;
	ck_assert_int_eq(health().percent, 50);
	workers[1].queued = FULL; /* busy, and not down: 0 would be a drain */
	ck_assert_int_eq(health().state, HEALTH_UP);
	ck_assert_int_eq(health().percent, 1);
}
END_TEST

START_TEST(those_that_drain_do_not_count)
{
	given(4);
	workers[0].info.state = workers[1].info.state = NP_STEER_DRAINING;
	workers[0].queued = FULL;
	ck_assert_int_eq(health().percent, 100);
	workers[2].info.state = workers[3].info.state = NP_STEER_OUT;
	ck_assert_int_eq(health().state, HEALTH_DRAIN);
	workers[0].info.state = workers[1].info.state = NP_STEER_OUT;
	ck_assert_int_eq(health().state, HEALTH_MAINT);
	facts.n = 0;
	ck_assert_int_eq(health().state, HEALTH_DOWN);
}
END_TEST

START_TEST(where_so_many_are_expected_a_missing_one_counts)
{
	struct health h;

	given(3);
	health_of(&facts, FULL, 4, &h);
	ck_assert_int_eq(h.percent, 75);
	health_of(&facts, FULL, 2, &h); /* more than that are welcome */
	ck_assert_int_eq(h.percent, 100);
}
END_TEST

/* ------------------------------------------------------------------ steady */

static const struct health up100 = { .percent = 100 }, up95 = { .percent = 95 },
			   up75 = { .percent = 75 }, up50 = { .percent = 50 },
			   down = { .state = HEALTH_DOWN }, drain = { .state = HEALTH_DRAIN },
			   maint = { .state = HEALTH_MAINT };
static struct steady s;
static double at;

/* @h for so long, looked at every 200 ms. */
static int see(const struct health *h, double seconds)
{
	for (double end = at + seconds - 1e-6; at < end; at += 0.2)
		steady_take(&s, h, at);
	return s.said.percent;
}

START_TEST(the_first_look_is_said)
{
	ck_assert_int_eq(see(&up50, 0.2), 50);
}
END_TEST

START_TEST(worse_is_said_when_it_lasts_and_better_when_it_lasts_longer)
{
	see(&up100, 0.2);
	ck_assert_int_eq(see(&up75, 0.4), 100);
	ck_assert_int_eq(see(&up75, 0.4), 75);
	ck_assert_int_eq(see(&up100, 2.8), 75);
	ck_assert_int_eq(see(&up100, 0.6), 100);
}
END_TEST

START_TEST(what_comes_and_goes_is_not_said)
{
	see(&up100, 0.2);
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(see(i % 2 ? &down : &up75, 0.4), 100);
		ck_assert_int_eq(see(&up100, 0.2), 100);
	}
	see(&up50, 2);
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(see(&up100, 2.4), 50);
		ck_assert_int_eq(see(&up50, 0.2), 50);
	}
}
END_TEST

START_TEST(a_small_change_is_not_said_but_for_all)
{
	see(&up100, 0.2);
	ck_assert_int_eq(see(&up95, 10), 100);
	s = (struct steady){ 0 };
	see(&up95, 0.2);
	ck_assert_int_eq(see(&up100, 4), 100);
}
END_TEST

/* Of what was seen meanwhile it is the nearest to what was said. */
START_TEST(a_change_that_varies_is_said_as_the_least_of_it)
{
	see(&up100, 0.2);
	see(&up50, 0.2);
	see(&up75, 0.2);
	ck_assert_int_eq(see(&up50, 0.4), 75);
	ck_assert_int_eq(see(&up50, 1), 50);
}
END_TEST

START_TEST(down_and_back_take_their_time_too)
{
	see(&up100, 0.2);
	see(&down, 0.4);
	ck_assert_int_eq(s.said.state, HEALTH_UP);
	see(&down, 0.4);
	ck_assert_int_eq(s.said.state, HEALTH_DOWN);
	see(&up100, 2.8);
	ck_assert_int_eq(s.said.state, HEALTH_DOWN);
	see(&up100, 0.6);
	ck_assert_int_eq(s.said.state, HEALTH_UP);
}
END_TEST

START_TEST(what_an_operator_asks_for_is_said_at_once)
{
	see(&up100, 0.2);
	see(&drain, 0.2);
	ck_assert_int_eq(s.said.state, HEALTH_DRAIN);
	see(&maint, 0.2);
	ck_assert_int_eq(s.said.state, HEALTH_MAINT);
	ck_assert_int_eq(see(&up75, 0.2), 75);
	ck_assert_int_eq(s.said.state, HEALTH_UP);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "npsteer_health");

	tcase_add_test(t, idle_workers_take_all);
	tcase_add_test(t, one_that_hangs_takes_nothing);
	tcase_add_test(t, hang_ms_of_none_makes_none_hang);
	tcase_add_test(t, a_queue_takes_its_part_and_a_full_one_all);
	tcase_add_test(t, those_that_drain_do_not_count);
	tcase_add_test(t, where_so_many_are_expected_a_missing_one_counts);
	tcase_add_test(t, the_first_look_is_said);
	tcase_add_test(t, worse_is_said_when_it_lasts_and_better_when_it_lasts_longer);
	tcase_add_test(t, what_comes_and_goes_is_not_said);
	tcase_add_test(t, a_small_change_is_not_said_but_for_all);
	tcase_add_test(t, a_change_that_varies_is_said_as_the_least_of_it);
	tcase_add_test(t, down_and_back_take_their_time_too);
	tcase_add_test(t, what_an_operator_asks_for_is_said_at_once);
}
