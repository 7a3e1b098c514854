/* SPDX-License-Identifier: BSD-2-Clause */
/* hog: a handler that keeps its thread is counted each time and named once. Public headers only. */
#include <arpa/inet.h>
#include <netpoll/conn.h>
#include <netpoll/server.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define LIMIT_MS 20

static int limit_ms;

static void given_limit(int ms)
{
	limit_ms = ms;
	given_pollers(
		NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF, .hog_ms = ms, .log = keep_log));
}

static void setup(void)
{
	given_limit(LIMIT_MS);
}

static struct np_pollers_stats stats(void)
{
	struct np_pollers_stats st;

	np_pollers_stats_init(&st);
	ck_assert_int_eq(np_pollers_stats(pollers, &st), 0);
	return st;
}

/* On the poller: it is over its limit, by the clock of a test. */
static void keep_the_thread(void)
{
	uint64_t until = now_ms() + (uint64_t)(limit_ms > 0 ? limit_ms : LIMIT_MS) + 10;

	while (now_ms() < until)
		;
}

static int hog(void *arg)
{
	keep_the_thread();
	return 0;
}

static int second_hog(void *arg)
{
	keep_the_thread();
	return 1;
}

static int nothing(void *arg)
{
	return 0;
}

/* What a turn was is known when the next one begins. */
static void run(int (*fn)(void *))
{
	np_run(pollers, fn, NULL);
	np_run(pollers, nothing, NULL);
}

START_TEST(a_hog_is_named_once_and_counted_each_time)
{
	for (int i = 0; i < 3; i++)
		run(hog);

	ck_assert_uint_eq(log_names(hog), 1);
	ck_assert_uint_ge(stats().hogs, 3);
	ck_assert_uint_ge(stats().slow_turns, 3);
}
END_TEST

START_TEST(each_hog_is_named)
{
	run(hog);
	run(second_hog);
	ck_assert_uint_eq(log_names(hog), 1);
	ck_assert_uint_eq(log_names(second_hog), 1);
}
END_TEST

#define LONG_MS 500 /* no other process keeps this one off the CPU for as long */

static int sleeps_long(void *arg)
{
	return np_sleep(LONG_MS + 100);
}

START_TEST(who_waits_is_no_hog)
{
	end_pollers();
	given_limit(LONG_MS);
	run(sleeps_long);
	ck_assert_uint_eq(log_names(sleeps_long), 0);
	ck_assert_uint_eq(stats().slow_turns, 0);
}
END_TEST

static int hogs_after_a_wait(void *arg)
{
	ck_assert_int_eq(np_sleep(1), 0);
	keep_the_thread();
	return np_sleep(1);
}

START_TEST(a_hog_that_has_waited_before_is_named)
{
	run(hogs_after_a_wait);
	ck_assert_uint_eq(log_names(hogs_after_a_wait), 1);
}
END_TEST

static int two_in_a_turn(void *arg)
{
	struct np_task *a = given_task(NP_HERE, nothing, NULL);
	struct np_task *b = given_task(NP_HERE, hog, NULL);
	struct np_task *c = given_task(NP_HERE, nothing, NULL);

	joined(a);
	joined(b);
	return joined(c);
}

/* After the first time each is timed for a second: the next comes within it, unless the machine
 * stands still. */
START_TEST(a_hog_among_others_is_named_when_it_comes_again)
{
	uint64_t end = now_ms() + AWAIT_MS;

	run(two_in_a_turn);
	ck_assert_uint_eq(in_log("for a while each of them is timed"), 1);

	do
		run(two_in_a_turn);
	while (!log_names(hog) && now_ms() < end);
	ck_assert_uint_eq(log_names(hog), 1);
	ck_assert_uint_eq(in_log("for a while each of them is timed"), 1);
}
END_TEST

static struct np_event *done;

static void hog_on_main(void *arg)
{
	keep_the_thread();
	np_event_set(done);
}

static int start_hog_timer(void *arg)
{
	return np_timer_start(1, hog_on_main, NULL, NULL);
}

