/* SPDX-License-Identifier: BSD-2-Clause */
/* deadline: set once by a handler, and every wait below it obeys; a task is asked to end, a join
 * gives up. */
#include <errno.h>
#include <limits.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/pollers.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/pollers.h"
#include "support/test.h"

#define SOON 20

static void setup(void)
{
	given_pollers(NULL);
}

/* ------------------------------------------------------------------ every wait */

static int wait_in_sleep(void *arg)
{
	return np_sleep(AWAIT_MS);
}

static int wait_in_event(void *arg)
{
	struct np_event *e;
	int r;

	ck_assert_int_eq(np_event_new(&e), 0);
	r = np_event_wait(e, 0);
	ck_assert_int_eq(np_event_free(&e), 0);
	return r;
}

static int wait_in_fd(void *arg)
{
	int fds[2], r;

	ck_assert_int_eq(pipe(fds), 0);
	r = np_wait_fd(fds[0], 1 /* POLLIN */, 0);
	close(fds[0]);
	close(fds[1]);
	return r;
}

static int wait_in_yields(void *arg)
{
	int r;

	while ((r = np_yield()) == 0)
		;
	return r;
}

static int with_pair(int (*fn)(struct np_conn *c))
{
	struct np_conn *c;
	int fds[2], r;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(np_conn_from_fd(NULL, NP_HERE, &fds[0], NULL, NULL, &c), 0);
	r = fn(c);
	np_conn_abort(c);
	np_conn_unref(c);
	close(fds[1]);
	return r;
}

static int read_one(struct np_conn *c)
{
	const void *byte;

	return np_conn_next(c, 1, &byte);
}

static int wait_in_read(void *arg)
{
	return with_pair(read_one);
}

static int write_much(struct np_conn *c)
{
	static const char much[4u << 20];
	int r = np_conn_write(c, much, sizeof much);

	return r < 0 ? r : np_conn_sync(c);
}

static int wait_in_write(void *arg)
{
	return with_pair(write_much);
}

static int wait_in_joined_task(void *arg)
{
	struct np_task *t;
	int result, r;

	r = np_go(NULL, NP_HERE, wait_in_sleep, NULL, &t);
	if (r == 0)
		r = np_join(&t, &result);
	return r < 0 ? r : result;
}

static int (*const waits[])(void *) = {
	wait_in_sleep, wait_in_event, wait_in_fd,          wait_in_yields,
	wait_in_read,  wait_in_write, wait_in_joined_task,
};

#define WAITS (int)(sizeof waits / sizeof waits[0])

static int under_deadline(void *arg)
{
	uint64_t outer;
	int r;

	ck_assert_int_eq(np_deadline_left(), -1);
	ck_assert_int_eq(np_deadline(SOON, &outer), 0);
	r = ((int (*)(void *))arg)(NULL);
	ck_assert_int_eq(np_deadline_left(), 0);
	ck_assert_int_eq(np_deadline_restore(outer), 0);
	ck_assert_int_eq(np_deadline_left(), -1);
	return r;
}

START_TEST(each_wait_ends_at_the_deadline_of_its_fiber)
{
	ck_assert_int_eq(joined(given_task(0, under_deadline, (void *)waits[_i])), -ETIMEDOUT);
}
END_TEST

static int in_a_task(void *arg)
{
	struct np_task *t;
	int result;

	/* given a task that has begun to wait */
	ck_assert_int_eq(np_go(NULL, NP_SPREAD, arg, NULL, &t), 0);
	ck_assert_int_eq(np_sleep(SOON), 0);

	/* when it is cancelled, more than once */
	ck_assert_int_eq(np_task_cancel(t), 0);
	ck_assert_int_eq(np_task_cancel(t), 0);

	/* then its wait ends, and it can be joined */
	ck_assert_int_eq(np_join(&t, &result), 0);
	ck_assert_ptr_null(t);
	return result;
}

START_TEST(each_wait_of_a_task_ends_when_it_is_cancelled)
{
	ck_assert_int_eq(joined(given_task(0, in_a_task, (void *)waits[_i])), -ECANCELED);
}
END_TEST

/* ------------------------------------------------------------------ deadlines */

