/* SPDX-License-Identifier: BSD-2-Clause */
/* pool: connections that are used again; public headers only */
#include <errno.h>
#include <netpoll/pool.h>
#include <netpoll/server.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

static struct np_pool *pool;

/*
 * 'q' makes the server end the connection, 'u' makes it say something unasked; all else is echoed.
 */
static int answer(struct np_conn *c, void *arg)
{
	const void *p;
	char byte;
	int r = np_conn_next(c, 1, &p);

	if (r < 0)
		return r;
	byte = *(const char *)p;
	r = np_conn_write(c, byte == 'u' ? "uu" : &byte, byte == 'u' ? 2 : 1);
	if (r == 0)
		r = np_conn_flush(c);
	return r < 0 || byte == 'q' ? -1 : 0;
}

static const struct np_handlers answers = { .sz = sizeof answers, .on_request = answer };

static void given(int n, const struct np_pool_opts *o)
{
	serve(n, &answers, NULL, NULL);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", serve_address(serve_server), o, &pool), 0);
}

static struct np_pool_stats stats(void)
{
	struct np_pool_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_pool_stats(pool, &st), 0);
	return st;
}

static void over(void)
{
	ck_assert_int_eq(np_pool_free(&pool), 0);
	serve_end();
}

static int ask(struct np_conn *c, char what)
{
	const void *p;
	int r = np_conn_write(c, &what, 1);

	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0)
		r = np_conn_next(c, 1, &p);
	return r < 0 ? r : *(const char *)p;
}

/* Borrow, ask, give back. */
static int use(void *arg)
{
	struct np_conn *c;
	int r = np_pool_get(pool, &c), what;

	if (r < 0)
		return r;
	what = ask(c, *(char *)arg);
	r = np_pool_put(pool, &c);
	ck_assert(c == NULL);
	return r < 0 ? r : what;
}

static int use_many(void *arg)
{
	for (int i = 0; i < 1000; i++)
		if (use("x") != 'x')
			return -1;
	return 0;
}

START_TEST(a_connection_that_was_given_back_is_used_again)
{
	given(1, NULL);
	ck_assert_int_eq(np_run(pollers, use_many, NULL), 0);
	ck_assert_uint_eq(stats().dials, 1);
	ck_assert_uint_eq(stats().gets, 1000);
	ck_assert_uint_eq(stats().reused, 999);
	ck_assert_uint_eq(stats().idle, 1);
	over();
}
END_TEST

START_TEST(each_poller_has_its_own)
{
	struct np_task *t[4];
	int r;

	given(4, NULL);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(np_go(pollers, i, use_many, NULL, &t[i]), 0);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(np_join(&t[i], &r), 0);
		ck_assert_int_eq(r, 0);
	}
	ck_assert_uint_eq(stats().dials, 4);
	ck_assert_uint_eq(stats().reused, 3996);
	over();
}
END_TEST

/* What the peer has ended, or spoken on unasked, while it was idle. */
START_TEST(a_dead_idle_connection_is_not_given_out)
{
	char what = _i ? 'u' : 'q';

	given(1, NULL);
	ck_assert_int_eq(np_run(pollers, use, &what), what);
	if (_i) {
		/* the second byte came with the first: it was not even kept */
		ck_assert_uint_eq(stats().idle, 0);
	} else {
		AWAIT(stats().idle == 0);
	}
	ck_assert_int_eq(np_run(pollers, use, "x"), 'x');
	ck_assert_uint_eq(stats().dials, 2);
	AWAIT(stats().open == 1);
	over();
}
END_TEST

static int hold_and_break(void *arg)
{
	struct np_conn *c;
	int r = np_pool_get(pool, &c);

	if (r < 0)
		return r;
	np_conn_abort(c);
	np_conn_ref(c); /* a copy of ours, to try what is wrong */
	struct np_conn *copy = c;

	r = np_pool_put(pool, &c);
	ck_assert_int_eq(r, 0);
	np_sleep(1); /* it ends at the end of the turn */
	np_conn_unref(copy);
	return 0;
}

