/* SPDX-License-Identifier: BSD-2-Clause */
/* callbacks: when each handler of netpoll/handlers.h runs, and what it may do there */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/pollers.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define NOTHING 12345

static struct {
	_Atomic(int) requests, others, disconnects, closes, cancelled, result, why;
	_Atomic(struct np_conn *) conn; /* with a reference */
} saw;

static void on_close(struct np_conn *c, void *arg)
{
	saw.why = np_conn_error(c);
	saw.closes++;
}

static void given(const struct np_handlers *h)
{
	saw.result = NOTHING;
	serve(2, h, NULL, NULL);
}

static int skip_all(struct np_conn *c)
{
	return np_conn_skip(c, np_conn_len(c));
}

static int echo_one(struct np_conn *c)
{
	const void *p;
	int r = np_conn_next(c, 1, &p);

	if (r == 0)
		r = np_conn_write(c, p, 1);
	np_conn_release(c);
	return r < 0 ? r : np_conn_flush(c);
}

/* ------------------------------------------------------------------ on_connect */

static int echo_in_connect(struct np_conn *c, void *arg)
{
	int r;

	while ((r = echo_one(c)) == 0)
		;
	saw.result = r;
	return 0;
}

START_TEST(on_connect_may_talk_for_as_long_as_it_likes_and_ends_with_the_peer)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = echo_in_connect,
					      .on_close = on_close };
	int fd;

	given(&h);
	fd = serve_connect(0);
	for (int i = 0; i < 1024; i++)
		peer_echo(fd, (char)i);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.result, -NP_EEOF);
	serve_end();
}
END_TEST

static int say_no(struct np_conn *c, void *arg)
{
	skip_all(c);
	return -EPROTO;
}

static const struct np_handlers failing[] = {
	{ .sz = sizeof(struct np_handlers), .on_connect = say_no, .on_close = on_close },
	{ .sz = sizeof(struct np_handlers), .on_request = say_no, .on_close = on_close },
};

/* What a panic is in Go. */
START_TEST(a_handler_that_fails_closes_its_connection_and_says_why)
{
	int fd;

	given(&failing[_i]);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -EPROTO);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ on_disconnect */

#define PEERS 100

static int wait_for_the_event(struct np_conn *c, void *arg)
{
	struct np_event *e = np_conn_data(c);

	skip_all(c);
	saw.requests++;
	if (np_event_wait(e, AWAIT_MS) == 0)
		saw.cancelled++;
	return 0;
}

static int make_an_event(struct np_conn *c, void *arg)
{
	struct np_event *e;

	if (np_event_new(&e) < 0)
		return -ENOMEM;
	np_conn_set_data(c, e);
	return 0;
}

static void set_the_event(struct np_conn *c, void *arg)
{
	saw.disconnects++;
	np_event_set(np_conn_data(c));
}

static void free_the_event(struct np_conn *c, void *arg)
{
	struct np_event *e = np_conn_data(c);

	np_event_free(&e);
	saw.closes++;
}

/* Data set in on_connect is there, and the request that waits is told at once, not when it would
 * have ended. */
START_TEST(on_disconnect_of_a_hundred_peers_cancels_their_requests)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = make_an_event,
					      .on_request = wait_for_the_event,
					      .on_disconnect = set_the_event,
					      .on_close = free_the_event };
	int fd[PEERS];

	given(&h);
	for (int i = 0; i < PEERS; i++) {
		fd[i] = serve_connect(0);
		peer_send(fd[i], "x", 1);
	}
	AWAIT(saw.requests == PEERS);
	for (int i = 0; i < PEERS; i++)
		peer_close(&fd[i]);
	AWAIT(saw.closes == PEERS);
	ck_assert_int_eq(saw.disconnects, PEERS);
	ck_assert_int_eq(saw.cancelled, PEERS);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ set_on_request */

static int other_request(struct np_conn *c, void *arg)
{
	saw.others++;
	return skip_all(c);
}

static void set_other(struct np_conn *c, void *arg)
{
	np_conn_set_on_request(c, other_request, NULL);
}

static int keep_it(struct np_conn *c, void *arg)
{
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	return 0;
}

/* netpoll set after the data had come, and never called. */
START_TEST(on_request_set_while_input_waits_is_called_at_once)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = keep_it,
					      .on_close = on_close };
	int fd;

	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "waits", 5);
	AWAIT(saw.conn);
	np_conn_post(saw.conn, set_other, NULL);
	AWAIT(saw.others == 1);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int hand_over(struct np_conn *c, void *arg)
{
	saw.requests++;
	np_conn_set_on_request(c, other_request, NULL);
	return np_conn_skip(c, 1);
}

static int look_and_hand_over(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_peek(c, 1, &p);

	saw.requests++;
	return r < 0 ? r : np_conn_set_on_request(c, other_request, NULL);
}

