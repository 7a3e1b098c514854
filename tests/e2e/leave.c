/* SPDX-License-Identifier: BSD-2-Clause */
/* leave: a handler whose peer has left is cancelled, if it asked for that, and a connection that
 * is open behind the peer's FIN ends with the peer; who owns the input between wake and run */
#include <errno.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/pollers.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define NOTHING 12345

static struct {
	_Atomic(int) working, closes, result, second, left;
	_Atomic(struct np_conn *) conn; /* with a reference */
	_Atomic(bool) go_on;
	bool cancel, in_connect;
} saw;

static int work(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c));

	if (r == 0)
		r = np_conn_cancel_on_leave(c, saw.cancel);
	saw.working++;
	while (r == 0 && !saw.go_on)
		r = np_sleep(10);
	saw.result = r;
	if (r == 0)
		r = np_conn_write(c, "done", 4);
	return r < 0 ? r : np_conn_flush(c);
}

static void on_close(struct np_conn *c, void *arg)
{
	saw.closes++;
}

static int given_work(bool cancel, bool half_open)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = work,
					      .on_close = on_close };
	int fd;

	saw.cancel = cancel;
	saw.result = NOTHING;
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .half_open = half_open));
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	AWAIT(saw.working);
	return fd;
}

static void end(void)
{
	struct np_server_stats st = { .sz = sizeof st };

	AWAIT(saw.closes == 1);
	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_eq(st.handler_errors, 0);
	serve_end();
}

START_TEST(a_reset_cancels_the_work_for_it)
{
	int fd = given_work(true, _i);

	peer_reset(&fd);
	AWAIT(saw.result == -ECANCELED);
	end();
}
END_TEST

START_TEST(a_fin_cancels_it_as_well)
{
	int fd = given_work(true, false);

	peer_close(&fd);
	AWAIT(saw.result == -ECANCELED);
	end();
}
END_TEST

START_TEST(but_not_where_half_open_says_that_the_answer_is_still_wanted)
{
	int fd = given_work(true, true);
	char got[4];

	shutdown(fd, SHUT_WR);
	for (uint64_t until = now_ms() + 100; now_ms() < until;)
		test_pause();
	ck_assert_int_eq(saw.result, NOTHING);
	saw.go_on = true;
	peer_recv(fd, got, 4);
	ck_assert_mem_eq(got, "done", 4);
	peer_close(&fd);
	AWAIT(saw.result == 0);
	np_server_stop(serve_server, AWAIT_MS, NULL);
	end();
}
END_TEST

START_TEST(nor_where_nobody_asked_for_it)
{
	int fd = given_work(false, false);

	peer_reset(&fd);
	for (uint64_t until = now_ms() + 100; now_ms() < until;)
		test_pause();
	ck_assert_int_eq(saw.result, NOTHING);
	saw.go_on = true;
	AWAIT(saw.result == 0);
	end();
}
END_TEST

/* ------------------------------------------------------------------ behind the FIN */

static int take(struct np_conn *c, void *arg)
{
	if (saw.cancel)
		np_conn_hold(c);
	return np_conn_skip(c, np_conn_len(c));
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	saw.left++;
}

static const struct np_handlers taking = { .sz = sizeof taking,
					   .on_request = take,
					   .on_disconnect = on_disconnect,
					   .on_close = on_close };

/* Nothing is read and nothing written: no other call would find out. */
START_TEST(a_reset_behind_the_fin_ends_what_half_open_or_a_hold_has_kept)
{
	int fd;

	saw.cancel = _i;
	serve(1, &taking, NULL, NP_OPTS(np_server_opts, .half_open = !_i));
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	shutdown(fd, SHUT_WR);
	AWAIT(saw.left == 1);
	peer_reset(&fd);
	end();
	ck_assert_int_eq(saw.left, 1);
}
END_TEST

START_TEST(and_so_does_the_close_of_a_unix_socket)
{
	struct np_conn *c;
	int fd[2];

	saw.cancel = true;
	given_pollers(NULL);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ck_assert_int_eq(np_conn_from_fd(pollers, 0, &fd[0], &taking, NULL, &c), 0);
	peer_send(fd[1], "?", 1);
	shutdown(fd[1], SHUT_WR);
	AWAIT(saw.left == 1);
	ck_assert_int_eq(saw.closes, 0);
	peer_close(&fd[1]);
	AWAIT(saw.closes == 1);
	np_conn_unref(c);
	end_pollers();
}
END_TEST

/* ------------------------------------------------------------------ between wake and run */

static int read_two(struct np_conn *c)
{
	char b[2];

	return np_conn_wait(c, 2) ? -1 : (int)np_conn_read(c, b, 2);
}

static int first(struct np_conn *c, void *arg)
{
	saw.conn = np_conn_ref(c);
	saw.result = read_two(c);
	return 0;
}

/* Runs whenever it can: also between the first one's wake and its run. */
static int steal(void *arg)
{
	int n = -NP_ECONCURRENT;
	char b;

	while (saw.result == NOTHING && n == -NP_ECONCURRENT && np_yield() == 0)
		if (saw.result == NOTHING)
			n = (int)np_conn_read(saw.conn, &b, 1);
	saw.second = n;
	return 0;
}

START_TEST(what_a_reader_was_woken_for_is_taken_by_no_other)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = first,
					      .on_close = on_close };
	struct np_task *t;
	int fd, r;

	saw.result = saw.second = NOTHING;
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(saw.conn);
	ck_assert_int_eq(np_go(pollers, 0, steal, NULL, &t), 0);
	peer_send(fd, "2", 1);
	AWAIT(saw.second != NOTHING);
	ck_assert_int_eq(saw.second, -NP_ECONCURRENT);
	ck_assert_int_eq(saw.result, 2);
	ck_assert_int_eq(np_join(&t, &r), 0);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "cancel");

	tcase_add_loop_test(t, a_reset_cancels_the_work_for_it, 0, 2);
	tcase_add_test(t, a_fin_cancels_it_as_well);
	tcase_add_test(t, but_not_where_half_open_says_that_the_answer_is_still_wanted);
	tcase_add_test(t, nor_where_nobody_asked_for_it);
	t = add_case(s, "end");
	tcase_add_loop_test(t, a_reset_behind_the_fin_ends_what_half_open_or_a_hold_has_kept, 0, 2);
	tcase_add_test(t, and_so_does_the_close_of_a_unix_socket);
	t = add_case(s, "owner");
	tcase_add_test(t, what_a_reader_was_woken_for_is_taken_by_no_other);
}
