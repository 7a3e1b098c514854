/* SPDX-License-Identifier: BSD-2-Clause */
/* sync: mutex, semaphore and condition: in their order, across pollers and threads, with deadlines
 * and cancels. */
#include "netpoll/sync.h"

#include <errno.h>
#include <limits.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "support/pollers.h"
#include "support/test.h"

#define SOON 20

static struct np_mutex *mutex;
static struct np_sem *sem;
static struct np_cond *cond;

static void setup(void)
{
	given_pollers(NULL);
	ck_assert_int_eq(np_mutex_new(&mutex), 0);
	ck_assert_int_eq(np_sem_new(0, &sem), 0);
	ck_assert_int_eq(np_cond_new(&cond), 0);
}

/* Nobody is left in a line. */
static void teardown(void)
{
	ck_assert_int_eq(np_cond_free(&cond), 0);
	ck_assert_int_eq(np_sem_free(&sem), 0);
	ck_assert_int_eq(np_mutex_free(&mutex), 0);
	end_pollers();
}

/* ------------------------------------------------------------------ mutex */

#define ROUNDS 2000

static unsigned guarded; /* by mutex, and by nothing else */

static int add_rounds(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		int r = np_mutex_lock(mutex, 0);

		if (r < 0)
			return r;
		guarded++;
		if (i % 16 == 0 && np_poller_self() >= 0)
			np_yield(); /* it stays held over a wait */
		r = np_mutex_unlock(mutex);
		if (r < 0)
			return r;
	}
	return 0;
}

static void *add_on_thread(void *arg)
{
	ck_assert_int_eq(add_rounds(NULL), 0);
	return NULL;
}

START_TEST(one_at_a_time_holds_it_on_pollers_and_threads)
{
	struct np_task *t[4];
	pthread_t thread;

	for (int i = 0; i < 4; i++)
		t[i] = given_task(i % 2, add_rounds, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, add_on_thread, NULL), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(joined(t[i]), 0);
	pthread_join(thread, NULL);

	ck_assert_uint_eq(guarded, 5 * ROUNDS);
}
END_TEST

#define LINE 5

static int order[LINE];
static _Atomic(unsigned) served;
static _Atomic(unsigned) lined_up;

static int lock_in_order(void *arg)
{
	int r;

	lined_up++;
	r = np_mutex_lock(mutex, 0);
	order[served++] = (int)(intptr_t)arg;
	return r < 0 ? r : np_mutex_unlock(mutex);
}

START_TEST(waiters_get_it_in_the_order_in_which_they_came)
{
	struct np_task *t[LINE];

	ck_assert_int_eq(np_mutex_lock(mutex, 0), 0);
	for (int i = 0; i < LINE; i++)
		/* one poller: they begin in order */
		t[i] = given_task(0, lock_in_order, (void *)(intptr_t)i);
	AWAIT(lined_up == LINE);
	ck_assert_int_eq(np_mutex_unlock(mutex), 0);

	for (int i = 0; i < LINE; i++)
		ck_assert_int_eq(joined(t[i]), 0);
	for (int i = 0; i < LINE; i++)
		ck_assert_int_eq(order[i], i);
}
END_TEST

static int lock_soon(void *arg)
{
	int r = np_mutex_lock(mutex, SOON);

	return r < 0 ? r : np_mutex_unlock(mutex);
}

static int lock_under_deadline(void *arg)
{
	int r;

	ck_assert_int_eq(np_deadline(SOON, NULL), 0);
	r = np_mutex_lock(mutex, 0);
	return r < 0 ? r : np_mutex_unlock(mutex);
}

static int lock_for_ever(void *arg)
{
	int r;

	lined_up++;
	r = np_mutex_lock(mutex, 0);
	return r < 0 ? r : np_mutex_unlock(mutex);
}

