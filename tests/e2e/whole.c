/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * whole: a limit holds for the whole of what it bounds, and not for each piece that a peer cuts it
 * into
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define NOTHING 12345
#define MIB     (1u << 20)

static struct {
	_Atomic(int) requests, closes, result, why;
	_Atomic(size_t) bytes, lines;
} saw;

static void on_close(struct np_conn *c, void *arg)
{
	saw.why = np_conn_error(c);
	saw.closes++;
}

static void given(int (*on_request)(struct np_conn *, void *), const struct np_server_opts *o)
{
	static struct np_handlers h;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = on_request, .on_close = on_close };
	saw.result = NOTHING;
	serve(1, &h, NULL, o);
}

/*
 * A byte every 20 ms until the server has come to a result, or a thousand of them. Return: how many
 * it took.
 */
static int drip(int fd)
{
	int n;

	for (n = 0; n < 1000 && saw.result == NOTHING && send(fd, "x", 1, MSG_NOSIGNAL) == 1; n++)
		poll(NULL, 0, 20);
	return n;
}

/* ------------------------------------------------------------------ until */

static int read_a_line(struct np_conn *c, void *arg)
{
	const void *p;
	size_t n;
	int r = np_conn_until(c, '\n', 16 * MIB, &p, &n);

	saw.bytes = r == 0 ? n : 0;
	saw.result = r;
	return r;
}

START_TEST(a_read_timeout_of_a_line_is_not_stretched_by_a_byte_now_and_then)
{
	int fd, n;

	given(read_a_line, NP_OPTS(np_server_opts, .read_timeout_ms = 300));
	fd = serve_connect(0);
	n = drip(fd);
	ck_assert_int_eq(saw.result, -NP_EREADTIMEOUT);
	ck_assert_int_lt(n, 150);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

/* Sixteen times in_high; searched from its start for each byte, it would take minutes. */
START_TEST(a_line_far_above_in_high_is_read_in_one_walk)
{
	char *line = malloc(4 * MIB);
	int fd;

	memset(line, 'l', 4 * MIB);
	line[4 * MIB - 1] = '\n';
	given(read_a_line, NULL);
	fd = serve_connect(0);
	peer_send(fd, line, 4 * MIB);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, 0);
	ck_assert_uint_eq(saw.bytes, 4 * MIB);
	free(line);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* Line k has k % 61 bytes before its newline. */
static int check_lines(struct np_conn *c, void *arg)
{
	const char *p;
	size_t n;
	int r = np_conn_until(c, '\n', 64, (const void **)&p, &n);

	if (r == 0 && (n != saw.lines % 61 + 1 || p[n - 1] != '\n' || memchr(p, '\n', n - 1)))
		r = -EBADMSG;
	if (r == 0)
		saw.lines++;
	else
		saw.result = r;
	return r;
}

START_TEST(lines_longer_and_shorter_than_in_high_keep_their_bounds_in_any_pieces)
{
	enum { LINES = 5000 };
	static char all[LINES * 61];
	size_t len = 0;
	int fd;

	for (int k = 0; k < LINES; k++) {
		memset(all + len, 'a' + k % 26, (size_t)(k % 61));
		len += (size_t)(k % 61);
		all[len++] = '\n';
	}
	given(check_lines, NP_OPTS(np_server_opts, .limits.in_high = 16));
	fd = serve_connect(0);
	for (size_t at = 0, k; at < len; at += k) {
		k = 1 + at * 7 % 97;
		k = k < len - at ? k : len - at;
		peer_send(fd, all + at, k);
	}
	AWAIT(saw.lines == LINES || saw.result != NOTHING);
	ck_assert_int_eq(saw.result, NOTHING);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ a request */

/* Every wait is short; the request is long. */
static int read_for_ever(struct np_conn *c, void *arg)
{
	char b;
	ssize_t n;

	saw.requests++;
	while ((n = np_conn_read(c, &b, 1)) == 1)
		;
	saw.result = (int)n;
	return (int)n;
}

static const struct np_server_opts short_request = { .sz = sizeof short_request,
						     .request_timeout_ms = 300 };

START_TEST(a_request_timeout_is_not_stretched_by_a_drip)
{
	int fd, n;

	given(read_for_ever, &short_request);
	fd = serve_connect(0);
	n = drip(fd);
	ck_assert_int_eq(saw.result, -ETIMEDOUT);
	ck_assert_int_lt(n, 150);
	peer_drain(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -ETIMEDOUT);
	serve_end();
}
END_TEST

/* Returns each time: the request that it asks more for is still the same. */
static int want_more(struct np_conn *c, void *arg)
{
	saw.requests++;
	return np_conn_want(c, np_conn_len(c) + 1);
}

START_TEST(nor_where_the_handler_returns_and_asks_for_more)
{
	int fd, n;

	given(want_more, &short_request);
	fd = serve_connect(0);
	for (n = 0; n < 1000 && !saw.why && send(fd, "x", 1, MSG_NOSIGNAL) == 1; n++)
		poll(NULL, 0, 20);
	peer_drain(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -ETIMEDOUT);
	ck_assert_int_gt(saw.requests, 1);
	ck_assert_int_lt(n, 1000);
	serve_end();
}
END_TEST

static int answer(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 1);

	saw.requests++;
	if (r == 0)
		r = np_conn_write(c, "a", 1);
	return r < 0 ? r : np_conn_flush(c);
}

/* Connections live longer than one request may, whether requests follow each other or not. */
START_TEST(requests_that_are_answered_in_time_may_go_on_for_longer)
{
	uint64_t end;
	char c;
	int fd;

	given(answer, &short_request);
	fd = serve_connect(0);
	for (end = now_ms() + 1000; now_ms() < end;) {
		peer_send(fd, "?", 1);
		peer_recv(fd, &c, 1);
		poll(NULL, 0, 5);
	}
	poll(NULL, 0, 700); /* and nothing is asked for a while */
	peer_send(fd, "??", 2);
	peer_recv(fd, &c, 1);
	peer_recv(fd, &c, 1);
	ck_assert_int_eq(saw.closes, 0);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* Four bytes are a request. */
static int answer_four(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 4);

	saw.requests++;
	if (r == 0)
		r = np_conn_write(c, "a", 1);
	return r < 0 ? r : np_conn_flush(c);
}

static int answer_four_or_want(struct np_conn *c, void *arg)
{
	return np_conn_len(c) < 4 ? np_conn_want(c, 4) : answer_four(c, arg);
}

static struct np_conn *held;

static int answer_four_from_elsewhere(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 4);

	if (r < 0)
		return r;
	saw.requests++;
	np_conn_hold(c);
	held = np_conn_ref(c);
	return 0;
}

