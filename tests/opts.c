/* SPDX-License-Identifier: BSD-2-Clause */
/* opts: structs of options and of facts between a program and a library of other ages. */
#include "sys/opts.h"

#include <errno.h>
#include <string.h>

#include "support/test.h"

struct old_opts {
	size_t sz;
	int a;
};

struct new_opts {
	size_t sz;
	int a, b;
	long c;
};

START_TEST(options_of_an_older_header_leave_the_rest_at_its_default)
{
	struct old_opts old = { sizeof old, 1 };
	struct new_opts now;

	memset(&now, 0xff, sizeof now);
	ck_assert_int_eq(sys_opts_take(&now, sizeof now, &old), 0);
	ck_assert_uint_eq(now.sz, sizeof now);
	ck_assert_int_eq(now.a, 1);
	ck_assert_int_eq(now.c, 0);
	ck_assert_int_eq(sys_opts_take(&now, sizeof now, NULL), 0);
	ck_assert_int_eq(now.a, 0);
}
END_TEST

START_TEST(options_of_a_newer_header_are_taken_while_what_is_unknown_is_zero)
{
	struct new_opts given = { .sz = sizeof given, .a = 1 };
	struct old_opts known;

	ck_assert_int_eq(sys_opts_take(&known, sizeof known, &given), 0);
	ck_assert_int_eq(known.a, 1);
	given.c = 1;
	ck_assert_int_eq(sys_opts_take(&known, sizeof known, &given), -E2BIG);
	given.sz = 0;
	ck_assert_int_eq(sys_opts_take(&known, sizeof known, &given), -EINVAL);
}
END_TEST

START_TEST(a_struct_is_filled_in_as_far_as_the_caller_knows_it)
{
	struct new_opts ours = { sizeof ours, 1, 2, 3 };
	struct {
		struct old_opts o;
		char guard;
	} old = { { sizeof old.o, 9 }, 'g' };
	struct new_opts longer[2];

	ck_assert_int_eq(sys_opts_give(&old.o, &ours, sizeof ours), 0);
	ck_assert_int_eq(old.o.a, 1);
	ck_assert_uint_eq(old.o.sz, sizeof old.o);
	ck_assert_int_eq(old.guard, 'g');

	memset(longer, 0xff, sizeof longer);
	longer[0].sz = sizeof longer;
	ck_assert_int_eq(sys_opts_give(longer, &ours, sizeof ours), 0);
	ck_assert_int_eq(longer[0].b, 2);
	ck_assert_uint_eq(longer[1].sz, 0);
	longer[0].sz = 1;
	ck_assert_int_eq(sys_opts_give(longer, &ours, sizeof ours), -EINVAL);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "opts");

	tcase_add_test(c, options_of_an_older_header_leave_the_rest_at_its_default);
	tcase_add_test(c, options_of_a_newer_header_are_taken_while_what_is_unknown_is_zero);
	tcase_add_test(c, a_struct_is_filled_in_as_far_as_the_caller_knows_it);
}
