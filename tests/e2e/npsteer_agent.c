/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * npsteer_agent: what haproxy's agent-check and an HTTP probe are told of a service
 *
 * The workers are the test's own: one hangs where the test does not accept. How the percentage is
 * made stands in tests/npsteer_health.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/test.h"
#include "support/tool.h"
#include "support/verb.h"

#define ADDRESS "127.0.0.1:7430"

static struct verb agent;
static struct server workers[2];

/* Where all the others listen. */
static void given_one(struct server *s, const char *name)
{
	given_worker(s, "web", name, ADDRESS);
}

static void given_agent(const char *options)
{
	char words[128];

	must("load web");
	given_one(&workers[0], "one");
	given_one(&workers[1], "two");
	snprintf(words, sizeof words, "agent web --listen 0 --http 127.0.0.1:0 %s", options);
	verb_start(&agent, words, 2);
}

static void over(void)
{
	verb_end(&agent);
	server_end(&workers[0]);
	server_end(&workers[1]);
}

static bool says(const char *line)
{
	char got[256];

	verb_ask(&agent, 0, "", 0, got, sizeof got);
	return !strcmp(got, line);
}

static bool says_up(int percent)
{
	char line[32];

	snprintf(line, sizeof line, "up ready %d%%\n", percent);
	return says(line);
}

/* The status of the probe; its body has @part. */
static bool probe_says(int status, const char *part)
{
	static const char get[] = "GET /health HTTP/1.1\r\nHost: any\r\n\r\n";
	char got[2048];

	verb_ask(&agent, 1, get, sizeof get - 1, got, sizeof got);
	ck_assert_msg(!strncmp(got, "HTTP/1.1 ", 9), "%s", got);
	return atoi(got + 9) == status && strstr(got, part);
}

