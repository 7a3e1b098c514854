/* SPDX-License-Identifier: BSD-2-Clause */
/* npsteer_metrics: what a service and a process have counted, served to Prometheus. */
#include <netpoll/pollers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/exposed.h"
#include "support/json.h"
#include "support/peer.h"
#include "support/test.h"
#include "support/tool.h"
#include "support/verb.h"

#define OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"

static struct verb served;
static char got[1 << 16];

/* The answer to GET @path with these headers. */
static const char *asked(const char *path, const char *headers)
{
	char request[1024];
	int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: any\r\n%s\r\n", path,
			 headers);

	verb_ask(&served, 0, request, (size_t)n, got, sizeof got);
	return got;
}

/* It begins with status 200 and has both parts. */
static void must_get(const char *headers, const char *type, const char *part)
{
	const char *text = asked("/metrics", headers);

	ck_assert_msg(!strncmp(text, "HTTP/1.1 200 ", 13), "%s", text);
	must_have(text, type);
	must_have(text, part);
}

START_TEST(a_service_is_served_in_the_format_that_is_asked_for)
{
	struct server s;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");
	connect_times(&s, 3);
	verb_start(&served, "metrics web --listen 0", 1);
	must_get("", "Content-Type: text/plain; version=0.0.4",
		 "npsteer_counted_total{service=\"web\",counter=\"steered\"} 3\n");
	ck_assert_ptr_null(strstr(got, "# EOF"));
	must_get("Accept: " OPEN ";q=0.5,text/plain;q=0.1\r\n", "Content-Type: " OPEN, "# EOF\n");
	must_have(got, "# TYPE npsteer_counted counter\n");
	must_have(got, "npsteer_queue_limit{service=\"web\",address=");
	must_have(asked("/other", ""), "HTTP/1.1 404");
	verb_end(&served);
	server_end(&s);
}
END_TEST

/* Another listener of its worker, at its address, but of one device alone. */
static int given_listener_of_a_device(const struct server *s)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof "lo"), 0);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&s->at, sizeof s->at), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	ck_assert_int_eq(np_steer_add(s->worker, fd), 0);
	return fd;
}

/* Once, to stdout, through the parser that Prometheus itself has in Python. */
START_TEST(what_is_said_of_a_service_can_be_parsed)
{
	struct server s;
	struct ran r;
	int fd;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");
	fd = given_listener_of_a_device(&s);
	sh(&r, "'%s/npsteer' metrics web | /usr/bin/python3 tests/support/openmetrics.py",
	   tool_dir);
	close(fd);
	server_end(&s);
	if (r.code == 77 || r.code == 127) {
		ran_free(&r);
		SKIP("needs python3-prometheus-client: scripts/deps --all");
	}
	ck_assert_msg(r.code == 0, "%d: %s%s", r.code, r.out, r.err);
	must_have(r.out, "npsteer_counted 16\n");
	must_have(r.out, "npsteer_worker_state 1\n");
	must_have(r.out, "npsteer_queue_length 2\n");
	ran_free(&r);
}
END_TEST

START_TEST(promtool_finds_nothing_wrong_with_it)
{
	struct server s;
	struct ran r;

	NEEDS_RIGHTS();
	if (!have("promtool"))
		SKIP("needs promtool (prometheus): scripts/deps --all");
	must("load web");
	given_server(&s, "web");
	verb_start(&served, "metrics web --listen 0", 1);
	must_get("", "Content-Type: text/plain", "npsteer_worker_busy_seconds{service=\"web\",");
	exposed_to(&r, strstr(got, "\r\n\r\n") + 4, "promtool check metrics");
	ck_assert_msg(r.code == 0, "%s%s", r.out, r.err);
	ran_free(&r);
	verb_end(&served);
	server_end(&s);
}
END_TEST

/* ------------------------------------------------------------------ lost */

/* The number of "rejected_rst" in @json. */
static long long refused_of(char *json, const char *key)
{
	const char *at = strstr(json, "rejected_rst");
	long long n;

	ck_assert_ptr_nonnull(at);
	n = json_number(at, key);
	free(json);
	return n;
}

/* It is connected to @n times, and its only worker takes none. */
static void refuse(const struct server *s, int n)
{
	for (int i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		ck_assert_int_lt(connect(fd, (const struct sockaddr *)&s->at, sizeof s->at), 0);
		close(fd);
	}
}

