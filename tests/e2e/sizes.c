/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sizes: counts and codes beyond what a byte or two hold, messages beyond a limit; handlers that
 * fail are told of
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/steer.h"
#include "support/test.h"

#define MIB (1u << 20)

static struct {
	_Atomic(int) requests, closes, why, logged;
	_Atomic(struct np_conn *) conn; /* with a reference */
	int arg;
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
	serve(1, &h, NULL, o);
}

static int hold_often(struct np_conn *c, void *arg)
{
	for (int i = 0; i < saw.arg; i++)
		np_conn_hold(c);
	saw.conn = np_conn_ref(c);
	return np_conn_skip(c, np_conn_len(c));
}

static void answer(struct np_conn *c)
{
	struct np_linkbuf *b;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write(b, "a", 1), 0);
	ck_assert_int_eq(np_conn_send(c, &b), 0);
	np_conn_unhold(c);
}

static void answer_some(struct np_conn *c, void *arg)
{
	for (int n = (int)(intptr_t)arg; n; n--)
		answer(c);
}

START_TEST(as_many_answers_come_as_there_are_holds)
{
	static const int counts[] = { 1, 255, 256, 257, 65536 };
	static char got[65536];
	int n = counts[_i], fd;

	saw.arg = n;
	given(hold_often, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	shutdown(fd, SHUT_WR);
	AWAIT(saw.conn);
	for (int i = 0, k; i < n; i += k) {
		k = n - i < 64 ? n - i : 64;
		ck_assert_int_eq(np_conn_post(saw.conn, answer_some, (void *)(intptr_t)k), 0);
	}
	peer_recv(fd, got, (size_t)n);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	np_conn_unref(saw.conn);
	serve_end();
}
END_TEST

/* Each poller is a worker of the service, which has 256. Also where nothing is steered. */
START_TEST(of_256_pollers_each_listens_and_of_257_none)
{
	static const struct np_handlers nothing = { .sz = sizeof nothing,
						    .on_request = hold_often };
	static const enum np_steer_mode modes[] = { NP_STEER_OFF, NP_STEER_AUTO };
	int count = _i % 2 ? 257 : 256, r;
	struct np_pollers *p;
	struct np_server *s;

	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = count), &p), 0);
	ck_assert_int_eq(np_server_new(p, &nothing, NULL,
				       NP_OPTS(np_server_opts, .steer = modes[_i / 2]), &s),
			 0);
	for (int again = 0; again < 2; again++) {
		r = np_server_listen(s, "tcp", "127.0.0.1:0");
		ck_assert_msg(r == (count > 256 ? -ENOSPC : 0), "%d %s", r, np_server_error(s));
		ck_assert_msg(!r || strstr(np_server_error(s), "257 pollers"), "%s",
			      np_server_error(s));
	}
	ck_assert_int_eq(np_server_listen(s, "unix", "@sizes"), 0);
	ck_assert_int_eq(np_server_free(&s), 0);
	ck_assert_int_eq(np_pollers_stop(p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&p), 0);
}
END_TEST

/* One that others have filled: neither a listener nor half of the workers is left behind there. */
START_TEST(a_server_listens_once_its_service_has_a_worker_for_each_poller)
{
	static const struct np_handlers nothing = { .sz = sizeof nothing,
						    .on_request = hold_often };
	struct np_steer_worker *w[255];
	struct np_server *server;
	struct np_pollers *p;
	struct np_steer *s;

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	ck_assert_int_eq(np_steer_open("web", NULL, &s), 0);
	for (unsigned i = 0; i < 255; i++)
		ck_assert_int_eq(np_steer_worker(s, NULL, &w[i]), 0);
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 2), &p), 0);
	ck_assert_int_eq(np_server_new(p, &nothing, NULL, NP_OPTS(np_server_opts, .service = "web"),
				       &server),
			 0);
	for (int again = 0; again < 2; again++) {
		ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:7424"), -ENOSPC);
		ck_assert_msg(strstr(np_server_error(server), "all 256 workers") != NULL, "%s",
			      np_server_error(server));
	}
	ck_assert_int_eq(np_steer_worker_close(&w[7]), 0);
	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:7424"), 0);
	ck_assert_int_eq(np_server_free(&server), 0);
	ck_assert_int_eq(np_pollers_stop(p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&p), 0);
	for (unsigned i = 0; i < 255; i++)
		ck_assert_int_eq(np_steer_worker_close(&w[i]), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

static const int codes[] = { -1, -32768, -32769, -100000, INT32_MIN };

static int give_up(struct np_conn *c, void *arg)
{
	return codes[saw.arg];
}

START_TEST(what_a_handler_returned_is_told_whole)
{
	struct np_server_stats st = { .sz = sizeof st };
	int fd;

	saw.arg = _i;
	given(give_up, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, codes[_i]);
	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_eq(st.handler_errors, 1);
	ck_assert_uint_eq(st.cut, 0);
	serve_end();
}
END_TEST

static int until_the_end(struct np_conn *c, void *arg)
{
	const void *p;

	return np_conn_next(c, 100, &p);
}

START_TEST(a_peer_that_leaves_is_no_failure_of_a_handler)
{
	struct np_server_stats st = { .sz = sizeof st };
	int fd;

	given(until_the_end, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_eq(st.handler_errors, 0);
	serve_end();
}
END_TEST

static void on_log(void *arg, int level, const char *msg)
{
	if (strstr(msg, "-100000"))
		saw.logged++;
}

/* One line a second at most, with what was left out. */
START_TEST(handlers_that_fail_are_said_at_a_bounded_rate)
{
	enum { PEERS = 50 };
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = give_up,
					      .on_close = on_close };
	uint64_t began = now_ms();

	saw.arg = 3;
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .log = on_log));
	ck_assert_int_eq(np_server_new(pollers, &h, NULL, NULL, &serve_server), 0);
	ck_assert_int_eq(np_server_listen(serve_server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(serve_server), 0);
	for (int i = 0; i < PEERS; i++) {
		int fd = serve_connect(0);

		peer_send(fd, "?", 1);
		peer_expect_eof(fd);
		peer_close(&fd);
	}
	AWAIT(saw.closes == PEERS);
	ck_assert_int_ge(saw.logged, 1);
	ck_assert_uint_le(saw.logged, 2 + (now_ms() - began) / 1000);
	serve_over(&serve_server);
	end_pollers();
}
END_TEST

