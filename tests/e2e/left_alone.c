/* SPDX-License-Identifier: BSD-2-Clause */
/* left_alone: what may come to a connection while its handler is left alone with its thread; public
 * headers only */
#include <errno.h>
#include <netpoll/linkbuf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "support/blocker.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/test.h"

static _Atomic(int) hook_result;
static struct np_conn *_Atomic blocked[4];
static int (*hook)(struct np_conn *c); /* once it has passed the gate */

static void pass_gate(void *arg)
{
	blocker_wait();
}

static int block(struct np_conn *c)
{
	blocked[blocker_begun % 4] = np_conn_ref(c);
	blocker_wait();
	hook_result = hook ? hook(c) : 0;
	return hook_result;
}

/* One byte says what to do first; it is the answer. */
static int on_request(struct np_conn *c, void *arg)
{
	char op;
	int r = blocker_take(c, &op);

	if (r == 0 && op == 'b')
		r = block(c);
	return r < 0 ? r : blocker_answer(c, op);
}

static void given(int threads, const struct np_handlers *h)
{
	hook_result = 0;
	hook = NULL;
	given_blocker(h, threads, NULL);
}

static void setup(void)
{
	given(0, blocker_handlers(on_request));
}

static void teardown(void)
{
	for (int i = 0; i < 4; i++)
		if (blocked[i])
			np_conn_unref(blocked[i]);
	memset((void *)blocked, 0, sizeof blocked);
	end_blocker();
}

static int nap(void *arg)
{
	return np_sleep((int)(intptr_t)arg);
}
static void pass_ms(int ms)
{
	ck_assert_int_eq(np_run(pollers, nap, (void *)(intptr_t)ms), 0);
}

/* ------------------------------------------------------------------ its end */

START_TEST(a_stop_that_gives_up_frees_nothing_under_it)
{
	int fd = given_left_alone('b');
	unsigned forced = 0;

	ck_assert_int_eq(np_server_stop(blocker, 10, &forced), -ETIMEDOUT);
	ck_assert_int_eq(np_server_free(&blocker), -EBUSY);
	ck_assert_int_eq(np_pollers_stop(pollers, 10), -EBUSY);
	blocker_let();
	ck_assert_int_eq(np_server_stop(blocker, AWAIT_MS, &forced), 0);
	ck_assert_int_eq(hook_result, 0);
	peer_drain(fd);
	peer_close(&fd);
}
END_TEST

/* ------------------------------------------------------------------ other threads */

enum { SENDERS = 8, MSGS = 200 };
struct msg {
	uint16_t who, seq;
};

static void *send_many(void *arg)
{
	struct np_conn *c = blocked[0];

	for (int i = 0; i < MSGS; i++) {
		struct np_linkbuf *b;
		struct msg m = { (uint16_t)(intptr_t)arg, (uint16_t)i };

		ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
		ck_assert_int_eq(np_linkbuf_write(b, &m, sizeof m), 0);
		ck_assert_int_eq(np_conn_send(c, &b), 0);
	}
	return NULL;
}

static _Atomic(int) posted, out_of_order;
static int last_of[SENDERS];
static void count_post(struct np_conn *c, void *arg)
{
	int v = (int)(intptr_t)arg, who = v / 1000, seq = v % 1000;

	if (last_of[who] != seq)
		out_of_order++;
	last_of[who] = seq + 1;
	(void)np_conn_len(c);
	np_conn_set_data(c, arg);
	posted++;
}
static void *post_many(void *arg)
{
	for (int i = 0; i < MSGS; i++)
		ck_assert_int_eq(np_conn_post(blocked[0], count_post,
					      (void *)((intptr_t)arg * 1000 + i)),
				 0);
	return NULL;
}
static void start_all(pthread_t *t, void *(*fn)(void *))
{
	for (intptr_t i = 0; i < SENDERS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, fn, (void *)i), 0);
}
static void join_all(pthread_t *t)
{
	for (int i = 0; i < SENDERS; i++)
		pthread_join(t[i], NULL);
}

START_TEST(what_threads_send_to_it_leaves_in_each_ones_order)
{
	int fd = given_left_alone('b'), next[SENDERS] = { 0 };
	pthread_t t[SENDERS];
	struct msg m;
	int answers = 0;

	start_all(t, send_many);
	if (_i) {
		pass_ms(3);
		blocker_let();
	}
	join_all(t);
	must_serve();
	if (!_i)
		blocker_let();
	for (int i = 0; i < SENDERS * MSGS; i++) {
		char *p = (char *)&m;

		peer_recv(fd, p, 1);
		if (*p == 'b' && !answers) {
			answers++;
			peer_recv(fd, p, 1);
		}
		peer_recv(fd, p + 1, sizeof m - 1);
		ck_assert_uint_lt(m.who, SENDERS);
		ck_assert_int_eq(m.seq, next[m.who]++);
	}
	if (!answers)
		must_answer(fd, 'b');
	peer_close(&fd);
}
END_TEST

START_TEST(what_threads_post_to_it_runs_in_each_ones_order)
{
	int fd = given_left_alone('b');
	pthread_t t[SENDERS];

	posted = out_of_order = 0;
	memset(last_of, 0, sizeof last_of);
	start_all(t, post_many);
	if (_i)
		blocker_let();
	join_all(t);
	must_serve();
	if (!_i)
		blocker_let();
	must_answer(fd, 'b');
	AWAIT(posted == SENDERS * MSGS);
	ck_assert_int_eq(out_of_order, 0);
	peer_close(&fd);
}
END_TEST