START_TEST(a_limit_a_deadline_and_a_cancel_end_the_wait_for_a_mutex)
{
	struct np_task *t;

	ck_assert_int_eq(np_mutex_lock(mutex, 0), 0);
	ck_assert_int_eq(joined(given_task(0, lock_soon, NULL)), -ETIMEDOUT);
	ck_assert_int_eq(joined(given_task(1, lock_under_deadline, NULL)), -ETIMEDOUT);
	t = given_task(0, lock_for_ever, NULL);
	AWAIT(lined_up == 1);
	ck_assert_int_eq(np_task_cancel(t), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);

	/* it was never theirs */
	ck_assert_int_eq(np_mutex_unlock(mutex), 0);
	ck_assert_int_eq(joined(given_task(0, lock_soon, NULL)), 0);
}
END_TEST

static int tries(void *arg)
{
	return np_mutex_trylock(mutex);
}

static int unlocks(void *arg)
{
	return np_mutex_unlock(mutex);
}

START_TEST(only_its_holder_unlocks_it_and_nobody_locks_it_twice)
{
	ck_assert_int_eq(np_mutex_unlock(mutex), -EPERM);
	ck_assert_int_eq(np_mutex_trylock(mutex), 0);
	ck_assert_int_eq(np_mutex_lock(mutex, 0), -EDEADLK);
	ck_assert_int_eq(np_mutex_trylock(mutex), -EDEADLK);
	ck_assert_int_eq(joined(given_task(0, tries, NULL)), -EBUSY);
	ck_assert_int_eq(joined(given_task(0, unlocks, NULL)), -EPERM);
	ck_assert_int_eq(np_mutex_free(&mutex), -EBUSY);
	ck_assert_ptr_nonnull(mutex);
	ck_assert_int_eq(np_mutex_lock(mutex, -2), -EINVAL);
	ck_assert_int_eq(np_mutex_unlock(mutex), 0);
}
END_TEST

/* Limits that come due while it is handed on: each waiter holds it, or has nothing. */
static _Atomic(unsigned) holders, got;

static int lock_at_the_limit(void *arg)
{
	for (int i = 0; i < 50; i++) {
		int r = np_mutex_lock(mutex, 1);

		if (r == -ETIMEDOUT)
			continue;
		ck_assert_int_eq(r, 0);
		ck_assert_uint_eq(holders++, 0);
		got++;
		np_sleep(1);
		holders--;
		ck_assert_int_eq(np_mutex_unlock(mutex), 0);
	}
	return 0;
}

START_TEST(a_limit_beside_the_hand_over_loses_no_mutex)
{
	struct np_task *t[4];

	for (int i = 0; i < 4; i++)
		t[i] = given_task(i % 2, lock_at_the_limit, NULL);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(joined(t[i]), 0);
	ck_assert_uint_gt(got, 0);
}
END_TEST

/* ------------------------------------------------------------------ semaphore */

static int take_one(void *arg)
{
	lined_up++;
	return np_sem_wait(sem, 0);
}

static int take_soon(void *arg)
{
	return np_sem_wait(sem, SOON);
}

START_TEST(a_semaphore_lets_as_many_through_as_were_given)
{
	struct np_task *t[3];

	/* given three that wait for none */
	for (int i = 0; i < 3; i++)
		t[i] = given_task(i % 2, take_one, NULL);
	AWAIT(lined_up == 3);
	ck_assert_int_eq(joined(given_task(0, take_soon, NULL)), -ETIMEDOUT);

	/* when five are given, one by one, from a thread */
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(np_sem_post(sem), 0);

	/* then three are taken and two are left */
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(joined(t[i]), 0);
	ck_assert_uint_eq(np_sem_value(sem), 2);
	ck_assert_int_eq(np_sem_trywait(sem), 0);
	ck_assert_int_eq(joined(given_task(1, take_soon, NULL)), 0);
	ck_assert_int_eq(np_sem_trywait(sem), -EAGAIN);
}
END_TEST

static void post_here(void *arg)
{
	ck_assert_int_eq(np_sem_wait(sem, 0), -NP_ENOTFIBER);
	ck_assert_int_eq(np_mutex_lock(mutex, 0), -NP_ENOTFIBER);
	ck_assert_int_eq(np_cond_wait(cond, mutex, 0), -NP_ENOTFIBER);
	ck_assert_int_eq(np_sem_post(sem), 0);
}

