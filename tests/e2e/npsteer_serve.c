/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer_serve: the page's server over raw sockets: what it gives, to whom, and for how long
 *
 * What a browser makes of it: make check-page.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/json.h"
#include "support/peer.h"
#include "support/test.h"
#include "support/tool.h"
#include "support/verb.h"

#define WATCHERS 16 /* as serve.c has it */

static struct verb page;
static struct server worker;

static void given_page(const char *options)
{
	char words[128];

	must("load web");
	given_server(&worker, "web"); /* named: a "worker" */
	snprintf(words, sizeof words, "serve web --listen 0 %s", options);
	verb_start(&page, words, 1);
}

static void over(void)
{
	verb_end(&page);
	server_end(&worker);
}

/* The status; *dst has the whole answer. */
static int get(const char *path, const char *fields, char *dst, size_t cap)
{
	char request[1024];
	int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n%s\r\n", path, fields);

	verb_ask(&page, 0, request, (size_t)n, dst, cap);
	ck_assert_msg(!strncmp(dst, "HTTP/1.1 ", 9), "%.80s", dst);
	return atoi(dst + 9);
}

START_TEST(its_files_come_as_what_they_are_and_bring_nothing_foreign)
{
	static const struct {
		const char *path, *type, *part;
	} files[] = {
		{ "/", "text/html; charset=utf-8", "<script src=\"page.js\"" },
		{ "/?x=y", "text/html; charset=utf-8", "</html>\n" },
		{ "/page.css", "text/css; charset=utf-8", "prefers-color-scheme: dark" },
		{ "/page.js", "text/javascript; charset=utf-8", "new EventSource('events')" },
	};
	static const char *const never[] = { "innerHTML", "document.write", "eval(", "://cdn",
					     "https://" };
	static char got[65536];
	char type[80];

	NEEDS_RIGHTS();
	given_page("");
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		ck_assert_int_eq(get(files[i].path, "Host: localhost\r\n", got, sizeof got), 200);
		snprintf(type, sizeof type, "\r\nContent-Type: %s\r\n", files[i].type);
		must_have(got, type);
		must_have(got, "\r\nX-Content-Type-Options: nosniff\r\n");
		must_have(got, "default-src 'none'; script-src 'self'; style-src 'self'; "
			       "connect-src 'self';");
		must_have(got, "frame-ancestors 'none'");
		must_have(got, files[i].part);
		for (size_t k = 0; k < sizeof never / sizeof *never; k++)
			ck_assert_msg(!strstr(got, never[k]), "%s has %s", files[i].path, never[k]);
	}
	ck_assert_int_eq(get("/../etc/passwd", "Host: localhost\r\n", got, sizeof got), 404);
	ck_assert_int_eq(get("/page.js/", "Host: localhost\r\n", got, sizeof got), 404);
	verb_ask(&page, 0, "POST /events HTTP/1.1\r\nHost: localhost\r\n\r\n", 42, got, sizeof got);
	must_have(got, "HTTP/1.1 405 ");
	verb_ask(&page, 0, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 36, got, sizeof got);
	must_have(got, "HTTP/1.1 200 ");
	ck_assert_str_eq(strstr(got, "\r\n\r\n"), "\r\n\r\n");
	over();
}
END_TEST

