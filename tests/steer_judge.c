/* SPDX-License-Identifier: BSD-2-Clause */
/* steer_judge: who is called hung or stopped, on which tick; no clock is read here. */
#include <string.h>

#include "steer/judge.h"
#include "support/test.h"

#define MS     1000000ull
#define PERIOD (50 * MS)
#define HANG   (100 * MS)
#define N      4

static struct judge j;
static struct np_worker_line line[N];
static struct evidence evidence[N];
static uint64_t now;

static void setup(void)
{
	judge_forget(&j);
	memset(line, 0, sizeof line);
	memset(evidence, 0, sizeof evidence);
	now = 1000 * MS;
}

static void tick_after(uint64_t ns)
{
	now += ns;
	judge_tick(&j, now, PERIOD, HANG, N, line, evidence);
}

static void ticks(unsigned n)
{
	while (n--)
		tick_after(PERIOD);
}

static enum verdict verdict(unsigned w)
{
	return j.sight[w].verdict;
}

START_TEST(the_same_stamp_on_two_ticks_is_hung_once_it_is_old_enough)
{
	line[1].busy_since_ns = now + 10 * MS;
	tick_after(PERIOD); /* 40 ms old */
	ck_assert_int_eq(verdict(1), VERDICT_FIT);
	tick_after(PERIOD); /* 90 */
	ck_assert_int_eq(verdict(1), VERDICT_FIT);
	tick_after(PERIOD); /* 140: within one and a half times hang_ms */
	ck_assert_int_eq(verdict(1), VERDICT_HUNG);
	ck_assert_int_eq(verdict(0), VERDICT_FIT);
	ck_assert(!judge_trusts(&j, 1));
	ck_assert(judge_trusts(&j, 0));
}
END_TEST

START_TEST(an_old_stamp_seen_for_the_first_time_is_not_hung)
{
	line[0].busy_since_ns = 1;
	tick_after(PERIOD);
	ck_assert_int_eq(verdict(0), VERDICT_FIT);
	tick_after(PERIOD);
	ck_assert_int_eq(verdict(0), VERDICT_HUNG);
}
END_TEST

START_TEST(a_stamp_that_moves_is_never_hung)
{
	for (unsigned i = 0; i < 20; i++) {
		line[0].busy_since_ns = now - 10 * HANG + i;
		tick_after(PERIOD);
		ck_assert_int_eq(verdict(0), VERDICT_FIT);
	}
}
END_TEST

START_TEST(a_stamp_from_the_future_is_fresh)
{
	line[0].busy_since_ns = now + 3600 * 1000 * MS;
	ticks(10);
	ck_assert_int_eq(verdict(0), VERDICT_FIT);
}
END_TEST

/* Whoever stopped us, such as a CPU quota, stopped them too. */
START_TEST(a_late_tick_proves_nothing)
{
	line[0].busy_since_ns = now;
	line[1].accepted_total = 1;
	evidence[1].queued = true;
	for (unsigned i = 0; i < 20; i++) {
		tick_after(2 * PERIOD);
		ck_assert_int_eq(verdict(0), VERDICT_FIT);
		ck_assert_int_eq(verdict(1), VERDICT_FIT);
	}
	tick_after(PERIOD); /* on time again */
	ck_assert_int_eq(verdict(0), VERDICT_HUNG);
	ck_assert_int_eq(verdict(1), VERDICT_FIT);
}
END_TEST

START_TEST(idle_with_a_queue_and_nothing_taken_for_hang_ms_is_stopped)
{
	line[2].accepted_total = 7;
	evidence[2].queued = true;
	ticks(1);
	ck_assert(judge_trusts(&j, 2)); /* it may have come just now */
	ticks(1);
	ck_assert(!judge_trusts(&j, 2));
	ck_assert_int_eq(verdict(2), VERDICT_FIT);
	ticks(1);
	ck_assert_int_eq(verdict(2), VERDICT_STOPPED);
}
END_TEST

START_TEST(who_takes_some_is_not_stopped)
{
	evidence[2].queued = true;
	for (unsigned i = 0; i < 20; i++) {
		line[2].accepted_total++;
		ticks(1);
		ck_assert_int_eq(verdict(2), VERDICT_FIT);
		ck_assert(judge_trusts(&j, 2));
	}
}
END_TEST

