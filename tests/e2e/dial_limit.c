/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dial_limit: dials, pools and calls at their deadlines, beside answers that come in the same turn.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/call.h>
#include <netpoll/pool.h>
#include <netpoll/server.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define SOON 20

/* Accepts nothing: the kernel answers for it while its queue has room, and nobody does once it is
 * full. */
static int target, filler;
static char address[32];

static void given_target(int backlog)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sa;

	target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(target, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(listen(target, backlog), 0);
	ck_assert_int_eq(getsockname(target, (struct sockaddr *)&sa, &len), 0);
	snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(sa.sin_port));
	filler = -1;
}

/* tcp(7): a listener whose queue is full drops each SYN. */
static void given_black_hole(void)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof sa;

	given_target(0);
	filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(getsockname(target, (struct sockaddr *)&sa, &len), 0);
	ck_assert_int_eq(connect(filler, (struct sockaddr *)&sa, len), 0);
}

static void end_target(void)
{
	close(target);
	if (filler >= 0)
		close(filler);
}

static void drop(struct np_conn *c)
{
	np_conn_abort(c);
	np_conn_unref(c);
}

/* --------------------------------------------------------- the answer and the limit in one turn */

#define DIALS 200

static _Atomic(int) back;

static int keep_the_thread(void *arg)
{
	while (back < DIALS) {
		uint64_t end = now_ms() + 30;

		while (now_ms() < end)
			;
		np_yield();
	}
	return 0;
}

static int dial_briefly(void *arg)
{
	struct np_conn *c;
	int r = np_dial(NULL, NP_HERE, "tcp", address, NP_OPTS(np_dial_opts, .timeout_ms = SOON),
			&c);

	if (r == 0)
		drop(c);
	back++;
	return r;
}

/* Turns of 30 ms: each answer is there before its limit, and both are found in one turn. */
START_TEST(an_answer_that_was_there_before_the_limit_counts)
{
	struct np_task *t[DIALS], *hog;

	given_target(DIALS);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));
	hog = given_task(0, keep_the_thread, NULL);
	for (int i = 0; i < DIALS; i++)
		t[i] = given_task(0, dial_briefly, NULL);
	AWAIT(back == DIALS);
	for (int i = 0; i < DIALS; i++)
		ck_assert_int_eq(joined(t[i]), 0);
	joined(hog);
	end_pollers();
	end_target();
}
END_TEST

/* ------------------------------------------------------------------ the fiber's deadline */

static struct np_pool *pool;
static const struct np_handlers nothing = { .sz = sizeof nothing };

static int dial_here(void *arg)
{
	struct np_conn *c;

	return np_dial(NULL, NP_HERE, "tcp", address, NP_OPTS(np_dial_opts, .timeout_ms = 0), &c);
}

static int dial_there(void *arg)
{
	struct np_conn *c;

	return np_dial(pollers, 1, "tcp", address, NP_OPTS(np_dial_opts, .handlers = &nothing), &c);
}

static int get_by_dial(void *arg)
{
	struct np_conn *c;

	return np_pool_get(pool, &c);
}

static int get_by_turn(void *arg)
{
	struct np_task *t;
	struct np_conn *c;
	int r;

	ck_assert_int_eq(np_go(NULL, NP_HERE, get_by_dial, NULL, &t), 0);
	np_yield();
	r = np_pool_get(pool, &c); /* max_open is 1: behind the other's dial */
	np_join(&t, NULL);
	return r;
}

static int frame_nothing(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg)
{
	return -EBADMSG;
}

static int dial_a_channel(void *arg)
{
	struct np_channel *ch;

	return np_channel_dial("tcp", address, NP_OPTS(np_channel_opts, .frame = frame_nothing),
			       &ch);
}

static int (*const waits[])(void *) = { dial_here, dial_there, get_by_dial, get_by_turn,
					dial_a_channel };

#define WAITS (int)(sizeof waits / sizeof waits[0])

static void given_hole_and_pool(void)
{
	given_black_hole();
	given_pollers(NULL);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", address, NP_OPTS(np_pool_opts, .max_open = 1),
				     &pool),
			 0);
}