static int nested(void *arg)
{
	uint64_t outer, none;

	ck_assert_int_eq(np_deadline(SOON, &none), 0);
	ck_assert_uint_eq(none, 0);
	/* a later one does not widen it */
	ck_assert_int_eq(np_deadline(AWAIT_MS, &outer), 0);
	ck_assert_int_eq(np_sleep(AWAIT_MS), -ETIMEDOUT);
	ck_assert_int_eq(np_deadline_restore(outer), 0);
	ck_assert_int_eq(np_deadline_left(), 0);
	return np_deadline_restore(none);
}

START_TEST(a_deadline_narrows_and_never_widens)
{
	ck_assert_int_eq(joined(given_task(0, nested, NULL)), 0);
}
END_TEST

static int far(void *arg)
{
	int left;

	ck_assert_int_eq(np_deadline(INT_MAX, NULL), 0);
	left = np_deadline_left();
	return left > INT_MAX - AWAIT_MS ? 0 : left;
}

START_TEST(of_the_longest_deadline_time_is_left)
{
	ck_assert_int_eq(joined(given_task(0, far, NULL)), 0);
}
END_TEST

static int read_two(struct np_conn *c)
{
	const void *p;
	int r;

	/* what is there is had after the deadline too; what is not is not waited for */
	ck_assert_int_eq(np_deadline(NP_NOW, NULL), 0);
	r = np_conn_next(c, 2, &p);
	if (r == 0)
		r = memcmp(p, "ab", 2) ? -EBADMSG : 0;
	return r < 0 ? r : np_conn_next(c, 1, &p);
}

static int two_bytes_are_there(void *arg)
{
	struct np_conn *c;
	int fds[2], r;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(np_conn_from_fd(NULL, NP_HERE, &fds[0], NULL, NULL, &c), 0);
	ck_assert_int_eq(write(fds[1], "ab", 2), 2);
	r = read_two(c);
	np_conn_abort(c);
	np_conn_unref(c);
	close(fds[1]);
	return r;
}

START_TEST(a_wait_behind_the_deadline_looks_without_waiting)
{
	ck_assert_int_eq(joined(given_task(0, two_bytes_are_there, NULL)), -ETIMEDOUT);
}
END_TEST

static int own_limit_first(void *arg)
{
	return with_pair(arg);
}

