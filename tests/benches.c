/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * benches: what they refuse before they measure anything
 *
 * Runs in the top folder of the tree, as scripts/run-tests does.
 */
#include <string.h>

#include "support/run.h"
#include "support/test.h"

static void is_refused(const char *command, const char *why)
{
	struct ran r;

	sh(&r, "%s", command);
	ck_assert_msg(r.code == 2, "%s: exit code %d", command, r.code);
	ck_assert_str_eq(r.out, "");
	ck_assert_msg(strstr(r.err, why), "%s: %s", command, r.err);
	ran_free(&r);
}

START_TEST(what_is_no_run_of_a_fleet_is_refused)
{
	is_refused("RUNS=agent scripts/bench-fleet build", "there are 1 words");
	is_refused("RUNS='nobody kill' scripts/bench-fleet build", "there is no setup nobody");
	is_refused("RUNS='agent jump' scripts/bench-fleet build", "there is no scenario jump");
	is_refused("RUNS=' ' scripts/bench-fleet build", "there are 0 words");
}
END_TEST

START_TEST(what_is_no_number_is_refused)
{
	is_refused("scripts/bench-proxy build many", "many is no number of rounds");
	is_refused("scripts/bench-restart build many", "many is no number");
	is_refused("scripts/bench-restart build 1 0", "0 is no number");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "refusals");

	tcase_add_test(t, what_is_no_run_of_a_fleet_is_refused);
	tcase_add_test(t, what_is_no_number_is_refused);
}