static void end_hole_and_pool(void)
{
	ck_assert_int_eq(np_pool_free(&pool), 0);
	end_pollers();
	end_target();
}

static int under_deadline(void *arg)
{
	ck_assert_int_eq(np_deadline(SOON, NULL), 0);
	return ((int (*)(void *))arg)(NULL);
}

START_TEST(a_dial_into_a_black_hole_ends_at_the_deadline_of_its_fiber)
{
	int fds;

	given_hole_and_pool();
	fds = open_fds();
	ck_assert_int_eq(joined(given_task(0, under_deadline, (void *)waits[_i])), -ETIMEDOUT);
	AWAIT(open_fds() == fds); /* on the other poller too nothing is left of it */
	end_hole_and_pool();
}
END_TEST

START_TEST(a_dial_into_a_black_hole_ends_when_its_task_is_cancelled)
{
	struct np_task *t;
	int fds;

	given_hole_and_pool();
	fds = open_fds();
	t = given_task(0, waits[_i], NULL);
	AWAIT(open_fds() > fds);
	ck_assert_int_eq(np_task_cancel(t), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
	AWAIT(open_fds() == fds);
	end_hole_and_pool();
}
END_TEST

/* ------------------------------------------------------------------ three upstreams */

static int ask_one(void *arg)
{
	struct np_pool *up = arg;
	struct np_conn *c;
	const void *p;
	int r = np_pool_get(up, &c);

	if (r < 0)
		return r;
	r = np_conn_write(c, "?", 1);
	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0)
		r = np_conn_next(c, 1, &p);
	if (r == 0)
		np_pool_put(up, &c);
	else
		np_pool_drop(up, &c);
	return r;
}

static int answer(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 1);

	if (r == 0)
		r = np_conn_write(c, "!", 1);
	return r < 0 ? r : np_conn_flush(c);
}

#define UPSTREAMS 3

static int ask_all(void *arg)
{
	struct np_pool **up = arg;
	struct np_task *t[UPSTREAMS];
	int r[UPSTREAMS];

	ck_assert_int_eq(np_deadline(100, NULL), 0);
	for (int i = 0; i < UPSTREAMS; i++)
		ck_assert_int_eq(np_go(NULL, NP_HERE, ask_one, up[i], &t[i]), 0);
	for (int i = 0; i < UPSTREAMS; i++)
		ck_assert_int_eq(np_join(&t[i], &r[i]), 0);
	ck_assert_int_eq(r[0], 0);
	ck_assert_int_eq(r[1], -ETIMEDOUT);
	ck_assert_int_eq(r[2], 0);
	return 0;
}

/* Nothing but the one deadline: the pools have no limits of their own. */
START_TEST(of_three_upstreams_two_answer_in_time_though_one_is_a_black_hole)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = answer };
	struct np_pool *up[UPSTREAMS];
	struct np_server *s;

	given_black_hole();
	given_pollers(NULL);
	serve_at(&s, &h, NULL, NULL, "tcp", "127.0.0.1:0");
	for (int i = 0; i < UPSTREAMS; i++)
		ck_assert_int_eq(np_pool_new(pollers, "tcp", i == 1 ? address : serve_address(s),
					     NULL, &up[i]),
				 0);

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(joined(given_task(0, ask_all, up)), 0);

	for (int i = 0; i < UPSTREAMS; i++)
		ck_assert_int_eq(np_pool_free(&up[i]), 0);
	serve_over(&s);
	end_pollers();
	end_target();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "limits");

	tcase_add_test(t, an_answer_that_was_there_before_the_limit_counts);
	tcase_add_loop_test(t, a_dial_into_a_black_hole_ends_at_the_deadline_of_its_fiber, 0,
			    WAITS);
	tcase_add_loop_test(t, a_dial_into_a_black_hole_ends_when_its_task_is_cancelled, 0, WAITS);
	tcase_add_test(t, of_three_upstreams_two_answer_in_time_though_one_is_a_black_hole);
}
