/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer_names: whatever bytes a worker calls itself, they do not reach a terminal as commands,
 * and JSON stays JSON
 */
#include <stdlib.h>
#include <string.h>

#include "support/json.h"
#include "support/test.h"
#include "support/tool.h"

static const struct name {
	const char *bytes;
	const char *utf8, *ascii; /* on a terminal of that kind */
	const char *json;
} names[] = {
	{ "plain", "plain", "plain", "\"plain\"" },
	{ "h\xc3\xa9llo", "h\xc3\xa9llo", "h??llo", "\"h\xc3\xa9llo\"" },
	{ "\x1b[2Jesc", "?[2Jesc", "?[2Jesc", "\"\\u001b[2Jesc\"" },
	/* CSI as one byte */
	{ "\x9b"
	  "31mraw",
	  "?31mraw", "?31mraw", "\"\\ufffd31mraw\"" },
	{ "\xc2\x9b"
	  "2Jc1",
	  "??2Jc1", "??2Jc1", "\"\\u009b2Jc1\"" }, /* and as UTF-8 */
	/* right to left from here */
	{ "a\xe2\x80\xae"
	  "b",
	  "a???b", "a???b", "\"a\\u202eb\"" },
	{ "i\xe2\x81\xa6j", "i???j", "i???j", "\"i\\u2066j\"" }, /* isolate */
	{ "cut\xe2\x82", "cut??", "cut??", "\"cut\\ufffd\\ufffd\"" },
	{ "over\xc0\xaf", "over??", "over??", "\"over\\ufffd\\ufffd\"" }, /* overlong */
	/* a surrogate */
	{ "half\xed\xa0\x80", "half???", "half???", "\"half\\ufffd\\ufffd\\ufffd\"" },
	{ "line\nfeed\ttab\x7f", "line?feed?tab?", "line?feed?tab?",
	  "\"line\\u000afeed\\u0009tab\\u007f\"" },
	{ "quo\"te\\", "quo\"te\\", "quo\"te\\", "\"quo\\\"te\\\\\"" },
};
#define NAMES (sizeof names / sizeof names[0])

struct named {
	struct np_steer *s;
	struct np_steer_worker *w[NAMES];
	int fd[NAMES];
};

static void given_names(struct named *n)
{
	must("load web");
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &n->s),
			 0);
	for (size_t i = 0; i < NAMES; i++) {
		ck_assert_int_eq(np_steer_worker(n->s, names[i].bytes, &n->w[i]), 0);
		ck_assert_int_eq(np_steer_listen(n->w[i], "tcp", "127.0.0.1:0", 0, &n->fd[i]), 0);
	}
}

static void must_be_text(const char *text, bool ascii)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		ck_assert_msg((*p >= 0x20 && *p != 0x7f) || *p == '\n', "byte %#x in: %s", *p,
			      text);
		ck_assert_msg(!ascii || *p < 0x80, "byte %#x in: %s", *p, text);
		ck_assert_msg(p[0] != 0xc2 || p[1] >= 0xa0, "a C1 control in: %s", text);
	}
}

static const char *const verbs[] = { "status web", "status", "stats web", "top web -w 0.01 -n 1" };

START_TEST(a_terminal_gets_what_its_locale_can_print)
{
	struct named n;
	struct ran r;

	NEEDS_RIGHTS();
	given_names(&n);
	for (size_t v = 0; v < sizeof verbs / sizeof verbs[0]; v++)
		for (int ascii = 0; ascii < 2; ascii++) {
			setenv("LC_ALL", ascii ? "C" : "C.UTF-8", 1);
			npsteer(&r, verbs[v]);
			ck_assert_msg(r.code == DONE, "%s", r.err);
			must_be_text(r.out, ascii);
			for (size_t i = 0; i < NAMES; i++)
				must_have(r.out, ascii ? names[i].ascii : names[i].utf8);
			ran_free(&r);
		}
}
END_TEST

START_TEST(json_is_utf_8_whatever_the_name)
{
	struct named n;
	char *a;

	NEEDS_RIGHTS();
	given_names(&n);
	for (size_t v = 0; v < sizeof verbs / sizeof verbs[0]; v++) {
		a = answer(verbs[v]);
		for (size_t i = 0; i < NAMES; i++)
			must_have(a, names[i].json);
		must_be_text(a, false);
		free(a);
	}
}
END_TEST

/* What the user has typed is repeated in the sentence, and comes back as it can be shown. */
START_TEST(a_sentence_is_printable_too)
{
	struct ran r;

	npsteer(&r, "\"$(printf 'ver\\033[2J\\233b')\"");
	ck_assert_int_eq(r.code, MISUSED);
	must_be_text(r.err, true);
	ran_free(&r);
	npsteer(&r, "-j \"$(printf 'ver\\033[2J\\233b')\"");
	ck_assert_int_eq(r.code, MISUSED);
	ck_assert_msg(json_valid(r.out), "%s", r.out);
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "names");

	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_test(t, a_terminal_gets_what_its_locale_can_print);
	tcase_add_test(t, json_is_utf_8_whatever_the_name);
	tcase_add_test(t, a_sentence_is_printable_too);
}
