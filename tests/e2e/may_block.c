/* SPDX-License-Identifier: BSD-2-Clause */
/* may_block: a handler that blocks keeps its thread, and not its poller; public headers only */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <pthread.h>
#include <stdatomic.h>

#include "support/blocker.h"
#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/test.h"

static _Atomic(size_t) grew;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct np_conn *blocked;

/* With its input in hand, which nobody may touch meanwhile. */
static void block_with_input(struct np_conn *c)
{
	struct np_linkbuf *in = np_conn_in(c);
	size_t len = np_linkbuf_len(in);

	blocker_wait();
	grew = np_linkbuf_len(in) - len;
}

/* Others want it meanwhile, and so does the verb its turn. */
static void block_with_mutex(struct np_conn *c)
{
	pthread_mutex_lock(&mutex);
	blocker_wait();
	np_conn_len(c);
	pthread_mutex_unlock(&mutex);
}

static void want_mutex(void)
{
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
}

/* One byte says what to do first; it is the answer. */
static int on_request(struct np_conn *c, void *arg)
{
	char op;
	int r = blocker_take(c, &op);

	if (r < 0)
		return r;
	if (op != 'x')
		blocked = c;
	np_conn_set_tag(c, "GET /slow");
	if (op == 'b')
		blocker_wait();
	else if (op == 's')
		blocker_spin();
	else if (op == 'i')
		block_with_input(c);
	else if (op == 'm')
		block_with_mutex(c);
	else if (op == 'w')
		want_mutex();
	return blocker_answer(c, op);
}

static void setup(void)
{
	grew = 0;
	given_blocker(blocker_handlers(on_request), 0, NULL);
}

START_TEST(its_neighbours_are_served_meanwhile)
{
	int fd = given_at_gate('b');

	must_serve();
	ck_assert_uint_eq(pollers_stats().away, 1);
	ck_assert_uint_ge(pollers_stats().handoffs, 1);
	must_go_on(&fd, 'b');
	AWAIT(pollers_stats().away == 0);
}
END_TEST

START_TEST(one_that_computes_is_left_alone_as_well)
{
	int fd = given_at_gate('s');

	must_serve();
	must_go_on(&fd, 's');
}
END_TEST

START_TEST(a_hand_off_is_named_with_its_handler_tag_and_peer)
{
	int fd = given_at_gate('b');

	must_serve();
	ck_assert_uint_eq(log_names(on_request), 1);
	ck_assert_uint_eq(in_log("(\"GET /slow\")"), 1);
	ck_assert_uint_eq(in_log("127.0.0.1:"), 1);
	must_go_on(&fd, 'b');
	fd = given_at_gate('b');
	must_serve();
	ck_assert_uint_eq(log_names(on_request), 1); /* once in a minute */
	must_go_on(&fd, 'b');
}
END_TEST

START_TEST(nobody_touches_what_it_has_in_hand)
{
	int fd = given_at_gate('i');

	must_serve();
	peer_send(fd, "xy", 2);
	must_serve();
	must_serve();
	blocker_let();
	must_answer(fd, 'i');
	must_answer(fd, 'x');
	must_answer(fd, 'y');
	ck_assert_uint_eq(grew, 0);
	peer_close(&fd);
}
END_TEST

static int write_there(void *arg)
{
	int r = np_conn_write(blocked, "w", 1);

	return r < 0 ? r : np_conn_flush(blocked);
}

static int write_there_in_time(void *arg)
{
	ck_assert_int_eq(np_deadline(10, NULL), 0);
	return write_there(NULL);
}

START_TEST(those_that_wait_for_its_mutex_hold_up_nobody)
{
	int fd = given_left_alone('m'), waits[3];

	for (int i = 0; i < 3; i++) {
		waits[i] = blocker_peer();
		peer_send(waits[i], "w", 1);
		AWAIT(pollers_stats().away == 2u + (unsigned)i);
	}
	must_serve();
	must_go_on(&fd, 'm');
	for (int i = 0; i < 3; i++) {
		must_answer(waits[i], 'w');
		peer_close(&waits[i]);
	}
}
END_TEST