/* As one does that only looks which protocol it is. */
START_TEST(on_request_set_by_itself_takes_all_of_what_it_has_left_alone)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = look_and_hand_over,
					      .on_close = on_close };
	int fd;

	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "12", 2);
	AWAIT(saw.others == 1);
	ck_assert_int_eq(saw.requests, 1);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static int set_itself(struct np_conn *c, void *arg)
{
	saw.requests++;
	return np_conn_set_on_request(c, set_itself, NULL);
}

/* It is the same one: what it leaves alone waits for more. */
START_TEST(on_request_that_sets_itself_again_is_not_called_for_the_same_bytes_for_ever)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = set_itself,
					      .on_close = on_close };
	int fd;

	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(saw.requests);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_le(saw.requests, 4);
	serve_end();
}
END_TEST

START_TEST(on_request_set_by_itself_takes_the_rest_of_the_input)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = hand_over,
					      .on_close = on_close };
	int fd;

	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "12", 2);
	AWAIT(saw.others == 1);
	peer_send(fd, "3", 1);
	AWAIT(saw.others == 2);
	ck_assert_int_eq(saw.requests, 1);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ the end */

static int write_after_close(struct np_conn *c, void *arg)
{
	const void *r;
	void *p;
	int bad = 0;

	skip_all(c);
	np_conn_close(c);
	bad += np_conn_write(c, "x", 1) != -NP_ECLOSED;
	bad += np_conn_reserve(c, 1, &p) != -NP_ECLOSED;
	bad += np_conn_trim(c, 0) != -NP_ECLOSED;
	bad += np_conn_write_ref(c, "x", 1, NULL, NULL) != -NP_ECLOSED;
	bad += np_conn_write_direct(c, "x", 1, 0, NULL, NULL) != -NP_ECLOSED;
	bad += np_conn_flush(c) != -NP_ECLOSED;
	bad += np_conn_sync(c) != -NP_ECLOSED;
	bad += np_conn_sendfile(c, 0, 0, 1) != -NP_ECLOSED;
	bad += np_conn_out(c) != NULL;
	bad += np_conn_next(c, 100, &r) != -NP_ECLOSED;
	bad += np_conn_is_active(c);
	saw.result = bad;
	return 0;
}

START_TEST(after_close_every_verb_that_writes_or_waits_returns_its_code)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = write_after_close,
					      .on_close = on_close };
	int fd;

	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.result, 0);
	serve_end();
}
END_TEST

static int wait_for_four(struct np_conn *c, void *arg)
{
	const void *p;

	if (!saw.requests++)
		saw.result = np_conn_next(c, 4, &p);
	else
		saw.others = np_conn_next(c, 4, &p);
	return 0;
}

START_TEST(a_read_that_waits_gets_the_bytes_that_came_with_the_close)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = wait_for_four,
					      .on_close = on_close };
	int fd;

	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(saw.requests == 1);
	peer_send(fd, "234", 3);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.result, 0);
	ck_assert_int_eq(saw.why, -NP_EEOF);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ who takes little or nothing */

static int take_nothing(struct np_conn *c, void *arg)
{
	saw.requests++;
	saw.result = (int)np_conn_len(c);
	return 0;
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	saw.disconnects++;
}

static void given_small(int (*on_request)(struct np_conn *, void *))
{
	static struct np_handlers h;

	h = (struct np_handlers){ .sz = sizeof h,
				  .on_request = on_request,
				  .on_disconnect = on_disconnect,
				  .on_close = on_close };
	saw.result = NOTHING;
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .limits.in_high = 100));
}

/* Its FIN lies behind bytes that are not read, because the input in front of them is full. */
START_TEST(a_peer_that_left_behind_a_full_input_that_nobody_takes_is_let_go)
{
	static char bytes[300];
	int fd;

	given_small(take_nothing);
	fd = serve_connect(0);
	peer_send(fd, bytes, sizeof bytes);
	AWAIT(saw.result == 100);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_ge(saw.requests, 2); /* once more at the end */
	ck_assert_int_eq(saw.why, -NP_EEOF);
	serve_end();
}
END_TEST

static int take_nothing_and_keep_it(struct np_conn *c, void *arg)
{
	keep_it(c, arg);
	return take_nothing(c, arg);
}

static void take_outside(struct np_conn *c, void *arg)
{
	saw.others = skip_all(c) == 0;
}