static void answer_held(struct np_conn *c, void *arg)
{
	np_conn_write(c, "a", 1);
	np_conn_flush(c);
	np_conn_unhold(c);
	np_conn_unref(c);
}

/* It came with the request before it, and nothing more comes. */
START_TEST(the_beginning_of_the_next_request_is_bounded_from_the_answer_on)
{
	static int (*const ways[])(struct np_conn *, void *) = { answer_four, answer_four_or_want,
								 answer_four_from_elsewhere };
	char c;
	int fd;

	given(ways[_i], &short_request);
	fd = serve_connect(0);
	peer_send(fd,
		  "1234"
		  "56",
		  6);
	AWAIT(saw.requests);
	if (ways[_i] == answer_four_from_elsewhere) {
		AWAIT(held);
		np_conn_post(held, answer_held, NULL);
	}
	peer_recv(fd, &c, 1);
	peer_expect_eof(fd);
	AWAIT(saw.why);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -ETIMEDOUT);
	serve_end();
}
END_TEST

static int set_it_and_read_on(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 1);

	saw.requests++;
	np_conn_set_request_timeout(c, 100);
	return r < 0 ? r : np_conn_skip(c, 1);
}

START_TEST(a_request_timeout_set_by_the_handler_holds_for_the_request_it_handles)
{
	int fd;

	given(set_it_and_read_on, NULL);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -ETIMEDOUT);
	serve_end();
}
END_TEST

static int answer_later(struct np_conn *c, void *arg)
{
	np_conn_hold(c);
	return np_conn_skip(c, np_conn_len(c));
}

START_TEST(an_answer_that_is_owed_under_a_hold_is_bounded_as_well)
{
	int fd;

	given(answer_later, &short_request);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -ETIMEDOUT);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ main */

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "until");

	tcase_add_test(t, a_read_timeout_of_a_line_is_not_stretched_by_a_byte_now_and_then);
	tcase_add_test(t, a_line_far_above_in_high_is_read_in_one_walk);
	tcase_add_test(t, lines_longer_and_shorter_than_in_high_keep_their_bounds_in_any_pieces);
	t = add_case(s, "request");
	tcase_add_test(t, a_request_timeout_is_not_stretched_by_a_drip);
	tcase_add_test(t, nor_where_the_handler_returns_and_asks_for_more);
	tcase_add_test(t, requests_that_are_answered_in_time_may_go_on_for_longer);
	tcase_add_loop_test(t, the_beginning_of_the_next_request_is_bounded_from_the_answer_on, 0,
			    3);
	tcase_add_test(t, a_request_timeout_set_by_the_handler_holds_for_the_request_it_handles);
	tcase_add_test(t, an_answer_that_is_owed_under_a_hold_is_bounded_as_well);
}