static int read_timeout(struct np_conn *c)
{
	ck_assert_int_eq(np_deadline(AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_conn_set_read_timeout(c, SOON), 0);
	return read_one(c);
}

START_TEST(a_limit_of_the_waits_own_keeps_its_name)
{
	ck_assert_int_eq(joined(given_task(0, own_limit_first, (void *)read_timeout)),
			 -NP_EREADTIMEOUT);
}
END_TEST

static int is_left(void *arg)
{
	return np_deadline_left();
}

static int makes_tasks(void *arg)
{
	struct np_task *t;
	int result;

	ck_assert_int_eq(np_deadline(AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_go(NULL, NP_SPREAD, is_left, NULL, &t), 0);
	ck_assert_int_eq(np_join(&t, &result), 0);
	return result;
}

START_TEST(a_task_that_is_joined_begins_with_the_deadline_of_its_maker)
{
	ck_assert_int_gt(joined(given_task(0, makes_tasks, NULL)), 0);
	/* and the next fiber on that stack with none */
	ck_assert_int_eq(joined(given_task(0, is_left, NULL)), -1);
}
END_TEST

static int wait_for_set(void *arg)
{
	return np_event_wait(arg, 0);
}

static struct np_task *elder;

static int joins_elder(void *arg)
{
	int result;

	ck_assert_int_eq(np_deadline(SOON, NULL), 0);
	ck_assert_int_eq(np_join(&elder, &result), 0);
	return result;
}

START_TEST(a_join_at_its_deadline_cancels_a_task_that_has_none)
{
	struct np_event *e;

	ck_assert_int_eq(np_event_new(&e), 0);
	elder = given_task(1, wait_for_set, e);
	ck_assert_int_eq(joined(given_task(0, joins_elder, NULL)), -ECANCELED);
	ck_assert_int_eq(np_event_free(&e), 0);
}
END_TEST

/* ------------------------------------------------------------------ tasks */

START_TEST(a_join_that_gives_up_leaves_the_task_to_be_joined_again)
{
	struct np_event *e;
	struct np_task *t;
	int result = 1;

	ck_assert_int_eq(np_event_new(&e), 0);
	t = given_task(0, wait_for_set, e);
	ck_assert_int_eq(np_join_for(&t, SOON, &result), -ETIMEDOUT);
	ck_assert_ptr_nonnull(t);
	ck_assert_int_eq(result, 1);

	np_event_set(e);
	ck_assert_int_eq(np_join_for(&t, AWAIT_MS, &result), 0);
	ck_assert_ptr_null(t);
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(np_event_free(&e), 0);
}
END_TEST

static _Atomic(bool) keep;

static int keeps_thread(void *arg)
{
	AWAIT(!keep);
	return 0;
}

static int must_not_begin(void *arg)
{
	ck_abort_msg("it was cancelled before it began");
	return 0;
}

START_TEST(a_task_cancelled_before_it_begins_is_not_called)
{
	struct np_task *busy, *t;

	/* given a poller that is kept, and a task behind that */
	keep = true;
	busy = given_task(0, keeps_thread, NULL);
	t = given_task(0, must_not_begin, NULL);

	ck_assert_int_eq(np_task_cancel(t), 0);
	keep = false;

	ck_assert_int_eq(joined(busy), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
}
END_TEST

static int waits_in_task(void *arg)
{
	return wait_in_joined_task(NULL);
}

START_TEST(a_cancel_reaches_the_tasks_that_a_task_joins)
{
	struct np_task *t = given_task(0, waits_in_task, NULL);

	ck_assert_int_eq(np_task_cancel(t), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
}
END_TEST

#define RACERS 200

static int soon_over(void *arg)
{
	return np_yield() == 0 ? 0 : -ECANCELED;
}

START_TEST(a_cancel_beside_the_end_of_a_task_is_harmless)
{
	for (int i = 0; i < RACERS; i++) {
		struct np_task *t = given_task(i % 2, soon_over, NULL);
		int r;

		np_task_cancel(t);
		r = joined(t);
		ck_assert(r == 0 || r == -ECANCELED);
	}
}
END_TEST

START_TEST(off_a_fiber_there_is_no_deadline)
{
	ck_assert_int_eq(np_deadline(1, NULL), -NP_ENOTFIBER);
	ck_assert_int_eq(np_deadline_restore(0), -NP_ENOTFIBER);
	ck_assert_int_eq(np_deadline_left(), -1);
	ck_assert_int_eq(np_task_cancel(NULL), -EINVAL);
	ck_assert_int_eq(np_join_for(&(struct np_task *){ NULL }, 1, NULL), -EINVAL);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "waits");

	tcase_add_checked_fixture(t, setup, end_pollers);
	tcase_add_loop_test(t, each_wait_ends_at_the_deadline_of_its_fiber, 0, WAITS);
	tcase_add_loop_test(t, each_wait_of_a_task_ends_when_it_is_cancelled, 0, WAITS);

	t = add_case(s, "deadlines");
	tcase_add_checked_fixture(t, setup, end_pollers);
	tcase_add_test(t, a_deadline_narrows_and_never_widens);
	tcase_add_test(t, of_the_longest_deadline_time_is_left);
	tcase_add_test(t, a_wait_behind_the_deadline_looks_without_waiting);
	tcase_add_test(t, a_limit_of_the_waits_own_keeps_its_name);
	tcase_add_test(t, a_task_that_is_joined_begins_with_the_deadline_of_its_maker);
	tcase_add_test(t, a_join_at_its_deadline_cancels_a_task_that_has_none);
	tcase_add_test(t, off_a_fiber_there_is_no_deadline);

	t = add_case(s, "tasks");
	tcase_add_checked_fixture(t, setup, end_pollers);
	tcase_add_test(t, a_join_that_gives_up_leaves_the_task_to_be_joined_again);
	tcase_add_test(t, a_task_cancelled_before_it_begins_is_not_called);
	tcase_add_test(t, a_cancel_reaches_the_tasks_that_a_task_joins);
	tcase_add_test(t, a_cancel_beside_the_end_of_a_task_is_harmless);
}