static void accept_all(const struct server *s)
{
	int fd;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

/* What a checker sends first (agent-send) changes nothing; many at once are all told. */
START_TEST(workers_that_have_nothing_to_do_are_up_by_all)
{
	char got[64] = "";
	int fd[100];

	NEEDS_RIGHTS();
	given_agent("");
	verb_ask(&agent, 0, "hello\n", 6, got, sizeof got);
	ck_assert_str_eq(got, "up ready 100%\n");
	for (int i = 0; i < 100; i++)
		fd[i] = verb_connect(&agent, 0);
	for (int i = 0; i < 100; i++) {
		peer_recv(fd[i], got, 14);
		ck_assert_str_eq(got, "up ready 100%\n");
		peer_expect_eof(fd[i]);
		peer_close(&fd[i]);
	}
	ck_assert(probe_says(200, "\r\n\r\nup 100%\nready 2\nhanging 0\n"));
	over();
}
END_TEST

/* Those that hold on, at either address, keep neither haproxy nor a probe from an answer. */
START_TEST(a_crowd_that_says_nothing_keeps_nobody_from_an_answer)
{
	enum { CROWD = 200 };
	int fds[CROWD];

	NEEDS_RIGHTS();
	given_agent("");
	for (int i = 0; i < CROWD; i++)
		fds[i] = verb_connect(&agent, i % 2);
	ck_assert(says_up(100));
	ck_assert(probe_says(200, "up 100%"));
	for (int i = 0; i < CROWD; i++)
		peer_close(&fds[i]);
	over();
}
END_TEST

/* It published nothing of what became of it. */
START_TEST(one_that_takes_nothing_out_of_its_queue_counts_as_none)
{
	struct sockaddr_storage ss = { 0 };
	int fd;

	NEEDS_RIGHTS();
	given_agent("");
	memcpy(&ss, &workers[0].at, sizeof workers[0].at);
	fd = peer_connect(&ss, sizeof workers[0].at);
	AWAIT(says_up(50));
	ck_assert(probe_says(200, "hanging 1"));
	accept_all(&workers[0]);
	accept_all(&workers[1]);
	AWAIT(says_up(100));
	peer_close(&fd);
	over();
}
END_TEST

START_TEST(a_drain_and_a_kick_are_said_at_once_and_taken_back)
{
	NEEDS_RIGHTS();
	given_agent("");
	must("drain web one");
	AWAIT(probe_says(200, "draining 1"));
	ck_assert(says_up(100)); /* the one that is left takes all that there is */
	must("drain web two");
	AWAIT(says("drain\n"));
	ck_assert(probe_says(503, "drain 0%"));
	must("kick web one");
	must("kick web two");
	AWAIT(says("maint\n"));
	must("undrain web one");
	must("undrain web two");
	AWAIT(says_up(100));
	over();
}
END_TEST

/* Of four workers that are expected. */
START_TEST(a_service_that_goes_is_down_and_is_seen_when_it_is_there_again)
{
	NEEDS_RIGHTS();
	given_agent("--listen 0.0.0.0:0 --allow-remote --workers 4");
	ck_assert(says_up(50));
	server_end(&workers[0]);
	server_end(&workers[1]);
	AWAIT(says("down #no workers\n"));
	must("unload web");
	AWAIT(probe_says(503, "no service web"));
	must("load web");
	given_one(&workers[0], "one");
	given_one(&workers[1], "two");
	AWAIT(probe_says(503, "ready 2")); /* seen at once, and said when it lasts */
	over();
}
END_TEST

static const struct {
	const char *request;
	int status;
} requests[] = {
	{ "GET / HTTP/1.1\r\n\r\n", 200 },
	{ "GET /health?verbose=1 HTTP/1.0\r\n\r\n", 200 },
	{ "HEAD /health HTTP/1.1\r\n\r\n", 200 },
	{ "GET /metrics HTTP/1.1\r\n\r\n", 404 },
	{ "POST /health HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405 },
	{ "get / HTTP/1.1\r\n\r\n", 405 },
	{ "GET  / HTTP/1.1\r\n\r\n", 400 },
	{ "GET / HTTP/2.0\r\n\r\n", 400 },
	{ "GET / HTTP/1.1 \r\n\r\n", 400 },
	{ "GET http://x/ HTTP/1.1\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nno colon\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n: x\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\na b: x\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\nHost: a\n\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nX: \x01\r\n\r\n", 400 },
	{ "\r\n\r\n", 400 },
	{ "\r\n\r\n\r\n", 400 },
};

START_TEST(a_probe_that_is_no_request_is_refused)
{
	char got[2048], *body;
	static char much[16384];

	NEEDS_RIGHTS();
	given_agent("");
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
		verb_ask(&agent, 1, requests[i].request, strlen(requests[i].request), got,
			 sizeof got);
		ck_assert_msg(!strncmp(got, "HTTP/1.1 ", 9) && atoi(got + 9) == requests[i].status,
			      "%s: %.40s", requests[i].request, got);
		must_have(got, "\r\nX-Content-Type-Options: nosniff\r\n");
		body = strstr(got, "\r\n\r\n");
		ck_assert_ptr_nonnull(body);
		ck_assert_int_eq(body[4] == '\0', !strncmp(requests[i].request, "HEAD", 4));
	}
	memset(much, 'x', sizeof much);
	memcpy(much, "GET /", 5);
	verb_ask(&agent, 1, much, sizeof much, got, sizeof got);
	ck_assert_msg(!strncmp(got, "HTTP/1.1 431 ", 13), "%s", got);
	verb_ask(&agent, 1, "GET / HTTP/1.1\r\nX: \0\r\n\r\n", 24, got, sizeof got);
	ck_assert_msg(!strncmp(got, "HTTP/1.1 400 ", 13), "%s", got);
	over();
}
END_TEST

START_TEST(what_cannot_be_served_says_what_to_do)
{
	int fd, on = 1;
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof in;
	char words[64];

	NEEDS_RIGHTS();
	must("load web");
	fails_with(MISUSED, "--listen [ADDR:]PORT", "agent web");
	fails_with(MISUSED, "--allow-remote", "agent web --listen 0.0.0.0:0");
	fails_with(MISUSED, "--allow-remote", "agent web --listen :0");
	fails_with(MISUSED, "--allow-remote", "agent web --http [::]:0");
	fails_with(MISUSED, "--allow-remote", "agent web --listen 127.0.0.1.example:0");
	fails_with(MISUSED, "--listen 127.0.0.1:", "agent web --listen 127.0.0.1:");
	fails_with(MISUSED, "--full takes a number", "agent web --listen 0 --full 0");
	fails_with(MISUSED, "--workers takes a number", "agent web --listen 0 --workers x");
	fails_with(MISUSED, "-w takes seconds", "agent web --listen 0 -w x");
	fails_with(ABSENT, "no service other", "agent other --listen 0");

	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	snprintf(words, sizeof words, "agent web --listen %d", ntohs(in.sin_port));
	fails_with(BUSY, "take another port", words);
	close(fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "npsteer_agent");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_test(t, workers_that_have_nothing_to_do_are_up_by_all);
	tcase_add_test(t, a_crowd_that_says_nothing_keeps_nobody_from_an_answer);
	tcase_add_test(t, one_that_takes_nothing_out_of_its_queue_counts_as_none);
	tcase_add_test(t, a_drain_and_a_kick_are_said_at_once_and_taken_back);
	tcase_add_test(t, a_service_that_goes_is_down_and_is_seen_when_it_is_there_again);
	tcase_add_test(t, a_probe_that_is_no_request_is_refused);
	tcase_add_test(t, what_cannot_be_served_says_what_to_do);
}
