/* SPDX-License-Identifier: BSD-2-Clause */
/* completion: what bash offers for npsteer, by tools/npsteer/completion.bash */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/steer_admin.h"
#include "support/run.h"
#include "support/test.h"

static const char *build;

static void setup(void)
{
	build = getenv("NP_BUILD") ? getenv("NP_BUILD") : "build";
}

/* The words that bash has for the last of @line, each between spaces; @before is run first. */
static void offered(struct ran *r, const char *before, const char *line)
{
	sh(r,
	   "PATH=$(realpath '%s'):$PATH bash -c '. tools/npsteer/completion.bash; %s "
	   "COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _npsteer; echo \" ${COMPREPLY[*]} \"'",
	   build, before, line);
	ck_assert_msg(r->code == 0 && !*r->err, "%s", r->err);
}

static void must_offer(const char *line, const char *word)
{
	char spaced[64];
	struct ran r;

	snprintf(spaced, sizeof spaced, " %s ", word);
	offered(&r, "", line);
	ck_assert_msg(strstr(r.out, spaced) != NULL, "for %s: %s", line, r.out);
	ran_free(&r);
}

static void must_offer_exactly(const char *line, const char *words)
{
	char all[128];
	struct ran r;

	snprintf(all, sizeof all, " %s \n", words);
	offered(&r, "", line);
	ck_assert_str_eq(r.out, all);
	ran_free(&r);
}

START_TEST(every_verb_of_the_help_is_offered)
{
	struct ran r;
	char *verb, *save;

	sh(&r, "'%s/npsteer' --help | sed -n 's/^  \\([a-z][a-z]*\\).*/\\1/p'", build);
	for (verb = strtok_r(r.out, "\n", &save); verb; verb = strtok_r(NULL, "\n", &save))
		must_offer("npsteer \"\"", verb);
	ran_free(&r);
	must_offer_exactly("npsteer undr", "undrain");
	must_offer_exactly("npsteer -j --bpffs /sys/fs/bpf undr", "undrain");
}
END_TEST

START_TEST(a_verb_has_its_own_flags_and_those_of_all)
{
	must_offer("npsteer adopt web --", "--dry-run");
	must_offer("npsteer adopt web --", "--hold");
	must_offer("npsteer adopt web --", "--json");
	must_offer_exactly("npsteer stats web --h", "--help");
	must_offer_exactly("npsteer load --lev", "--level");
	must_offer("npsteer run web --port 80 -", "--");
}
END_TEST

START_TEST(what_belongs_to_a_flag_is_no_operand)
{
	must_offer_exactly("npsteer adopt --port 80 --dr", "--dry-run");
	must_offer_exactly("npsteer explain --cpu 1 web ne", "next");
	must_offer_exactly("npsteer adopt --port \"\"", "");
	must_offer_exactly("npsteer adopt web --watch --rescue st", "stopped");
	must_offer("npsteer load --group roo", "root");
	must_offer("npsteer --bpffs /sys/f", "/sys/fs");
}
END_TEST

START_TEST(every_policy_is_offered)
{
	const char *policy;

	for (unsigned i = 0; (policy = np_steer_policies(i)); i++) {
		must_offer("npsteer policy web \"\"", policy);
		must_offer("npsteer load --policy \"\"", policy);
	}
}
END_TEST

/* As npsteer --json status has them. */
#define STATUS                                                                                   \
	"npsteer() { if [[ $2 == status ]]; then "                                               \
	"echo \"{\\\"services\\\":[{\\\"service\\\":\\\"web\\\",\\\"workers\\\":[{\\\"name\\\":" \
	"\\\"echo-1/poller-0\\\",\\\"pid\\\":1}]},{\\\"service\\\":\\\"api\\\"}]}\"; "           \
	"else command npsteer \"$@\"; fi; };"

START_TEST(services_and_workers_are_those_that_there_are)
{
	struct ran r;

	offered(&r, STATUS, "npsteer drain \"\"");
	ck_assert_str_eq(r.out, " web api \n");
	ran_free(&r);
	offered(&r, STATUS, "npsteer drain web \"\"");
	ck_assert_str_eq(r.out, " echo-1/poller-0 \n");
	ran_free(&r);
	offered(&r, STATUS, "npsteer load -j w");
	ck_assert_str_eq(r.out, " web \n");
	ran_free(&r);
}
END_TEST

START_TEST(behind_the_dashes_there_is_a_program)
{
	must_offer("npsteer run web --port 80 -- sle", "sleep");
	must_offer_exactly("npsteer run web --port 80 -- cat Makef", "Makefile");
}
END_TEST

START_TEST(without_npsteer_nothing_is_offered)
{
	struct ran r;

	sh(&r,
	   "bash -c '. tools/npsteer/completion.bash; COMP_WORDS=(/nowhere/npsteer \"\"); COMP_CWORD=1; "
	   "_npsteer; echo \"${#COMPREPLY[@]}\"'");
	ck_assert_str_eq(r.out, "0\n");
	ck_assert_str_eq(r.err, "");
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "completion");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, every_verb_of_the_help_is_offered);
	tcase_add_test(t, a_verb_has_its_own_flags_and_those_of_all);
	tcase_add_test(t, what_belongs_to_a_flag_is_no_operand);
	tcase_add_test(t, every_policy_is_offered);
	tcase_add_test(t, services_and_workers_are_those_that_there_are);
	tcase_add_test(t, behind_the_dashes_there_is_a_program);
	tcase_add_test(t, without_npsteer_nothing_is_offered);
}