START_TEST(timers_and_posts_are_named_too)
{
	ck_assert_int_eq(np_event_new(&done), 0);
	run(start_hog_timer);
	ck_assert_int_eq(np_event_wait(done, AWAIT_MS), 0);

	ck_assert_int_eq(np_post(pollers, 0, hog_on_main, NULL), 0);
	ck_assert_int_eq(np_event_wait(done, AWAIT_MS), 0);
	run(nothing);
	ck_assert_uint_eq(log_names(hog_on_main), 1);
	np_event_free(&done);
}
END_TEST

static int hog_request(struct np_conn *c, void *arg)
{
	size_t n = np_conn_len(c);

	keep_the_thread();
	ck_assert_int_eq(np_conn_skip(c, n), 0);
	ck_assert_int_eq(np_conn_write(c, "!", 1), 0);
	return np_conn_flush(c);
}

START_TEST(a_connections_handler_is_named)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = hog_request };
	struct sockaddr_storage ss;
	struct np_server *s;
	socklen_t len;
	char answer;
	int fd;

	if (under_handoff())
		SKIP("a handler that is left alone keeps no poller, and is no hog");
	serve_at(&s, &h, NULL, NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), "tcp",
		 "127.0.0.1:0");
	ck_assert_int_eq(np_server_addr(s, 0, &ss, &len), 0);
	fd = peer_connect(&ss, len);
	for (int i = 0; i < 2; i++) {
		peer_send(fd, "x", 1);
		peer_recv(fd, &answer, 1);
		run(nothing);
	}
	peer_close(&fd);

	ck_assert_uint_eq(log_names(hog_request), 1);
	serve_over(&s);
}
END_TEST

static _Atomic(bool) let_go;

static int never_returns(struct np_conn *c, void *arg)
{
	np_conn_set_tag(c, "GET /never");
	if (arg && np_sleep(1) < 0) /* a fiber that has waited is still its connection's */
		return -1;
	while (!let_go)
		;
	return -1;
}

/* Nothing on the poller runs then that could say so. */
START_TEST(one_that_does_not_return_is_named_with_its_connection_while_it_lasts)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = never_returns };
	struct sockaddr_storage ss, own;
	char whose[64], who[40];
	struct np_server *s;
	socklen_t len;
	int fd;

	if (under_handoff())
		SKIP("a handler that is left alone keeps no poller, and is no hog");
	serve_at(&s, &h, _i ? &let_go : NULL, NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), "tcp",
		 "127.0.0.1:0");
	ck_assert_int_eq(np_server_addr(s, 0, &ss, &len), 0);
	fd = peer_connect(&ss, len);
	len = sizeof own;
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&own, &len), 0);
	peer_send(fd, "x", 1);

	AWAIT(in_log("has not returned"));
	snprintf(whose, sizeof whose, ", 127.0.0.1:%d), which",
		 ntohs(((struct sockaddr_in *)&own)->sin_port));
	snprintf(who, sizeof who, "by %p ", (void *)never_returns);
	ck_assert_uint_eq(in_log(whose), 1);
	ck_assert_uint_eq(in_log(who), 1);
	ck_assert_uint_eq(in_log(" (\"GET /never\") (descriptor "), 1);
	let_go = true;
	peer_close(&fd);
	serve_over(&s);
}
END_TEST

/* ------------------------------------------------------------------ routes, and whose they are */

static struct np_server *server;

/* All routes are this function; the byte is the path. */
static int route(struct np_conn *c, void *arg)
{
	static const struct {
		char path;
		const char *tag;
		bool slow, aborts;
	} routes[] = {
		{ 'a', "GET /a", true, false },
		{ 'b', "GET /b", true, false },
		{ 'f', "GET /fast", false, false },
		{ 'x', "GET /exit", true, true },
	};
	const void *p;
	unsigned i = 0;
	int r = np_conn_next(c, 1, &p);

	if (r < 0)
		return r;
	while (routes[i].path != *(const char *)p)
		i++;
	np_conn_set_tag(c, routes[i].tag);
	if (routes[i].slow)
		keep_the_thread();
	if (routes[i].aborts)
		np_conn_abort(c);
	else
		np_conn_write(c, "!", 1);
	return routes[i].aborts ? -1 : np_conn_flush(c);
}

static const struct np_handlers router = { .sz = sizeof router, .on_request = route };