static int write_each_other(struct np_conn *c)
{
	struct np_conn *o = c == blocked[0] ? blocked[1] : blocked[0];
	int r;

	for (int i = 0; i < 20; i++) {
		r = np_conn_write(o, "o", 1);
		if (r == 0)
			r = np_conn_flush(o);
		if (r < 0 && r != -NP_ECONCURRENT)
			return r;
	}
	return 0;
}
START_TEST(two_that_write_to_each_other_do_not_wait_for_ever)
{
	int a, b;
	char buf[64];

	hook = write_each_other;
	a = given_left_alone('b');
	b = given_left_alone('b');
	blocker_let();
	blocker_let();
	peer_recv(a, buf, 21);
	peer_recv(b, buf, 21);
	peer_close(&a);
	peer_close(&b);
}
END_TEST

/* ------------------------------------------------------------------ np_blocking() */

static int blocking_task(void *arg)
{
	int r = np_blocking(pass_gate, NULL);

	return r < 0 ? r - 10000 : np_sleep(1);
}
START_TEST(a_cancel_meanwhile_ends_the_wait_that_follows)
{
	struct np_task *t = given_task(0, blocking_task, NULL);

	AWAIT(blocker_begun == 1);
	np_task_cancel(t);
	must_serve();
	blocker_let();
	ck_assert_int_eq(joined(t), -ECANCELED);
}
END_TEST

static int blocking_late(void *arg)
{
	ck_assert_int_eq(np_deadline(20, NULL), 0);
	return blocking_task(NULL);
}
START_TEST(a_deadline_meanwhile_ends_the_wait_that_follows)
{
	struct np_task *t = given_task(0, blocking_late, NULL);

	AWAIT(blocker_begun == 1);
	pass_ms(30);
	blocker_let();
	ck_assert_int_eq(joined(t), -ETIMEDOUT);
}
END_TEST

START_TEST(one_that_waits_for_a_thread_is_cancelled)
{
	struct np_task *a, *b;

	teardown();
	given(1, blocker_handlers(on_request));
	a = given_task(0, blocking_task, NULL);
	AWAIT(blocker_begun == 1);
	b = given_task(0, _i ? blocking_late : blocking_task, NULL);
	pass_ms(3);
	if (!_i)
		np_task_cancel(b);
	ck_assert_int_eq(joined(b), (_i ? -ETIMEDOUT : -ECANCELED) - 10000);
	ck_assert_int_eq(blocker_begun, 1);
	blocker_let();
	ck_assert_int_eq(joined(a), 0);
}
END_TEST

static const int THREADS[] = { 1, 2, 16 };

static void inner(void *arg)
{
	pass_gate(NULL);
	++*(int *)arg;
}
static void outer(void *arg)
{
	ck_assert_int_eq(np_blocking(inner, arg), 0);
	pass_gate(NULL);
	ck_assert_int_eq(np_blocking(inner, arg), 0);
}
static int nest(void *arg)
{
	int n = 0, r = np_blocking(outer, &n);

	return r < 0 ? r : n;
}
START_TEST(nested_ones_work)
{
	struct np_task *t, *u;

	teardown();
	given(THREADS[_i], blocker_handlers(on_request));
	t = given_task(0, nest, NULL);
	u = given_task(0, nest, NULL);
	for (int i = 0; i < 6; i++)
		blocker_let();
	ck_assert_int_eq(joined(t), 2);
	ck_assert_int_eq(joined(u), 2);
	must_serve();
}
END_TEST

/* ------------------------------------------------------------------ on_connect */

static int connect_blocks(struct np_conn *c, void *arg)
{
	blocked[blocker_begun] = np_conn_ref(c);
	pass_gate(NULL);
	blocker_stall();
	return np_conn_write(c, "h", 1) < 0 ? -EIO : np_conn_flush(c);
}
START_TEST(on_connect_blocks_while_its_peer_leaves)
{
	struct np_handlers h = *blocker_handlers(on_request);
	int fd;

	h.on_connect = connect_blocks;
	teardown();
	given(0, &h);
	fd = blocker_peer();
	AWAIT(blocker_begun == 1);
	AWAIT(pollers_stats().away == 1);
	peer_send(fd, "x", 1);
	if (_i == 1)
		shutdown(fd, SHUT_WR);
	if (_i == 2)
		peer_reset(&fd);
	if (_i == 3)
		np_conn_abort(blocked[0]);
	if (_i == 4)
		np_conn_close(blocked[0]);
	pass_ms(5);
	blocker_let();
	if (_i < 2) {
		must_answer(fd, 'h');
		must_answer(fd, 'x');
	}
	if (_i == 1)
		peer_expect_eof(fd);
	if (_i > 2)
		peer_drain(fd);
	if (_i)
		AWAIT(blocker_closed == 1);
	if (fd >= 0)
		peer_close(&fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "left alone");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_stop_that_gives_up_frees_nothing_under_it);
	tcase_add_loop_test(t, what_threads_send_to_it_leaves_in_each_ones_order, 0, 2);
	tcase_add_loop_test(t, what_threads_post_to_it_runs_in_each_ones_order, 0, 2);
	tcase_add_test(t, two_that_write_to_each_other_do_not_wait_for_ever);
	tcase_add_test(t, a_cancel_meanwhile_ends_the_wait_that_follows);
	tcase_add_test(t, a_deadline_meanwhile_ends_the_wait_that_follows);
	tcase_add_loop_test(t, one_that_waits_for_a_thread_is_cancelled, 0, 2);
	tcase_add_loop_test(t, nested_ones_work, 0, 3);
	tcase_add_loop_test(t, on_connect_blocks_while_its_peer_leaves, 0, 5);
}