START_TEST(the_own_stack_of_a_poller_gives_and_does_not_wait)
{
	ck_assert_int_eq(np_post(pollers, 0, post_here, NULL), 0);
	ck_assert_int_eq(np_sem_wait(sem, AWAIT_MS), 0);
}
END_TEST

START_TEST(a_full_semaphore_says_so)
{
	struct np_sem *full;

	ck_assert_int_eq(np_sem_new(UINT_MAX, &full), 0);
	ck_assert_int_eq(np_sem_post(full), -EOVERFLOW);
	ck_assert_int_eq(np_sem_free(&full), 0);
}
END_TEST

/* ------------------------------------------------------------------ condition */

static unsigned items, eaten; /* by mutex */
static bool over;

static int eat(void *arg)
{
	int r = np_mutex_lock(mutex, 0);

	while (r == 0 && !(over && !items)) {
		if (!items) {
			r = np_cond_wait(cond, mutex, 0);
			continue;
		}
		items--;
		eaten++;
	}
	return r < 0 ? r : np_mutex_unlock(mutex);
}

#define ITEMS 1000

START_TEST(no_signal_is_missed_between_the_look_and_the_wait)
{
	struct np_task *t[3];

	for (int i = 0; i < 3; i++)
		t[i] = given_task(i % 2, eat, NULL);
	for (int i = 0; i < ITEMS; i++) {
		ck_assert_int_eq(np_mutex_lock(mutex, 0), 0);
		items++;
		np_cond_signal(cond);
		ck_assert_int_eq(np_mutex_unlock(mutex), 0);
	}
	ck_assert_int_eq(np_mutex_lock(mutex, 0), 0);
	over = true;
	ck_assert_int_eq(np_mutex_unlock(mutex), 0);
	np_cond_broadcast(cond);

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(joined(t[i]), 0);
	ck_assert_uint_eq(eaten, ITEMS);
}
END_TEST

static int wait_in_vain(void *arg)
{
	const int *ms = arg;
	int r;

	ck_assert_int_eq(np_mutex_lock(mutex, 0), 0);
	lined_up++;
	r = np_cond_wait(cond, mutex, *ms);
	/* it is held again, whatever happened */
	ck_assert_int_eq(np_mutex_lock(mutex, 0), -EDEADLK);
	ck_assert_int_eq(np_mutex_unlock(mutex), 0);
	return r;
}

START_TEST(a_wait_for_a_condition_that_ends_early_holds_the_mutex_again)
{
	static const int soon = SOON, never = 0;
	struct np_task *t;

	ck_assert_int_eq(joined(given_task(0, wait_in_vain, (void *)&soon)), -ETIMEDOUT);
	t = given_task(1, wait_in_vain, (void *)&never);
	AWAIT(lined_up == 2);
	/* held while the wait is cancelled: it comes back all the same, when the mutex is free */
	ck_assert_int_eq(np_mutex_lock(mutex, 0), 0);
	ck_assert_int_eq(np_task_cancel(t), 0);
	ck_assert_int_eq(np_join_for(&t, SOON, NULL), -ETIMEDOUT);
	ck_assert_int_eq(np_mutex_unlock(mutex), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);

	ck_assert_int_eq(np_cond_wait(cond, mutex, 0), -EPERM);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "sync");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, one_at_a_time_holds_it_on_pollers_and_threads);
	tcase_add_test(t, waiters_get_it_in_the_order_in_which_they_came);
	tcase_add_test(t, a_limit_a_deadline_and_a_cancel_end_the_wait_for_a_mutex);
	tcase_add_test(t, only_its_holder_unlocks_it_and_nobody_locks_it_twice);
	tcase_add_test(t, a_limit_beside_the_hand_over_loses_no_mutex);
	tcase_add_test(t, a_semaphore_lets_as_many_through_as_were_given);
	tcase_add_test(t, the_own_stack_of_a_poller_gives_and_does_not_wait);
	tcase_add_test(t, a_full_semaphore_says_so);
	tcase_add_test(t, no_signal_is_missed_between_the_look_and_the_wait);
	tcase_add_test(t, a_wait_for_a_condition_that_ends_early_holds_the_mutex_again);
}