START_TEST(a_verb_of_another_fiber_waits_for_it)
{
	int fd = given_at_gate('b');
	struct np_task *t;

	must_serve();
	ck_assert_int_eq(joined(given_task(0, write_there_in_time, NULL)), -ETIMEDOUT);
	t = given_task(0, write_there, NULL);
	must_serve();
	blocker_let();
	ck_assert_int_eq(joined(t), 0);
	must_answer(fd, 'b');
	must_answer(fd, 'w');
	peer_close(&fd);
}
END_TEST

static int close_there(void *arg)
{
	return np_conn_close(arg);
}

static int abort_there(void *arg)
{
	return np_conn_abort(arg);
}

static void must_end_when_it_is_back(int (*fn)(void *))
{
	int fd = given_at_gate('b');
	struct np_conn *c = blocked;

	must_serve();
	AWAIT(blocker_closed == 1);
	ck_assert_int_eq(joined(given_task(0, fn, c)), 0);
	must_serve();
	AWAIT(blocker_closed == 2);
	blocker_let();
	AWAIT(blocker_closed == 3);
	peer_close(&fd);
}

START_TEST(closed_by_another_it_ends_when_its_handler_is_back)
{
	must_end_when_it_is_back(close_there);
	blocker_closed = 0;
	must_end_when_it_is_back(abort_there);
}
END_TEST

START_TEST(where_no_thread_is_left_the_poller_waits_and_counts_it)
{
	int a, b;

	given_blocker_threads(blocker_handlers(on_request), 1);
	a = given_at_gate('b');
	b = given_at_gate('b');
	AWAIT(pollers_stats().handoffs_refused >= 1);
	must_go_on(&a, 'b');
	must_go_on(&b, 'b');
	must_serve();
}
END_TEST

START_TEST(a_stop_names_one_that_does_not_return)
{
	int fd = given_at_gate('b');

	must_serve();
	ck_assert_int_eq(np_server_stop(blocker, 20, NULL), -ETIMEDOUT);
	ck_assert_uint_ge(in_log("did not return"), 1);
	blocker_let();
	peer_drain(fd);
	peer_close(&fd);
}
END_TEST

START_TEST(many_are_left_alone_at_once)
{
	enum { N = 12 };
	int fd[N];

	for (int i = 0; i < N; i++)
		fd[i] = given_at_gate('b');
	must_serve();
	ck_assert_uint_eq(pollers_stats().away, N);
	for (int i = 0; i < N; i++)
		blocker_let();
	for (int i = 0; i < N; i++) {
		must_answer(fd[i], 'b');
		peer_close(&fd[i]);
	}
}
END_TEST

START_TEST(flags_that_are_not_known_are_refused)
{
	struct np_handlers h = *blocker_handlers(on_request);
	struct np_server *s = NULL;

	h.flags = 1 << 5;
	ck_assert_int_eq(np_server_new(pollers, &h, NULL, NULL, &s), -EINVAL);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "a handler that blocks");

	tcase_add_checked_fixture(t, setup, end_blocker);
	tcase_add_test(t, its_neighbours_are_served_meanwhile);
	tcase_add_test(t, one_that_computes_is_left_alone_as_well);
	tcase_add_test(t, a_hand_off_is_named_with_its_handler_tag_and_peer);
	tcase_add_test(t, nobody_touches_what_it_has_in_hand);
	tcase_add_test(t, those_that_wait_for_its_mutex_hold_up_nobody);
	tcase_add_test(t, a_verb_of_another_fiber_waits_for_it);
	tcase_add_test(t, closed_by_another_it_ends_when_its_handler_is_back);
	tcase_add_test(t, where_no_thread_is_left_the_poller_waits_and_counts_it);
	tcase_add_test(t, a_stop_names_one_that_does_not_return);
	tcase_add_test(t, many_are_left_alone_at_once);
	tcase_add_test(t, flags_that_are_not_known_are_refused);
}
