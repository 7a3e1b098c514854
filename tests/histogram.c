/* SPDX-License-Identifier: BSD-2-Clause */
/* histogram: its buckets, and the meter that notes in them. */
#include "poll/histogram.h"

#include <stdlib.h>

#include "poll/meter.h"
#include "support/test.h"

START_TEST(each_bucket_begins_where_the_one_before_ends)
{
	ck_assert_uint_eq(histogram_bucket(0), 0);
	for (unsigned i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
		uint64_t end = histogram_below_us(i);

		ck_assert_uint_eq(histogram_bucket(end - 1), i);
		ck_assert_uint_eq(histogram_bucket(end), i + 1);
	}
	ck_assert_uint_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	ck_assert_uint_eq(histogram_below_us(HISTOGRAM_BUCKETS - 1), UINT64_MAX);
}
END_TEST

START_TEST(no_bucket_is_wider_than_a_quarter_of_where_it_begins)
{
	for (unsigned i = 8; i + 1 < HISTOGRAM_BUCKETS; i++) {
		uint64_t from = histogram_below_us(i - 1);

		ck_assert_uint_le(4 * (histogram_below_us(i) - from), from);
	}
}
END_TEST

START_TEST(what_is_noted_is_found_in_the_sum)
{
	struct histogram a = { 0 }, b = { 0 }, sum = { 0 };

	histogram_note(&a, 3, 1);
	histogram_note(&a, 1000, 256);
	histogram_note(&b, 1000, 2);
	histogram_add(&sum, &a);
	histogram_add(&sum, &b);
	ck_assert_uint_eq(histogram_count(&sum), 259);
	ck_assert_uint_eq(sum.sum_us, 3 + 258 * 1000);
	ck_assert_uint_eq(sum.bucket[histogram_bucket(1000)], 258);
}
END_TEST

/* ------------------------------------------------------------------ meter */

/* @n requests, @ns from each to the next. Returns how many were looked at; *ret: what they stand
 * for. */
static unsigned requests(struct meter *m, unsigned n, uint64_t ns, uint64_t *now, uint64_t *ret)
{
	unsigned looked_at = 0;

	for (unsigned i = 0; i < n; i++, *now += ns) {
		if (meter_is_due(m)) {
			*ret += meter_take(m, *now);
			looked_at++;
		}
		meter_count(m, 1);
	}
	return looked_at;
}

START_TEST(where_they_are_few_each_is_looked_at)
{
	uint64_t now = 1, stand_for = 0;
	struct meter m;

	ck_assert_int_eq(meter_init(&m, true), 0);
	ck_assert_uint_eq(requests(&m, 1000, 1000000, &now, &stand_for), 1000);
	ck_assert_uint_eq(stand_for, 1000);
	ck_assert_uint_eq(meter_requests(&m), 1000);
	meter_fini(&m);
}
END_TEST

START_TEST(where_they_are_many_some_stand_for_all)
{
	uint64_t now = 1, stand_for = 0;
	struct meter m;
	unsigned n;

	ck_assert_int_eq(meter_init(&m, true), 0);
	n = requests(&m, 1000000, 1000, &now, &stand_for);
	ck_assert_uint_lt(n, 1000000 / METER_EVERY * 2);
	ck_assert_uint_gt(n, 1000000 / METER_EVERY / 2);
	ck_assert_uint_le(stand_for, 1000000);
	ck_assert_uint_gt(stand_for, 1000000 - 2 * METER_EVERY);
	ck_assert_uint_eq(meter_requests(&m), 1000000);

	/* and each again, where they become few */
	requests(&m, 3 * METER_EVERY, 1000000, &now, &stand_for);
	ck_assert_uint_eq(requests(&m, 100, 1000000, &now, &stand_for), 100);
	ck_assert_uint_eq(meter_requests(&m), 1000000 + 3 * METER_EVERY + 100);
	meter_fini(&m);
}
END_TEST

START_TEST(off_it_looks_at_none_and_has_no_memory)
{
	uint64_t now = 1, stand_for = 0;
	struct meter m;

	ck_assert_int_eq(meter_init(&m, false), 0);
	ck_assert_uint_eq(requests(&m, 1000, 1000000, &now, &stand_for), 0);
	ck_assert(!meter_is_on(&m));
	m.left = 0; /* 2^63 requests later */
	ck_assert_uint_eq(requests(&m, 1000, 1000, &now, &stand_for), 1);
	ck_assert_uint_eq(stand_for, 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "buckets"), *m = add_case(s, "meter");

	tcase_add_test(t, each_bucket_begins_where_the_one_before_ends);
	tcase_add_test(t, no_bucket_is_wider_than_a_quarter_of_where_it_begins);
	tcase_add_test(t, what_is_noted_is_found_in_the_sum);
	tcase_add_test(m, where_they_are_few_each_is_looked_at);
	tcase_add_test(m, where_they_are_many_some_stand_for_all);
	tcase_add_test(m, off_it_looks_at_none_and_has_no_memory);
}