START_TEST(a_broken_one_may_be_given_back_and_is_not_kept)
{
	given(1, NULL);
	ck_assert_int_eq(np_run(pollers, hold_and_break, NULL), 0);
	ck_assert_uint_eq(stats().idle, 0);
	AWAIT(stats().open == 0);
	over();
}
END_TEST

static int give_twice(void *arg)
{
	struct np_conn *c, *copy;

	ck_assert_int_eq(np_pool_get(pool, &c), 0);
	copy = c;
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	return np_pool_put(pool, &copy);
}

START_TEST(giving_back_twice_is_refused)
{
	given(1, NULL);
	ck_assert_int_eq(np_run(pollers, give_twice, NULL), -EINVAL);
	ck_assert_uint_eq(stats().idle, 1);
	over();
}
END_TEST

/* ------------------------------------------------------------------ limits */

#define WAITERS 5

static struct np_conn *held;
static int order[WAITERS], served;

static int wait_for_it(void *arg)
{
	struct np_conn *c;
	int r = np_pool_get(pool, &c);

	if (r < 0)
		return r;
	order[served++] = (int)(intptr_t)arg;
	r = ask(c, 'x');
	np_pool_put(pool, &c);
	return r;
}

static int hold(void *arg)
{
	return np_pool_get(pool, &held);
}

static int let_go(void *arg)
{
	if (arg)
		np_conn_abort(held);
	return np_pool_put(pool, &held);
}

/* Whether what they wait for comes back sound or broken: then the first one dials. */
START_TEST(waiters_are_served_in_their_order)
{
	struct np_task *t[WAITERS];
	int r;

	given(1, NP_OPTS(np_pool_opts, .max_open = 1));
	ck_assert_int_eq(np_run(pollers, hold, NULL), 0);
	for (intptr_t i = 0; i < WAITERS; i++)
		ck_assert_int_eq(np_go(pollers, 0, wait_for_it, (void *)i, &t[i]), 0);
	AWAIT(stats().waiting == WAITERS);
	ck_assert_int_eq(np_run(pollers, let_go, _i ? "broken" : NULL), 0);
	for (int i = 0; i < WAITERS; i++) {
		ck_assert_int_eq(np_join(&t[i], &r), 0);
		ck_assert_int_eq(r, 'x');
		ck_assert_int_eq(order[i], i);
	}
	ck_assert_uint_eq(stats().dials, _i ? 2 : 1);
	ck_assert_uint_eq(stats().open, 1);
	over();
}
END_TEST

START_TEST(a_wait_ends_at_its_deadline)
{
	given(1, NP_OPTS(np_pool_opts, .max_open = 1, .wait_ms = 20));
	ck_assert_int_eq(np_run(pollers, hold, NULL), 0);
	ck_assert_int_eq(np_run(pollers, use, "x"), -ETIMEDOUT);
	ck_assert_uint_eq(stats().timeouts, 1);
	ck_assert_uint_eq(stats().waiting, 0);
	ck_assert_int_eq(np_run(pollers, let_go, NULL), 0);
	ck_assert_int_eq(np_run(pollers, use, "x"), 'x');
	over();
}
END_TEST

START_TEST(freeing_the_pool_ends_the_waits_and_lent_ones_go_on)
{
	struct np_pool *mine;
	struct np_task *t;
	int r;

	given(1, NP_OPTS(np_pool_opts, .max_open = 1));
	ck_assert_int_eq(np_run(pollers, hold, NULL), 0);
	ck_assert_int_eq(np_go(pollers, 0, use, "x", &t), 0);
	AWAIT(stats().waiting == 1);
	mine = pool; /* `pool` itself is being read by whoever waits */
	ck_assert_int_eq(np_pool_free(&mine), 0);
	ck_assert_int_eq(np_join(&t, &r), 0);
	ck_assert_int_eq(r, -ECANCELED);
	ck_assert(np_conn_is_active(held));
	np_conn_close(held);
	np_conn_unref(held);
	serve_end();
}
END_TEST

