/* SPDX-License-Identifier: BSD-2-Clause */
/* reuse: a connection out of a pool lives, and owes no answer to anybody; public headers only */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pool.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/test.h"

static struct np_pollers *pollers;
static struct np_pool *pool;
static int listener, fds_before;
static char address[32];

/* The target is this thread's, or the fiber's own: what it says is what the test says. */
static void setup(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sa;

	fds_before = open_fds();
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(listen(listener, 16), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(sa.sin_port));
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1), &pollers), 0);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", address, NULL, &pool), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(np_pool_free(&pool), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&pollers), 0);
	close(listener);
	ck_assert_int_eq(open_fds(), fds_before);
}

static struct np_pool_stats stats(void)
{
	struct np_pool_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_pool_stats(pool, &st), 0);
	return st;
}

static void on_a_fiber(int (*fn)(void *), void *arg)
{
	ck_assert_int_eq(np_run(pollers, fn, arg), 0);
}

/* Borrows; *ret_peer is the other end, blocking: whoever reads it keeps the poller's thread. */
static struct np_conn *must_get(int *ret_peer)
{
	struct np_conn *c;

	ck_assert_int_eq(np_pool_get(pool, &c), 0);
	if (ret_peer) {
		*ret_peer = accept(listener, NULL, NULL);
		ck_assert_int_ge(*ret_peer, 0);
	}
	return c;
}

static void must_write(struct np_conn *c, const char *text)
{
	ck_assert_int_eq(np_conn_write(c, text, strlen(text)), 0);
	ck_assert_int_eq(np_conn_flush(c), 0);
}

static void must_read(struct np_conn *c, const char *text)
{
	const void *p;

	ck_assert_int_eq(np_conn_next(c, strlen(text), &p), 0);
	ck_assert_mem_eq(p, text, strlen(text));
}

static void hear(int peer, const char *text)
{
	char got[64];

	peer_recv(peer, got, strlen(text));
	ck_assert_mem_eq(got, text, strlen(text));
}

static void exchange(struct np_conn *c, int peer)
{
	must_write(c, "ask");
	hear(peer, "ask");
	peer_send(peer, "answer", 6);
	must_read(c, "answer");
}

/* ---------------------------------------------------------------- what happens while it is idle */

static int ends_while_the_poller_computes(void *arg)
{
	int kind = *(int *)arg, peer, other;
	struct np_conn *c = must_get(&peer);

	exchange(c, peer);
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	/* All of this in one turn: the poller has not looked at a socket since. */
	if (kind == 0)
		peer_close(&peer);
	else if (kind == 1)
		peer_reset(&peer);
	else
		peer_send(peer, "unasked", 7);
	c = must_get(&other);
	ck_assert_uint_eq(stats().died, 1);
	exchange(c, other);
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	if (peer >= 0)
		peer_close(&peer);
	peer_close(&other);
	return 0;
}

START_TEST(one_that_ended_while_the_poller_was_busy_is_not_given_out)
{
	on_a_fiber(ends_while_the_poller_computes, &_i);
	ck_assert_uint_eq(stats().reused, 0);
	ck_assert_uint_eq(stats().dials, 2);
}
END_TEST

static int taken;

static int wait_for_it(void *arg)
{
	struct np_conn *c = must_get(NULL);
	int peer = accept(listener, NULL, NULL); /* it dialed, so there is one */

	taken++;
	exchange(c, peer);
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	peer_close(&peer);
	return 0;
}

static int hand_over_a_dead_one(void *arg)
{
	struct np_task *t;
	struct np_conn *c;
	int peer, r;

	ck_assert_int_eq(np_pool_free(&pool), 0);
	ck_assert_int_eq(np_pool_new(pollers, "tcp", address, NP_OPTS(np_pool_opts, .max_open = 1),
				     &pool),
			 0);
	c = must_get(&peer);
	exchange(c, peer);
	ck_assert_int_eq(np_go(NULL, NP_HERE, wait_for_it, NULL, &t), 0);
	while (!stats().waiting)
		ck_assert_int_eq(np_yield(), 0);
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	peer_close(&peer);
	ck_assert_int_eq(np_join(&t, &r), 0);
	ck_assert_int_eq(taken, 1);
	return r;
}

START_TEST(one_that_ended_on_its_way_to_a_waiter_is_not_given_out)
{
	on_a_fiber(hand_over_a_dead_one, NULL);
	ck_assert_uint_eq(stats().reused, 0);
	ck_assert_uint_eq(stats().dials, 2);
}
END_TEST

/* ------------------------------------------------------------------ whose answer it is */

