/* SPDX-License-Identifier: BSD-2-Clause */
/* npsteer_explain: in words and in JSON; what was said is tests/steer_explain.c's matter. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/json.h"
#include "support/test.h"
#include "support/tool.h"

START_TEST(explain_says_which_worker_and_why_in_words_and_in_json)
{
	char words[128];
	struct server s;
	struct ran r;
	char *json;

	NEEDS_RIGHTS();
	must("load web --policy hash");
	given_server(&s, "web");
	snprintf(words, sizeof words, "explain web '127.0.0.1:40000>127.0.0.1:%u'",
		 ntohs(s.at.sin_port));
	npsteer(&r, words);
	ck_assert_int_eq(r.code, DONE);
	must_have(
		r.out,
		" would go to worker 0 (a \"worker\") now. \"hash\": the hash of the flow draws it.");
	must_have(r.out, "\n  worker 0 (a \"worker\"), chosen: it is fit\n");
	ran_free(&r);
	json = answer(words);
	must_have(json, "\"flow\":\"127.0.0.1:40000>127.0.0.1:");
	must_have(json, "\"hash_drawn\":false,\"policy\":\"hash\",\"verdict\":\"steered\"");
	must_have(json,
		  "\"looked_at\":[{\"worker\":0,\"name\":\"a \\\"worker\\\"\",\"chosen\":true");
	free(json);
	json = answer("explain web next --cpu 3");
	ck_assert_int_eq(json_number(json, "cpu"), 3);
	must_have(json, "\"hash_drawn\":true");
	free(json);
	server_end(&s);
	must("unload web");
}
END_TEST

START_TEST(what_cannot_be_explained_has_an_exit_code_and_a_sentence)
{
	struct server s;
	struct ran r;

	NEEDS_RIGHTS();
	must("load web");
	fails_with(ABSENT, "no worker of the service web", "explain web next");
	given_server(&s, "web");
	fails_with(MISUSED, "which flow?", "explain web");
	fails_with(MISUSED, "is no flow such as", "explain web later");
	fails_with(MISUSED, "a CPU's number", "explain web next --cpu x");
	fails_with(ABSENT, "no worker of the service web", "explain web '1.2.3.4:5>1.2.3.5:6'");
	fails_with(ABSENT, "no service other", "explain other next");
	server_end(&s);
	must("unload web");
	must("load web --level 2");
	fails_with(UNSUPPORTED, "from level 3 on", "explain web next");
	must("unload web");
	npsteer_as(&r, 1234, "explain web next");
	ck_assert_int_ne(r.code, DONE);
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "explain");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_test(t, explain_says_which_worker_and_why_in_words_and_in_json);
	tcase_add_test(t, what_cannot_be_explained_has_an_exit_code_and_a_sentence);
}
