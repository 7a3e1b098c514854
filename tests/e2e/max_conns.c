/* SPDX-License-Identifier: BSD-2-Clause */
/* max_conns: a server has no more connections than it was told, and goes on as they close. Public headers only. */
#include <errno.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <poll.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

static int echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *b = NULL;
	int r = np_conn_slice(c, np_conn_len(c), &b);

	if (r == 0)
		r = np_conn_append(c, &b);
	if (b)
		np_linkbuf_free(b);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers h = { .sz = sizeof h, .on_request = echo };

static struct np_server_stats stats(void)
{
	struct np_server_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	return st;
}

static int asked(void)
{
	int fd = serve_connect(0);

	peer_send(fd, "x", 1);
	return fd;
}

static void answered(int fd)
{
	char back;

	peer_recv(fd, &back, 1);
	ck_assert_int_eq(back, 'x');
}

static bool is_answered(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

START_TEST(those_above_it_wait_until_others_close)
{
	int fd[6];

	serve(1, &h, NULL, NP_OPTS(np_server_opts, .max_conns = 4, .steer = _i ? NP_STEER_AUTO : NP_STEER_OFF));
	for (int i = 0; i < 6; i++)
		fd[i] = asked();
	for (int i = 0; i < 4; i++)
		answered(fd[i]);
	AWAIT(stats().at_limit == 1);
	/* It has turns in which it could have accepted another. */
	for (int i = 0; i < 100; i++) {
		peer_send(fd[0], "x", 1);
		answered(fd[0]);
	}
	ck_assert_uint_eq(stats().accepted, 4);
	ck_assert(!is_answered(fd[4]) && !is_answered(fd[5]));

	peer_close(&fd[0]);
	answered(fd[4]);
	ck_assert_uint_eq(stats().accepted, 5);
	AWAIT(stats().at_limit == 2);
	peer_close(&fd[1]);
	answered(fd[5]);
	for (int i = 2; i < 6; i++)
		peer_close(&fd[i]);
	AWAIT(stats().conns == 0);
	fd[0] = asked();
	answered(fd[0]);
	peer_close(&fd[0]);
	serve_end();
}
END_TEST

START_TEST(its_shares_add_up_to_it)
{
	int fd[5];

	if (!can_bpf())
		SKIP("the kernel's hash may leave a poller without clients");
	serve(2, &h, NULL, NP_OPTS(np_server_opts, .max_conns = 5, .steer = NP_STEER_REQUIRED));
	for (int i = 0; i < 5; i++) {
		fd[i] = asked();
		answered(fd[i]);
	}
	ck_assert_uint_eq(stats().conns, 5);
	AWAIT(stats().at_limit == 2);
	for (int i = 0; i < 5; i++)
		peer_close(&fd[i]);
	serve_end();
}
END_TEST

/* Nobody is told to wait for a server that ends. */
START_TEST(at_the_stop_those_above_it_are_reset)
{
	char back;
	int fd[3];

	serve(1, &h, NULL, NP_OPTS(np_server_opts, .max_conns = 1));
	for (int i = 0; i < 3; i++)
		fd[i] = asked();
	answered(fd[0]);
	AWAIT(stats().at_limit == 1);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	for (int i = 1; i < 3; i++)
		ck_assert_int_eq(recv(fd[i], &back, 1, 0), -1);
	for (int i = 0; i < 3; i++)
		peer_close(&fd[i]);
	serve_end();
}
END_TEST

START_TEST(less_than_one_for_each_poller_is_refused)
{
	struct np_pollers *p;
	struct np_server *s;

	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 2), &p), 0);
	ck_assert_int_eq(np_server_new(p, &h, NULL, NP_OPTS(np_server_opts, .max_conns = 1), &s), -EINVAL);
	ck_assert_int_eq(np_server_new(p, &h, NULL, NP_OPTS(np_server_opts, .max_conns = -2), &s), -EINVAL);
	ck_assert_int_eq(np_server_new(p, &h, NULL, NP_OPTS(np_server_opts, .max_conns = -1), &s), 0);
	ck_assert_int_eq(np_server_free(s), 0);
	ck_assert_int_eq(np_pollers_stop(p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(p), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("max_conns");
	TCase *tc = tcase_create("max_conns");

	tcase_add_loop_test(tc, those_above_it_wait_until_others_close, 0, 2);
	tcase_add_test(tc, its_shares_add_up_to_it);
	tcase_add_test(tc, at_the_stop_those_above_it_are_reset);
	tcase_add_test(tc, less_than_one_for_each_poller_is_refused);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