static const struct {
	const char *path, *fields;
	int status;
} asked[] = {
	{ "/", "Host: 127.0.0.1:80\r\n", 200 },
	{ "/", "host: [::1]:80\r\n", 200 },
	{ "/", "Host: [::1]\r\n", 200 },
	{ "/", "Host: LOCALHOST\r\n", 421 },
	{ "/", "", 421 },
	{ "/", "Host:\r\n", 400 },
	{ "/", "Host: rebound.example\r\n", 421 },
	{ "/", "Host: localhost.example:80\r\n", 421 },
	{ "/", "Host: 127.0.0.1.example\r\n", 421 },
	{ "/", "Host: [::1].example\r\n", 421 },
	{ "/", "Host: [::1\r\n", 421 },
	{ "/events", "Host: rebound.example\r\n", 421 },
	{ "/page.js", "Host: localhost:1\r\nOrigin: http://localhost:1\r\n", 200 },
	{ "/page.js", "Host: localhost:1\r\nOrigin: http://localhost:2\r\n", 403 },
	{ "/page.js", "Host: localhost:1\r\nOrigin: https://localhost:1\r\n", 403 },
	{ "/events", "Host: localhost:1\r\nOrigin: null\r\n", 403 },
	{ "/events", "Host: localhost:1\r\nOrigin: http://site.example\r\n", 403 },
	{ "/page.js", "Host: localhost\r\nSec-Fetch-Site: same-origin\r\n", 200 },
	{ "/events", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403 },
	{ "/events", "Host: localhost\r\nSec-Fetch-Site: same-site\r\n", 403 },
	{ "/", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 200 }, /* a link */
	{ "/", "Host: localhost\r\nHost: localhost\r\n", 400 },
	{ "/", "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://x\r\n", 400 },
};

START_TEST(a_page_of_another_place_gets_nothing)
{
	static char got[65536];

	NEEDS_RIGHTS();
	given_page("");
	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
		int status = get(asked[i].path, asked[i].fields, got, sizeof got);

		ck_assert_msg(status == asked[i].status, "%s %s: %d", asked[i].path,
			      asked[i].fields, status);
	}
	over();
}
END_TEST

/* ------------------------------------------------------------------ events */

static const char ask_events[] = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";

static int watch(void)
{
	int fd = verb_connect(&page, 0);

	peer_send(fd, ask_events, sizeof ask_events - 1);
	return fd;
}

/* The next line, without its end. */
static void read_line(int fd, char *dst, size_t cap)
{
	size_t n = 0;

	do {
		ck_assert_uint_lt(n, cap - 1);
		peer_recv(fd, dst + n, 1);
	} while (dst[n++] != '\n');
	dst[n - 1] = '\0';
}

/* The data of the next event. */
static char *next_event(int fd)
{
	static char line[65536];

	do
		read_line(fd, line, sizeof line);
	while (strncmp(line, "data: ", 6));
	return line + 6;
}

START_TEST(events_tell_what_there_is_and_what_goes)
{
	char *event;
	int fd;

	NEEDS_RIGHTS();
	given_page("-w 0.05");
	fd = watch();
	for (int i = 0; i < 3; i++) {
		event = next_event(fd);
		ck_assert_msg(json_valid(event), "%s", event);
		must_have(event, "\"service\":\"web\"");
		must_have(event, "\"name\":\"a \\\"worker\\\"\",\"state\":\"ready\"");
		must_have(event, "\"addresses\":[\"127.0.0.1:");
		must_have(event, "\"verdicts\":{\"steered\":0,");
	}
	connect_times(&worker, 3);
	do
		event = next_event(fd);
	while (json_number(event, "verdicts.steered") != 3);
	must("drain web 0");
	do
		event = next_event(fd);
	while (!strstr(event, "\"draining\""));
	server_end(&worker);
	must("unload web");
	do
		event = next_event(fd);
	while (!strstr(event, "\"error\":\"") || !strstr(event, "no service web"));
	must("load web");
	do
		event = next_event(fd);
	while (!strstr(event, "\"workers\":[]"));
	peer_close(&fd);
	verb_end(&page);
}
END_TEST

START_TEST(so_many_may_watch_and_a_place_comes_free)
{
	static char got[4096];
	int fd[WATCHERS];

	NEEDS_RIGHTS();
	given_page("-w 0.05");
	for (int i = 0; i < WATCHERS; i++) {
		fd[i] = watch();
		next_event(fd[i]);
	}
	ck_assert_int_eq(get("/events", "Host: localhost\r\n", got, sizeof got), 503);
	ck_assert_int_eq(get("/page.css", "Host: localhost\r\n", got, sizeof got), 200);
	peer_close(&fd[0]);
	peer_reset(&fd[1]);
	for (int i = 0; i < 2; i++) {
		do {
			fd[i] = watch();
			read_line(fd[i], got, sizeof got);
			if (strstr(got, "503"))
				peer_close(&fd[i]);
		} while (fd[i] < 0);
		next_event(fd[i]);
	}
	/* It ends at once, though they watch, and they see it. */
	over();
	for (int i = 0; i < WATCHERS; i++) {
		peer_drain(fd[i]);
		peer_close(&fd[i]);
	}
}
END_TEST

