/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer_limits: verbs with few descriptors, no locked memory, or little memory: a sentence and an
 * exit code, or what was asked for
 *
 * Whatever came of it, the same without a limit works afterwards.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"
#include "support/tool.h"

static const char *const looks[] = {
	"status web", "stats web",     "metrics web",      "lost web",
	"gc web",     "listeners",     "explain web next", "check",
	"rescue web", "policy web rr", "weight web 0 50",  "release web",
};
#define LOOKS (sizeof looks / sizeof looks[0])

/* Under `ulimit` with these words. */
static int limited(const char *limit, const char *words)
{
	struct ran r;
	int code;

	sh(&r, "ulimit %s && exec '%s/npsteer' %s", limit, tool_dir, words);
	code = r.code;
	ck_assert_msg(code >= DONE && code <= UNSUPPORTED, "%s: %s: exit %d: %s", limit, words,
		      code, r.err);
	ck_assert_msg(code == DONE || r.err[0] || r.out[0], "%s: %s: exit %d, and not a word",
		      limit, words, code);
	ran_free(&r);
	return code;
}

static void each_look(const char *limit)
{
	for (size_t i = 0; i < LOOKS; i++)
		limited(limit, looks[i]);
}

static void each_verb(const char *limit)
{
	struct server s;

	if (limited(limit, "load web") != DONE)
		must("load web");
	given_server(&s, "web");
	each_look(limit);
	connect_times(&s, 4);
	server_end(&s);
	if (limited(limit, "unload web") != DONE)
		must("unload web");
}

START_TEST(a_verb_that_lacks_descriptors_says_so)
{
	static const char *const few[] = { "-n 5", "-n 16", "-n 33", "-n 64", "-n 90" };
	struct ran r;

	NEEDS_RIGHTS();
	each_verb(few[_i]);
	sh(&r, "ulimit -n 16 && exec '%s/npsteer' load web", tool_dir);
	ck_assert_int_eq(r.code, FAILED); /* nothing that this kernel cannot do */
	must_have(r.err, "EMFILE");
	ran_free(&r);
}
END_TEST

START_TEST(no_locked_memory_is_needed)
{
	NEEDS_RIGHTS();
	ck_assert_int_eq(limited("-l 0", "load web"), DONE);
	each_verb("-l 0");
}
END_TEST

/* From the least with which the tool begins at all: up to a megabyte more something is missing. */
START_TEST(a_verb_that_lacks_memory_says_so)
{
	struct ran r = { .code = -1 };
	unsigned kb = 1000;
	struct server s;
	char limit[32];

	NEEDS_RIGHTS();
	for (; r.code != DONE; kb += 100) {
		sh(&r, "ulimit -v %u && exec '%s/npsteer' --help", kb, tool_dir);
		ran_free(&r);
	}
	must("load web");
	given_server(&s, "web");
	for (unsigned more = 0; more <= 1000; more += 100) {
		snprintf(limit, sizeof limit, "-v %u", kb + more);
		limited(limit, "load other");
		each_look(limit);
	}
	connect_times(&s, 4);
	server_end(&s);
	must("load other");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "limits");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_loop_test(t, a_verb_that_lacks_descriptors_says_so, 0, 5);
	tcase_add_test(t, no_locked_memory_is_needed);
	tcase_add_test(t, a_verb_that_lacks_memory_says_so);
}