START_TEST(what_was_lost_is_told_since_a_page_was_kept)
{
	char *dir = temp_dir(), words[160], part[160];
	struct server s;
	struct ran r;

	NEEDS_RIGHTS();
	must("load web");
	given_server(&s, "web");
	npsteer(&r, "lost web");
	ck_assert_str_eq(r.out, "web: nothing was lost since the beginning\n");
	ran_free(&r);
	must("policy web on_exhausted=rst");
	must("kick web 0");
	refuse(&s, 2);
	must_sh("'%s/npsteer' metrics web > %s/page", tool_dir, dir);
	refuse(&s, 3);
	snprintf(words, sizeof words, "lost web --since %s/page", dir);
	ck_assert_int_eq(refused_of(answer(words), "lost"), 3);
	ck_assert_int_eq(refused_of(answer(words), "total"), 5);
	ck_assert_int_eq(refused_of(answer("lost web"), "lost"), 5);
	npsteer(&r, words);
	must_have(r.out, "web: lost since 20");
	must_have(r.out, "     3       5  connections that were refused: no worker was fit\n");
	ran_free(&r);

	/* It counts anew: what it has counted since then is known. */
	must_sh("sed -i 's/\\(rejected_rst\"} \\)2/\\1200/' %s/page", dir);
	ck_assert_int_eq(refused_of(answer(words), "lost"), 5);
	npsteer(&r, words);
	must_have(r.out, "no worker was fit (counted anew)\n");
	ran_free(&r);

	must_sh("sed -i 's/service=\"web\"/service=\"other\"/' %s/page", dir);
	fails_with(MISUSED, "is of another service than web", words);
	must_sh("echo nothing > %s/page", dir);
	snprintf(part, sizeof part, "`npsteer metrics web > %s/page`", dir);
	fails_with(MISUSED, part, words);
	must_sh("rm %s/page", dir);
	fails_with(MISUSED, part, words);
	server_end(&s);
	remove_tree(&dir);
}
END_TEST

START_TEST(a_process_is_served_and_its_end_is_an_answer)
{
	char *dir = temp_dir(), words[160], path[96];
	struct np_pollers *p;

	snprintf(path, sizeof path, "%s/observe", dir);
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1, .observe = path,
						  .metrics = true),
					  &p),
			 0);
	snprintf(words, sizeof words, "metrics %s --listen 0", path);
	verb_start(&served, words, 1);
	must_get("", "Content-Type: text/plain", "np_handler_seconds_bucket{le=\"+Inf\"} 0\n");
	must_get("Accept: application/openmetrics-text\r\n", "Content-Type: " OPEN, "# EOF\n");
	ck_assert_int_eq(np_pollers_stop(p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&p), 0);
	must_have(asked("/metrics", ""), "HTTP/1.1 503");
	must_have(got, "np_pollers_opts.observe");
	verb_end(&served);
	remove_tree(&dir);
}
END_TEST

/* One that is stopped: its socket is there, and nobody accepts. */
START_TEST(a_process_that_is_stopped_is_an_answer_too)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *dir = temp_dir(), words[160];

	snprintf(un.sun_path, sizeof un.sun_path, "%s/observe", dir);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	snprintf(words, sizeof words, "metrics %s --listen 0", un.sun_path);
	verb_start(&served, words, 1);
	must_have(asked("/metrics", ""), "HTTP/1.1 503");
	must_have(got, "gives no answer");
	verb_end(&served);
	close(fd);
	remove_tree(&dir);
}
END_TEST

START_TEST(who_asks_for_json_is_told_who_has_it)
{
	static const char *const words[] = { "-j metrics web", "-p metrics web", "metrics -j web" };
	struct ran r;

	NEEDS_RIGHTS();
	must("load web");
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		npsteer(&r, words[i]);
		ck_assert_int_eq(r.code, MISUSED);
		ck_assert_msg(json_valid(r.out), "no JSON: %s", r.out);
		ck_assert_int_eq(json_number(r.out, "error.code"), MISUSED);
		must_have(r.out, "`npsteer -j status`");
		ran_free(&r);
	}
}
END_TEST

START_TEST(an_address_that_others_reach_is_refused)
{
	NEEDS_RIGHTS();
	must("load web");
	fails_with(MISUSED, "--allow-remote", "metrics web --listen 0.0.0.0:0");
	fails_with(ABSENT, "nowhere", "metrics nowhere");
}
END_TEST

/* Each name that the dashboard asks for is one that is written. */
START_TEST(the_dashboard_asks_for_what_there_is)
{
	char *dir = temp_dir();
	struct np_pollers *p;
	char path[96];

	snprintf(path, sizeof path, "%s/observe", dir);
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1, .observe = path,
						  .metrics = true),
					  &p),
			 0);
	must_sh("'%1$s/npsteer' metrics %2$s > %3$s/all &&"
		" python3 -m json.tool doc/grafana-dashboard.json > %3$s/board &&"
		" grep -o 'np_[a-z_]*' %3$s/board | sort -u | while read -r name; do"
		"  plain=${name%%_bucket}; plain=${plain%%_total};"
		"  grep -q \"^# TYPE $plain \" %3$s/all || { echo \"$name\"; exit 1; };"
		" done",
		tool_dir, path, dir);
	ck_assert_int_eq(np_pollers_stop(p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&p), 0);
	remove_tree(&dir);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "metrics");

	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_test(t, a_service_is_served_in_the_format_that_is_asked_for);
	tcase_add_test(t, what_is_said_of_a_service_can_be_parsed);
	tcase_add_test(t, promtool_finds_nothing_wrong_with_it);
	tcase_add_test(t, what_was_lost_is_told_since_a_page_was_kept);
	tcase_add_test(t, a_process_is_served_and_its_end_is_an_answer);
	tcase_add_test(t, a_process_that_is_stopped_is_an_answer_too);
	tcase_add_test(t, an_address_that_others_reach_is_refused);
	tcase_add_test(t, who_asks_for_json_is_told_who_has_it);
	tcase_add_test(t, the_dashboard_asks_for_what_there_is);
}