/* Whether one more may watch. */
static bool there_is_a_place(void)
{
	char got[16] = "";
	int fd = watch();

	peer_recv(fd, got, 12);
	peer_reset(&fd);
	return !strcmp(got, "HTTP/1.1 200");
}

/* Nothing is kept for them but what the kernel takes; one that reads is told all the time. */
START_TEST(those_that_read_nothing_are_dropped)
{
	static char much[1 << 20];
	int slow[WATCHERS - 1], quick, small = 1;

	NEEDS_RIGHTS();
	given_page("-w 0.002");
	quick = watch();
	for (int i = 0; i < WATCHERS - 1; i++) {
		slow[i] = verb_connect(&page, 0);
		ck_assert_int_eq(setsockopt(slow[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small),
				 0);
		peer_send(slow[i], ask_events, sizeof ask_events - 1);
		await_fd(slow[i], POLLIN);
	}
	ck_assert(!there_is_a_place());
	AWAIT(recv(quick, much, sizeof much, MSG_DONTWAIT) != 0 && there_is_a_place());
	next_event(quick);
	for (int i = 0; i < WATCHERS - 1; i++)
		peer_close(&slow[i]);
	peer_close(&quick);
	over();
}
END_TEST

/* ------------------------------------------------------------------ those that hold on */

#define CROWD 200 /* more than may be connected at once */

static void connect_crowd(int *fds, int n, const char *part)
{
	for (int i = 0; i < n; i++) {
		fds[i] = verb_connect(&page, 0);
		peer_send(fds[i], part, strlen(part));
	}
}

static const char *const parts[] = { "", "GET", "GET / HTTP/1.1\r\nHost: " };

/* Nothing at all, or a part of a head: whoever comes behind them is answered. */
START_TEST(those_that_ask_nothing_keep_nobody_from_an_answer)
{
	static char got[65536];
	int fds[CROWD], watcher;

	NEEDS_RIGHTS();
	given_page("-w 0.05");
	watcher = watch();
	next_event(watcher);
	connect_crowd(fds, CROWD, parts[_i]);
	ck_assert_int_eq(get("/", "Host: localhost\r\n", got, sizeof got), 200);
	next_event(watcher); /* one that stays is not sent away for them */
	for (int i = 0; i < CROWD; i++)
		peer_close(&fds[i]);
	peer_close(&watcher);
	over();
}
END_TEST

/* A request has a time for the whole, which a byte now and then does not stretch. */
START_TEST(one_that_drips_is_ended)
{
	int fd;

	NEEDS_RIGHTS();
	given_page("");
	fd = verb_connect(&page, 0);
	peer_send(fd, "GET /", 5);
	AWAIT(send(fd, "a", 1, MSG_NOSIGNAL) < 0);
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(what_cannot_be_served_says_what_to_do)
{
	NEEDS_RIGHTS();
	must("load web");
	fails_with(MISUSED, "npsteer serve --listen 8080", "serve web");
	fails_with(MISUSED, "--allow-remote", "serve web --listen 0.0.0.0:0");
	fails_with(MISUSED, "--allow-remote", "serve web --listen [2001:db8::1]:80");
	fails_with(ABSENT, "no service other", "serve other --listen 0");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "npsteer_serve");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_test(t, its_files_come_as_what_they_are_and_bring_nothing_foreign);
	tcase_add_test(t, a_page_of_another_place_gets_nothing);
	tcase_add_test(t, events_tell_what_there_is_and_what_goes);
	tcase_add_test(t, so_many_may_watch_and_a_place_comes_free);
	tcase_add_test(t, those_that_read_nothing_are_dropped);
	tcase_add_loop_test(t, those_that_ask_nothing_keep_nobody_from_an_answer, 0,
			    sizeof parts / sizeof parts[0]);
	tcase_add_test(t, one_that_drips_is_ended);
	tcase_add_test(t, what_cannot_be_served_says_what_to_do);
}