static int gives_up(void *arg)
{
	int kind = *(int *)arg, peer, other;
	struct np_conn *c = must_get(&peer), *was = c;
	const void *p;
	size_t n;

	exchange(c, peer);
	if (kind == 3) /* of the exchange before */
		ck_assert_int_eq(np_conn_reusable(c), 0);
	must_write(c, "first");
	hear(peer, "first");
	if (kind < 3) {
		ck_assert_int_eq(np_conn_set_read_timeout(c, 10), 0);
		ck_assert_int_eq(kind == 2 ? np_conn_until(c, '\n', 64, &p, &n) :
					     np_conn_next(c, 1, &p),
				 -NP_EREADTIMEOUT);
		peer_send(peer, "FIRST", 5);
	}
	if (kind == 1) { /* it comes late, and all of it is read */
		ck_assert_int_eq(np_conn_set_read_timeout(c, AWAIT_MS), 0);
		must_read(c, "FIRST");
	}
	if (kind < 3)
		ck_assert_int_eq(np_conn_reusable(c), -NP_EREADTIMEOUT);
	if (kind == 3)
		ck_assert_int_eq(np_conn_reusable(c), -EBUSY);
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	if (kind == 3)
		peer_send(peer, "FIRST", 5);
	c = must_get(&other);
	ck_assert_ptr_ne(c, was);
	must_write(c, "second");
	hear(other, "second");
	peer_send(other, "SECOND", 6);
	must_read(c, "SECOND");
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	peer_close(&peer);
	peer_close(&other);
	return 0;
}

/* Timed out: unread, read late, in until(); and one that was reusable before the request. */
START_TEST(no_caller_gets_the_answer_to_the_one_before)
{
	on_a_fiber(gives_up, &_i);
	ck_assert_uint_eq(stats().reused, 0);
}
END_TEST

static int drops(void *arg)
{
	int peer;
	struct np_conn *c = must_get(&peer);

	exchange(c, peer);
	ck_assert_int_eq(np_conn_reusable(c), 0);
	ck_assert_int_eq(np_pool_drop(pool, &c), 0);
	ck_assert_ptr_null(c);
	ck_assert_uint_eq(stats().idle, 0);
	ck_assert_int_gt(np_wait_fd(peer, POLLIN, AWAIT_MS), 0);
	peer_expect_eof(peer);
	peer_close(&peer);
	return 0;
}

START_TEST(one_that_is_dropped_is_closed_however_fit_it_is)
{
	on_a_fiber(drops, NULL);
}
END_TEST

static int puts_it_unused(void *arg)
{
	int peer;
	struct np_conn *c = must_get(&peer), *was = c;

	for (int i = 0; i < 3; i++) {
		if (i != 1)
			exchange(c, peer);
		ck_assert_int_eq(np_pool_put(pool, &c), 0);
		ck_assert_uint_eq(stats().idle, 1);
		c = must_get(NULL);
		ck_assert_ptr_eq(c, was);
	}
	ck_assert_int_eq(np_pool_drop(pool, &c), 0);
	ck_assert_uint_eq(stats().idle, 0);
	peer_close(&peer);
	return 0;
}

START_TEST(one_that_was_not_used_is_as_fit_as_before)
{
	on_a_fiber(puts_it_unused, NULL);
	ck_assert_uint_eq(stats().reused, 3);
}
END_TEST

static int refused(void *arg)
{
	int peer;
	struct np_conn *c = must_get(&peer), *dead;

	must_write(c, "ask");
	ck_assert_int_eq(np_conn_reusable(c), -EBUSY); /* the last byte went out */
	hear(peer, "ask");
	peer_send(peer, "answer!", 7);
	must_read(c, "answer");
	ck_assert_int_eq(np_conn_reusable(c), -EBUSY); /* one is unread */
	must_read(c, "!");
	ck_assert_int_eq(np_conn_write(c, "x", 1), 0);
	ck_assert_int_eq(np_conn_reusable(c), -EBUSY); /* one is unflushed */
	ck_assert_int_eq(np_conn_trim(c, 0), 0);
	ck_assert_int_eq(np_conn_reusable(c), 0);
	np_conn_close(c);
	ck_assert_int_eq(np_conn_reusable(c), -NP_ECLOSED);
	dead = np_conn_ref(c);
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	ck_assert_int_eq(np_conn_reusable(dead), -NP_ECLOSED);
	peer_close(&peer);
	while (stats().open)
		ck_assert_int_eq(np_sleep(1), 0);
	ck_assert_int_eq(np_conn_reusable(dead), -NP_ECLOSED);
	np_conn_unref(dead);
	ck_assert_int_eq(np_dial(NULL, NP_HERE, "tcp", address,
				 NP_OPTS(np_dial_opts, .timeout_ms = AWAIT_MS), &c),
			 0);
	ck_assert_int_eq(np_conn_reusable(c), -EINVAL); /* of no pool */
	np_conn_abort(c);
	np_conn_unref(c);
	return 0;
}