/* Its accepted_total grows with what is queued. */
START_TEST(a_counted_worker_that_takes_nothing_is_stopped_however_many_come)
{
	evidence[2].queued = true;
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(verdict(2), VERDICT_FIT);
		line[2].accepted_total += 5;
		evidence[2].waiting += 5;
		ticks(1);
	}
	ck_assert_int_eq(verdict(2), VERDICT_STOPPED);
	ck_assert(!judge_trusts(&j, 2));
	evidence[2].waiting--; /* it has taken one */
	ticks(1);
	ck_assert_int_eq(verdict(2), VERDICT_FIT);
}
END_TEST

START_TEST(an_empty_queue_starts_the_count_again)
{
	line[2].accepted_total = 7;
	for (unsigned i = 0; i < 10; i++) {
		evidence[2].queued = i % 3 != 2;
		ticks(1);
		ck_assert_int_eq(verdict(2), VERDICT_FIT);
	}
}
END_TEST

/* ------------------------------------------------------------------ nothing was ever published */

/* Such as a loop of its own that leaves out np_steer_conn_inc(). */
START_TEST(who_never_says_what_it_accepts_and_takes_some_is_not_stopped)
{
	evidence[2].queued = true;
	for (unsigned i = 0; i < 20; i++) {
		evidence[2].gone++;
		ticks(1);
		ck_assert_int_eq(verdict(2), VERDICT_FIT);
		ck_assert(judge_trusts(&j, 2));
	}
}
END_TEST

START_TEST(who_has_never_accepted_and_takes_nothing_is_stopped)
{
	evidence[2] = (struct evidence){ .queued = true, .gone = 3 };
	ticks(2);
	ck_assert_int_eq(verdict(2), VERDICT_FIT);
	ck_assert(!judge_trusts(&j, 2));
	ticks(1);
	ck_assert_int_eq(verdict(2), VERDICT_STOPPED);
	evidence[2].queued = false;
	ticks(1);
	ck_assert_int_eq(verdict(2), VERDICT_FIT);
}
END_TEST

START_TEST(what_left_its_queue_matters_only_where_the_worker_says_nothing)
{
	ck_assert(judge_needs_gone(&line[0]));
	line[0].says_idle = 1;
	ck_assert(!judge_needs_gone(&line[0]));
	line[1].accepted_total = 1;
	ck_assert(!judge_needs_gone(&line[1]));
}
END_TEST

/* ---------------------------------------------------------------- time goes on behind a verdict */

START_TEST(a_verdict_is_not_acted_on_after_a_stall)
{
	line[0].busy_since_ns = 1;
	ticks(2);
	ck_assert_int_eq(verdict(0), VERDICT_HUNG);
	ck_assert(judge_is_fresh(&j, now, HANG));
	ck_assert(judge_is_fresh(&j, now + HANG, HANG));
	ck_assert(!judge_is_fresh(&j, now + HANG + 1, HANG));
	ck_assert(!judge_is_fresh(&j, now - 1, HANG)); /* of another tick */
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "judge");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, the_same_stamp_on_two_ticks_is_hung_once_it_is_old_enough);
	tcase_add_test(t, an_old_stamp_seen_for_the_first_time_is_not_hung);
	tcase_add_test(t, a_stamp_that_moves_is_never_hung);
	tcase_add_test(t, a_stamp_from_the_future_is_fresh);
	tcase_add_test(t, a_late_tick_proves_nothing);
	tcase_add_test(t, idle_with_a_queue_and_nothing_taken_for_hang_ms_is_stopped);
	tcase_add_test(t, who_takes_some_is_not_stopped);
	tcase_add_test(t, a_counted_worker_that_takes_nothing_is_stopped_however_many_come);
	tcase_add_test(t, an_empty_queue_starts_the_count_again);
	tcase_add_test(t, who_never_says_what_it_accepts_and_takes_some_is_not_stopped);
	tcase_add_test(t, who_has_never_accepted_and_takes_nothing_is_stopped);
	tcase_add_test(t, what_left_its_queue_matters_only_where_the_worker_says_nothing);
	tcase_add_test(t, a_verdict_is_not_acted_on_after_a_stall);
}