static struct np_conn *lent[8];

static int lend_all(void *arg)
{
	int r = 0;

	for (int i = 0; i < 8 && r == 0; i++)
		r = np_pool_get(pool, &lent[i]);
	for (int i = 0; i < 8 && r == 0; i++)
		r = np_pool_put(pool, &lent[i]);
	return r;
}

START_TEST(no_more_than_max_idle_are_kept)
{
	given(1, NP_OPTS(np_pool_opts, .max_idle = 3));
	ck_assert_int_eq(np_run(pollers, lend_all, NULL), 0);
	ck_assert_uint_eq(stats().idle, 3);
	AWAIT(stats().open == 3);
	over();
}
END_TEST

START_TEST(idle_ones_expire)
{
	given(1, NP_OPTS(np_pool_opts, .idle_ms = 10));
	ck_assert_int_eq(np_run(pollers, lend_all, NULL), 0);
	AWAIT(stats().expired == 8);
	AWAIT(stats().open == 0);
	ck_assert_uint_eq(stats().idle, 0);
	over();
}
END_TEST

/* ------------------------------------------------------------------ ends */

START_TEST(a_stop_of_the_pollers_ends_idle_ones_at_once)
{
	given(2, NULL);
	ck_assert_int_eq(np_run(pollers, lend_all, NULL), 0);
	serve_over(&serve_server);
	/* no limit: it would wait for ever */
	ck_assert_int_eq(np_pollers_stop(pollers, 0), 0);
	ck_assert_int_eq(np_pool_free(&pool), 0);
	ck_assert_int_eq(np_pollers_free(&pollers), 0);
}
END_TEST

START_TEST(a_target_that_refuses_says_so_to_each)
{
	serve(1, &answers, NULL, NULL);
	ck_assert_int_eq(np_pool_new(pollers, "unix", "/nonexistent/socket",
				     NP_OPTS(np_pool_opts, .max_open = 1), &pool),
			 0);
	ck_assert_int_eq(np_run(pollers, use, "x"), -ENOENT);
	ck_assert_int_eq(np_run(pollers, use, "x"), -ENOENT);
	ck_assert_uint_eq(stats().open, 0);
	ck_assert_uint_eq(stats().dial_errors, 2);
	over();
}
END_TEST

START_TEST(only_its_pollers_may_ask)
{
	struct np_conn *c;

	given(1, NULL);
	ck_assert_int_eq(np_pool_get(pool, &c), -EPERM);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", NULL, NULL, &(struct np_pool *){ NULL }),
			 -EINVAL);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", "127.0.0.1:1",
				     NP_OPTS(np_pool_opts, .wait_ms = -2),
				     &(struct np_pool *){ NULL }),
			 -EINVAL);
	over();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "pool");

	tcase_add_test(t, a_connection_that_was_given_back_is_used_again);
	tcase_add_test(t, each_poller_has_its_own);
	tcase_add_loop_test(t, a_dead_idle_connection_is_not_given_out, 0, 2);
	tcase_add_test(t, a_broken_one_may_be_given_back_and_is_not_kept);
	tcase_add_test(t, giving_back_twice_is_refused);
	tcase_add_loop_test(t, waiters_are_served_in_their_order, 0, 2);
	tcase_add_test(t, a_wait_ends_at_its_deadline);
	tcase_add_test(t, freeing_the_pool_ends_the_waits_and_lent_ones_go_on);
	tcase_add_test(t, no_more_than_max_idle_are_kept);
	tcase_add_test(t, idle_ones_expire);
	tcase_add_test(t, a_stop_of_the_pollers_ends_idle_ones_at_once);
	tcase_add_test(t, a_target_that_refuses_says_so_to_each);
	tcase_add_test(t, only_its_pollers_may_ask);
}
