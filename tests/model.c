/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model: the protocol of the baton under Spin, and the same with a fault put in, which has to be
 * found
 *
 * The quick ones of scripts/check-model, which says what each is; `make check-model` runs them all.
 */
#include <stdlib.h>
#include <string.h>

#include "support/run.h"
#include "support/test.h"

#define EXIT_NO_SPIN 77

static void must_check_model(const char *test, const char *name)
{
	const char *argv[] = { "scripts/check-model", name, NULL };
	struct ran r;

	run(&r, argv);
	if (r.code == EXIT_NO_SPIN)
		test_skip(test, "%s", r.err);
	else
		ck_assert_msg(r.code == 0, "%s%s", r.out, r.err);
	ran_free(&r);
}

static const char *const whole[] = { "two-riders", "crew" };

START_TEST(the_protocol_holds)
{
	must_check_model(__func__, whole[_i]);
}
END_TEST

static const char *const broken[] = { "edge", "host",  "kick",  "idle", "fence",
				      "told", "other", "hosts", "gate" };

START_TEST(a_broken_protocol_is_found)
{
	must_check_model(__func__, broken[_i]);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "baton");

	tcase_add_loop_test(c, the_protocol_holds, 0, sizeof whole / sizeof whole[0]);
	tcase_add_loop_test(c, a_broken_protocol_is_found, 0, sizeof broken / sizeof broken[0]);
}
