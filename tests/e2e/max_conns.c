/* SPDX-License-Identifier: BSD-2-Clause */
/* max_conns: a server has no more connections than it was told, and goes on as they close. Public
 * headers only. */
#include <errno.h>
#include <netpoll/server.h>
#include <poll.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/steer.h"
#include "support/test.h"

static const struct np_handlers h = { .sz = sizeof h, .on_request = serve_echo };

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

	serve(1, &h, NULL,
	      NP_OPTS(np_server_opts, .max_conns = 4, .steer = _i ? NP_STEER_AUTO : NP_STEER_OFF));
	for (int i = 0; i < 6; i++)
		fd[i] = asked();
	for (int i = 0; i < 4; i++)
		answered(fd[i]);
	AWAIT(serve_stats(serve_server).at_limit == 1);
	/* It has turns in which it could have accepted another. */
	for (int i = 0; i < 100; i++) {
		peer_send(fd[0], "x", 1);
		answered(fd[0]);
	}
	ck_assert_uint_eq(serve_stats(serve_server).accepted, 4);
	ck_assert(!is_answered(fd[4]) && !is_answered(fd[5]));

	peer_close(&fd[0]);
	answered(fd[4]);
	ck_assert_uint_eq(serve_stats(serve_server).accepted, 5);
	AWAIT(serve_stats(serve_server).at_limit == 2);
	peer_close(&fd[1]);
	answered(fd[5]);
	for (int i = 2; i < 6; i++)
		peer_close(&fd[i]);
	AWAIT(serve_stats(serve_server).conns == 0);
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
	ck_assert_uint_eq(serve_stats(serve_server).conns, 5);
	AWAIT(serve_stats(serve_server).at_limit == 2);
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
	AWAIT(serve_stats(serve_server).at_limit == 1);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	ck_assert_uint_eq(serve_stats(serve_server).shed, 2);
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
	ck_assert_int_eq(np_server_new(p, &h, NULL, NP_OPTS(np_server_opts, .max_conns = 1), &s),
			 -EINVAL);
	ck_assert_int_eq(np_server_new(p, &h, NULL, NP_OPTS(np_server_opts, .max_conns = -2), &s),
			 -EINVAL);
	ck_assert_int_eq(np_server_new(p, &h, NULL, NP_OPTS(np_server_opts, .max_conns = -1), &s),
			 0);
	ck_assert_int_eq(np_server_free(&s), 0);
	ck_assert_int_eq(np_pollers_stop(p, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&p), 0);
}
END_TEST

static struct np_steer *given_operator(void)
{
	struct np_steer *s;

	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	return s;
}

static int state(struct np_steer *s)
{
	struct np_steer_worker_info w = { .sz = sizeof w };

	ck_assert_int_eq(np_steer_worker_info(s, 0, &w), 0);
	return w.state;
}

static void full(int fd[2])
{
	uint64_t was = serve_stats(serve_server).at_limit;

	for (int i = 0; i < 2; i++) {
		fd[i] = asked();
		answered(fd[i]);
	}
	AWAIT(serve_stats(serve_server).at_limit == was + 1);
}

static void has_room(int fd[2])
{
	for (int i = 0; i < 2; i++)
		peer_close(&fd[i]);
	AWAIT(serve_stats(serve_server).conns == 0);
	fd[0] = asked(); /* it is accepted: so the listeners are open again */
	answered(fd[0]);
	peer_close(&fd[0]);
	AWAIT(serve_stats(serve_server).conns == 0);
}

/* Two reasons for one state, from two processes. */
START_TEST(an_operators_drain_of_a_full_worker_lasts_until_he_ends_it)
{
	struct np_steer *op;
	int fd[2];

	OWN_STEERING();
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	serve(1, &h, NULL,
	      NP_OPTS(np_server_opts, .max_conns = 2, .service = "web",
		      .steer = NP_STEER_REQUIRED));
	op = given_operator();
	ck_assert_int_eq(state(op), NP_STEER_READY);

	/* Nobody said anything: it comes back by itself. */
	full(fd);
	AWAIT(state(op) == NP_STEER_DRAINING);
	has_room(fd);
	ck_assert_int_eq(state(op), NP_STEER_READY);

	/* Drained while it is full, or before. */
	for (int before = 0; before < 2; before++) {
		if (before)
			ck_assert_int_eq(np_steer_drain(op, 0), 0);
		full(fd);
		if (!before)
			ck_assert_int_eq(np_steer_drain(op, 0), 0);
		has_room(fd);
		ck_assert_int_eq(state(op), NP_STEER_DRAINING);
		ck_assert_int_eq(np_steer_undrain(op, 0), 0);
		ck_assert_int_eq(state(op), NP_STEER_READY);
	}

	/* Undrained while it is full: it has no room all the same. */
	full(fd);
	AWAIT(state(op) == NP_STEER_DRAINING);
	ck_assert_int_eq(np_steer_drain(op, 0), 0);
	ck_assert_int_eq(np_steer_undrain(op, 0), 0);
	ck_assert_int_eq(state(op), NP_STEER_DRAINING);
	ck_assert_int_eq(np_steer_kick(op, 0), 0);
	ck_assert_int_eq(state(op), NP_STEER_OUT);
	ck_assert_int_eq(np_steer_undrain(op, 0), 0);
	has_room(fd);
	ck_assert_int_eq(state(op), NP_STEER_READY);

	np_steer_close(&op);
	serve_end();
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "max_conns");

	tcase_set_timeout(tc, 60); /* one loads a program */
	tcase_add_loop_test(tc, those_above_it_wait_until_others_close, 0, 2);
	tcase_add_test(tc, its_shares_add_up_to_it);
	tcase_add_test(tc, at_the_stop_those_above_it_are_reset);
	tcase_add_test(tc, an_operators_drain_of_a_full_worker_lasts_until_he_ends_it);
	tcase_add_test(tc, less_than_one_for_each_poller_is_refused);
}