/* ------------------------------------------------------------------ messages */

static int keep(struct np_conn *c, void *arg)
{
	saw.conn = np_conn_ref(c);
	return np_conn_skip(c, np_conn_len(c));
}

static struct np_linkbuf *message(size_t n)
{
	char *p = calloc(1, n);
	struct np_linkbuf *b;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write(b, p, n), 0);
	free(p);
	return b;
}

START_TEST(a_message_above_send_high_is_taken_where_nothing_is_queued)
{
	struct np_linkbuf *first = message(8 * MIB), *second = message(8 * MIB);
	char *got = malloc(8 * MIB);
	int fd;

	given(keep, NP_OPTS(np_server_opts, .limits.send_high = 1 * MIB));
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	AWAIT(saw.conn);
	ck_assert_int_eq(np_conn_send(saw.conn, &first), 0);
	ck_assert_ptr_null(first);
	/* the first is in its way, and passes */
	ck_assert_int_eq(np_conn_send(saw.conn, &second), -EAGAIN);
	ck_assert_ptr_nonnull(second);
	peer_recv(fd, got, 8 * MIB);
	AWAIT(np_conn_send(saw.conn, &second) == 0);
	peer_recv(fd, got, 8 * MIB);
	free(got);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ a hold and the idle clock */

static void let_go(struct np_conn *c, void *arg)
{
	np_conn_unhold(c);
}

static int hold_then_time(struct np_conn *c, void *arg)
{
	int r = hold_often(c, arg);

	return r < 0 ? r : np_conn_set_idle_timeout(c, 200);
}

/* Three times the idle timeout without a byte: what is owed is no idleness; what follows is. */
START_TEST(a_hold_stops_the_idle_clock_and_its_end_starts_it_anew)
{
	char c;
	int fd;

	saw.arg = 1;
	given(hold_then_time, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	AWAIT(saw.conn);
	for (uint64_t end = now_ms() + 600; now_ms() < end;)
		test_pause();
	ck_assert_int_eq(saw.closes, 0);
	ck_assert_int_eq(np_conn_post(saw.conn, answer_some, (void *)1), 0);
	peer_recv(fd, &c, 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -ETIMEDOUT);
	/* one too many, of one that is gone */
	ck_assert_int_eq(np_conn_post(saw.conn, let_go, NULL), 0);
	np_conn_unref(saw.conn);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ main */

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "sizes");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, as_many_answers_come_as_there_are_holds, 0, 5);
	tcase_add_loop_test(t, what_a_handler_returned_is_told_whole, 0, 5);
	tcase_add_loop_test(t, of_256_pollers_each_listens_and_of_257_none, 0, 4);
	tcase_add_test(t, a_server_listens_once_its_service_has_a_worker_for_each_poller);
	tcase_add_test(t, a_peer_that_leaves_is_no_failure_of_a_handler);
	tcase_add_test(t, handlers_that_fail_are_said_at_a_bounded_rate);
	tcase_add_test(t, a_message_above_send_high_is_taken_where_nothing_is_queued);
	tcase_add_test(t, a_hold_stops_the_idle_clock_and_its_end_starts_it_anew);
}