/* A FIN while it is lent, and one of its own. */
static int ends_while_it_is_lent(void *arg)
{
	int peer;
	struct np_conn *c = must_get(&peer);
	const void *p;

	exchange(c, peer);
	ck_assert_int_eq(np_conn_shutdown_write(c), 0);
	ck_assert_int_eq(np_conn_reusable(c), -NP_ECLOSED);
	np_pool_drop(pool, &c);
	close(peer);

	c = must_get(&peer);
	exchange(c, peer);
	close(peer);
	ck_assert_int_eq(np_conn_next(c, 1, &p), -NP_EEOF);
	ck_assert_int_eq(np_conn_reusable(c), -NP_EEOF);
	np_pool_put(pool, &c);

	c = must_get(&peer);
	close(peer);
	while (np_conn_reusable(c) == 0)
		np_yield();
	ck_assert_int_eq(np_conn_reusable(c), -NP_EEOF);
	np_pool_put(pool, &c);
	return 0;
}

START_TEST(one_whose_peer_has_left_says_that)
{
	on_a_fiber(ends_while_it_is_lent, NULL);
}
END_TEST

START_TEST(one_that_cannot_be_used_again_says_why)
{
	on_a_fiber(refused, NULL);
}
END_TEST

/* ------------------------------------------------------------------ given back once */

static int put_again(void *arg)
{
	bool dead_before = *(int *)arg & 1, dead_between = *(int *)arg & 2;
	struct np_conn *c = must_get(NULL), *again = np_conn_ref(c);

	np_conn_abort(c);
	while (dead_before && stats().open)
		ck_assert_int_eq(np_sleep(1), 0);
	ck_assert_int_eq(np_pool_put(pool, &c), 0);
	ck_assert_ptr_null(c);
	while (dead_between && stats().open)
		ck_assert_int_eq(np_sleep(1), 0);
	ck_assert_int_eq(np_pool_put(pool, &again), -EINVAL);
	ck_assert_int_eq(np_pool_drop(pool, &again), -EINVAL);
	ck_assert_ptr_nonnull(again);
	ck_assert_int_eq(np_conn_error(again), -NP_ECLOSED); /* the reference is still ours */
	np_conn_unref(again);
	return 0;
}

START_TEST(a_second_put_is_refused_whether_or_not_the_connection_has_ended)
{
	on_a_fiber(put_again, &_i);
}
END_TEST

/* What was dialed, and what another pool lent. */
static int put_strangers(void *arg)
{
	struct np_pool *other;
	struct np_conn *c[2];

	ck_assert_int_eq(np_pool_new(pollers, "tcp", address, NULL, &other), 0);
	ck_assert_int_eq(np_dial(NULL, NP_HERE, "tcp", address, NULL, &c[0]), 0);
	ck_assert_int_eq(np_pool_get(other, &c[1]), 0);
	for (int dead = 0; dead < 2; dead++) {
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(np_pool_put(pool, &c[i]), -EINVAL);
			ck_assert_ptr_nonnull(c[i]);
			np_conn_abort(c[i]);
		}
		for (int i = 0; i < 2; i++)
			while (np_conn_fd(c[i]) >= 0)
				ck_assert_int_eq(np_sleep(1), 0);
	}
	np_conn_unref(c[0]);
	ck_assert_int_eq(np_pool_put(other, &c[1]), 0);
	return np_pool_free(&other);
}

START_TEST(what_is_not_of_the_pool_is_refused_whether_or_not_it_has_ended)
{
	on_a_fiber(put_strangers, NULL);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "reuse");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, one_that_ended_while_the_poller_was_busy_is_not_given_out, 0, 3);
	tcase_add_test(t, one_that_ended_on_its_way_to_a_waiter_is_not_given_out);
	tcase_add_loop_test(t, no_caller_gets_the_answer_to_the_one_before, 0, 4);
	tcase_add_test(t, one_that_is_dropped_is_closed_however_fit_it_is);
	tcase_add_test(t, one_that_was_not_used_is_as_fit_as_before);
	tcase_add_test(t, one_whose_peer_has_left_says_that);
	tcase_add_test(t, one_that_cannot_be_used_again_says_why);
	tcase_add_loop_test(t, a_second_put_is_refused_whether_or_not_the_connection_has_ended, 0,
			    4);
	tcase_add_test(t, what_is_not_of_the_pool_is_refused_whether_or_not_it_has_ended);
}