/* What was taken by others meanwhile does not count against what comes. */
START_TEST(who_took_nothing_is_called_for_the_next_byte_though_others_took_all_before)
{
	int fd;

	given_small(take_nothing_and_keep_it);
	fd = serve_connect(0);
	peer_send(fd, "1234", 4);
	AWAIT(saw.result == 4);
	np_conn_post(saw.conn, take_outside, NULL);
	AWAIT(saw.others == 1);
	peer_send(fd, "5", 1);
	AWAIT(saw.result == 1);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static int want_a_hundred(struct np_conn *c, void *arg)
{
	keep_it(c, arg);
	if (saw.requests++ == 0)
		return np_conn_want(c, 100);
	saw.result = (int)np_conn_len(c);
	return skip_all(c);
}

static void want_less(struct np_conn *c, void *arg)
{
	np_conn_want(c, 4);
}

START_TEST(what_is_wanted_and_there_already_calls_it_at_once)
{
	int fd;

	given_small(want_a_hundred);
	fd = serve_connect(0);
	peer_send(fd, "1234", 4);
	AWAIT(saw.requests == 1);
	np_conn_post(saw.conn, want_less, NULL);
	AWAIT(saw.result == 4);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static void pause_it(struct np_conn *c, void *arg)
{
	np_conn_pause_read(c);
	saw.others++;
}

static void resume_it(struct np_conn *c, void *arg)
{
	np_conn_resume_read(c);
}

/* The pause hides neither that the input is full nor that the peer has left. */
START_TEST(and_so_is_one_that_left_while_it_was_paused_as_soon_as_it_is_resumed)
{
	static char bytes[300];
	int fd;

	given_small(take_nothing_and_keep_it);
	fd = serve_connect(0);
	peer_send(fd, bytes, sizeof bytes);
	AWAIT(saw.result == 100);
	np_conn_post(saw.conn, pause_it, NULL);
	AWAIT(saw.others == 1);
	peer_close(&fd);
	AWAIT(saw.disconnects == 1);
	np_conn_post(saw.conn, resume_it, NULL);
	AWAIT(saw.closes == 1);
	ck_assert_int_ge(saw.requests, 2);
	np_conn_unref(saw.conn);
	serve_end();
}
END_TEST

static int sleep_at_the_end(struct np_conn *c, void *arg)
{
	if (saw.requests)
		np_sleep(50);
	return take_nothing(c, arg);
}

START_TEST(and_one_whose_last_call_takes_its_time)
{
	static char bytes[300];
	int fd;

	given_small(sleep_at_the_end);
	fd = serve_connect(0);
	peer_send(fd, bytes, sizeof bytes);
	AWAIT(saw.result == 100);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.requests, 2);
	serve_end();
}
END_TEST

static int take_at_the_end(struct np_conn *c, void *arg)
{
	if (saw.requests++ == 0)
		return 0;
	saw.others += (int)np_conn_len(c);
	return skip_all(c);
}

START_TEST(who_takes_it_at_that_last_call_gets_all_of_it)
{
	static char bytes[300];
	int fd;

	given_small(take_at_the_end);
	fd = serve_connect(0);
	peer_send(fd, bytes, sizeof bytes);
	AWAIT(saw.requests == 1);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.others, 300);
	serve_end();
}
END_TEST

static int take_one(struct np_conn *c, void *arg)
{
	if (saw.requests++ < 4)
		return np_conn_skip(c, 1);
	saw.others = (int)np_conn_len(c);
	return 0;
}

/* A release build puts the release off until there is a block's worth: not while reading waits for
 * it. */
START_TEST(who_takes_a_little_of_a_full_input_is_called_when_that_much_came)
{
	static char bytes[300];
	int fd;

	given_small(take_one);
	fd = serve_connect(0);
	peer_send(fd, bytes, sizeof bytes);
	AWAIT(saw.requests > 5 && saw.others == 100);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "callbacks");

	tcase_add_test(t, on_connect_may_talk_for_as_long_as_it_likes_and_ends_with_the_peer);
	tcase_add_loop_test(t, a_handler_that_fails_closes_its_connection_and_says_why, 0, 2);
	tcase_add_test(t, on_disconnect_of_a_hundred_peers_cancels_their_requests);
	tcase_add_test(t, on_request_set_while_input_waits_is_called_at_once);
	tcase_add_test(t, on_request_set_by_itself_takes_the_rest_of_the_input);
	tcase_add_test(t, on_request_set_by_itself_takes_all_of_what_it_has_left_alone);
	tcase_add_test(t,
		       on_request_that_sets_itself_again_is_not_called_for_the_same_bytes_for_ever);
	tcase_add_test(t, after_close_every_verb_that_writes_or_waits_returns_its_code);
	tcase_add_test(t, a_read_that_waits_gets_the_bytes_that_came_with_the_close);
	tcase_add_test(t,
		       who_took_nothing_is_called_for_the_next_byte_though_others_took_all_before);
	tcase_add_test(t, what_is_wanted_and_there_already_calls_it_at_once);
	tcase_add_test(t, a_peer_that_left_behind_a_full_input_that_nobody_takes_is_let_go);
	tcase_add_test(t, and_so_is_one_that_left_while_it_was_paused_as_soon_as_it_is_resumed);
	tcase_add_test(t, and_one_whose_last_call_takes_its_time);
	tcase_add_test(t, who_takes_it_at_that_last_call_gets_all_of_it);
	tcase_add_test(t, who_takes_a_little_of_a_full_input_is_called_when_that_much_came);
}