/* At level 0, with the kernel's hash: nothing is published there. */
static int given_client(char *ret_address, size_t cap)
{
	struct sockaddr_storage ss;
	struct sockaddr_in own;
	socklen_t len;
	int fd;

	serve_at(&server, &router, NULL, NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), "tcp",
		 "127.0.0.1:0");
	ck_assert_int_eq(np_server_addr(server, 0, &ss, &len), 0);
	fd = peer_connect(&ss, len);
	len = sizeof own;
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&own, &len), 0);
	snprintf(ret_address, cap, ", 127.0.0.1:%d) kept", ntohs(own.sin_port));
	return fd;
}

static void ask(int fd, const char *paths)
{
	char answers[8];

	peer_send(fd, paths, strlen(paths));
	peer_recv(fd, answers, strlen(paths));
	run(nothing);
}

static void server_over(int *fd)
{
	peer_close(fd);
	serve_over(&server);
}

START_TEST(each_route_of_one_function_is_named_with_its_connection)
{
	char whose[64];
	int fd;

	if (under_handoff())
		SKIP("a handler that is left alone keeps no poller, and is no hog");
	fd = given_client(whose, sizeof whose);
	for (int i = 0; i < 2; i++) {
		ask(fd, "a");
		ask(fd, "b");
	}
	ck_assert_uint_eq(in_log(" (\"GET /a\") (descriptor "), 1);
	ck_assert_uint_eq(in_log(" (\"GET /b\") (descriptor "), 1);
	ck_assert_uint_eq(in_log(whose), 2);
	ck_assert_uint_ge(stats().hogs, 4);
	server_over(&fd);
}
END_TEST

/* Requests of one batch are one dispatch: none is named for what another did. */
START_TEST(in_a_batch_the_slow_one_is_named)
{
	uint64_t end = now_ms() + AWAIT_MS;
	char whose[64];
	int fd;

	if (under_handoff())
		SKIP("a handler that is left alone keeps no poller, and is no hog");
	end_pollers();
	given_limit(LONG_MS);
	fd = given_client(whose, sizeof whose);
	do
		ask(fd, "faf");
	while (!log_names(route) && now_ms() < end);
	ck_assert_uint_eq(in_log("for a while each of them is timed"), 1);
	ck_assert_uint_eq(in_log(" (\"GET /a\") (descriptor "), 1);
	ck_assert_uint_eq(in_log("GET /fast"), 0);
	server_over(&fd);
}
END_TEST

/* When the line is written its descriptor is closed, and the number may be another's. */
START_TEST(a_hog_that_ends_its_connection_is_named_with_it)
{
	char whose[64];
	int fd;

	if (under_handoff())
		SKIP("a handler that is left alone keeps no poller, and is no hog");
	fd = given_client(whose, sizeof whose);
	peer_send(fd, "x", 1);
	ck_assert_uint_eq(peer_drain(fd), 0);
	run(nothing);
	ck_assert_uint_eq(in_log(" (\"GET /exit\") (descriptor "), 1);
	ck_assert_uint_eq(in_log(whose), 1);
	server_over(&fd);
}
END_TEST

START_TEST(where_it_is_off_none_is_counted)
{
	end_pollers();
	given_limit(-1);
	run(hog);
	run(hog);
	ck_assert_uint_eq(stats().hogs + stats().slow_turns, 0);
	ck_assert_uint_eq(log_names(hog), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "hog");

	tcase_add_checked_fixture(tc, setup, end_pollers);
	tcase_add_test(tc, a_hog_is_named_once_and_counted_each_time);
	tcase_add_test(tc, each_hog_is_named);
	tcase_add_test(tc, who_waits_is_no_hog);
	tcase_add_test(tc, a_hog_that_has_waited_before_is_named);
	tcase_add_test(tc, a_hog_among_others_is_named_when_it_comes_again);
	tcase_add_test(tc, timers_and_posts_are_named_too);
	tcase_add_test(tc, a_connections_handler_is_named);
	tcase_add_loop_test(
		tc, one_that_does_not_return_is_named_with_its_connection_while_it_lasts, 0, 2);
	tcase_add_test(tc, each_route_of_one_function_is_named_with_its_connection);
	tcase_add_test(tc, in_a_batch_the_slow_one_is_named);
	tcase_add_test(tc, a_hog_that_ends_its_connection_is_named_with_it);
	tcase_add_test(tc, where_it_is_off_none_is_counted);
}
