/* SPDX-License-Identifier: BSD-2-Clause */
/* offload: the fiber waits, the poller does not, and fn has returned before the fiber goes on. */
#include "poll/offload.h"

#include <errno.h>
#include <pthread.h>

#include "given_poller.h"
#include "netpoll/status.h"
#include "sys/fault.h"

static struct poller *p;
static struct offload *o;
static unsigned fibers_left;

static void setup(void)
{
	p = given_poller();
	ck_assert_int_eq(offload_new(NULL, &o), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(offload_free(o), 0);
	free_poller(p);
}

static void given_offload(const struct offload_opts *opts)
{
	ck_assert_int_eq(offload_free(o), 0);
	ck_assert_int_eq(offload_new(opts, &o), 0);
}

/* Runs @n fibers of fn(arg) and ends with the last. */
static void (*body)(void *);

static void fiber(void *arg)
{
	body(arg);
	if (--fibers_left == 0)
		poller_stop(p);
}

static void run_fibers(unsigned n, void (*fn)(void *), void *arg)
{
	body = fn;
	fibers_left = n;
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(poller_spawn(p, fiber, arg), 0);
	run_loop(p);
}

/* ------------------------------------------------------------------ the promise */

static pthread_barrier_t both;
static pthread_t loop_thread;

static void meet(void *arg)
{
	int *on_fibers_stack = arg;

	ck_assert(!pthread_equal(pthread_self(), loop_thread));
	pthread_barrier_wait(&both);
	*on_fibers_stack = 42;
}

static void offload_meeting(void *arg)
{
	int here = 0;

	ck_assert_int_eq(offload_run(o, meet, &here), 0);
	ck_assert_int_eq(here, 42);
	ck_assert(pthread_equal(pthread_self(), loop_thread));
}

/*
 * Two jobs wait for each other: so the first did not hold up the poller, nor its worker the second.
 */
START_TEST(fibers_wait_for_their_own_job_and_the_poller_for_none)
{
	loop_thread = pthread_self();
	pthread_barrier_init(&both, NULL, 2);
	run_fibers(2, offload_meeting, NULL);
	pthread_barrier_destroy(&both);
}
END_TEST

static _Atomic(unsigned) inside, most, done;

static void count_inside(void *arg)
{
	unsigned n = ++inside, m = most;

	while (n > m && !atomic_compare_exchange_weak(&most, &m, n))
		;
	test_pause();
	inside--;
	done++;
}

static void offload_count(void *arg)
{
	ck_assert_int_eq(offload_run(o, count_inside, NULL), 0);
}

START_TEST(no_more_threads_than_asked_for_and_every_job_runs)
{
	given_offload(&(struct offload_opts){ .threads = 2 });
	run_fibers(20, offload_count, NULL);

	ck_assert_uint_eq(done, 20);
	ck_assert_uint_le(most, 2);
	ck_assert_int_eq(np_threads(), 2);
}
END_TEST

START_TEST(a_thread_starts_when_there_is_work_and_not_for_each_job)
{
	ck_assert_int_eq(np_threads(), 0);
	for (int i = 0; i < 5; i++) {
		run_fibers(1, offload_count, NULL);
		free_poller(p);
		p = given_poller();
	}
	/* A worker may not have come back from its last job when the next is there. */
	ck_assert_int_le(np_threads(), 2);
	ck_assert_uint_eq(done, 5);
}
END_TEST

START_TEST(the_workers_end_with_it)
{
	run_fibers(4, offload_count, NULL);
	given_offload(NULL);
	AWAIT(np_threads() == 0);
}
END_TEST

/* ------------------------------------------------------------------ where it cannot be */

static void never(void *arg)
{
	ck_abort_msg("was called");
}

static void offload_on_main(struct mail *m)
{
	ck_assert_int_eq(offload_run(o, never, NULL), -NP_ENOTFIBER);
	poller_stop(p);
}

START_TEST(off_a_fiber_it_is_refused)
{
	struct mail m = { .fn = offload_on_main };

	ck_assert_int_eq(offload_run(o, never, NULL), -NP_ENOTFIBER);
	poller_post(p, &m);
	run_loop(p);
}
END_TEST

#ifdef NP_FAULT
static void offload_with_no_thread(void *arg)
{
	sys_fault_arm(SYS_thread, 1, EAGAIN);
	ck_assert_int_eq(offload_run(o, never, NULL), -EAGAIN);
	ck_assert_int_eq(offload_run(o, count_inside, NULL), 0);
	ck_assert_uint_eq(done, 1);
}

START_TEST(with_no_thread_to_be_had_the_job_is_not_run_and_the_next_may_be)
{
	run_fibers(1, offload_with_no_thread, NULL);
}
END_TEST
#endif

/* ------------------------------------------------------------------ the end */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void pass_gate(void *arg)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	done++;
}

static void stop_and_offload(void *arg)
{
	poller_stop(p);
	ck_assert_int_eq(offload_run(o, pass_gate, NULL), 0);
	ck_assert_uint_eq(done, 1);
}

static void open_gate(struct timer *t)
{
	pthread_mutex_unlock(&gate);
}

START_TEST(a_stopped_poller_waits_for_the_job)
{
	struct timer t;

	pthread_mutex_lock(&gate);
	timer_init(&t, open_gate);
	timer_arm(p, &t, poller_after_ms(p, 20));
	run_fibers(1, stop_and_offload, NULL);
	ck_assert_uint_eq(done, 1);
}
END_TEST

/* ------------------------------------------------------------------ another executor */

static unsigned asked;

static int refuse(void *arg, void (*job)(void *), void *job_arg)
{
	asked++;
	return -ECANCELED;
}

static void offload_refused(void *arg)
{
	ck_assert_int_eq(offload_run(o, never, NULL), -ECANCELED);
}

START_TEST(what_an_executor_refuses_is_not_run)
{
	given_offload(&(struct offload_opts){ .executor = refuse });
	run_fibers(1, offload_refused, NULL);
	ck_assert_uint_eq(asked, 1);
}
END_TEST

static int run_here(void *arg, void (*job)(void *), void *job_arg)
{
	ck_assert_ptr_eq(arg, &asked);
	asked++;
	job(job_arg);
	return 0;
}

START_TEST(an_executor_may_run_the_job_on_the_spot)
{
	given_offload(&(struct offload_opts){ .executor = run_here, .executor_arg = &asked });
	run_fibers(3, offload_count, NULL);
	ck_assert_uint_eq(asked, 3);
	ck_assert_uint_eq(done, 3);
	ck_assert_int_eq(np_threads(), 0);
}
END_TEST

static struct {
	void (*job)(void *);
	void *arg;
} taken;

static void *run_taken(void *arg)
{
	taken.job(taken.arg);
	return NULL;
}

static int run_on_a_thread(void *arg, void (*job)(void *), void *job_arg)
{
	pthread_t t;

	taken.job = job;
	taken.arg = job_arg;
	ck_assert_int_eq(pthread_create(&t, NULL, run_taken, NULL), 0);
	pthread_detach(t);
	return 0;
}

START_TEST(an_executor_may_run_the_job_on_a_thread_of_its_own)
{
	given_offload(&(struct offload_opts){ .executor = run_on_a_thread });
	run_fibers(1, offload_count, NULL);
	ck_assert_uint_eq(done, 1);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "offload");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, fibers_wait_for_their_own_job_and_the_poller_for_none);
	tcase_add_test(c, no_more_threads_than_asked_for_and_every_job_runs);
	tcase_add_test(c, a_thread_starts_when_there_is_work_and_not_for_each_job);
	tcase_add_test(c, the_workers_end_with_it);
	tcase_add_test(c, off_a_fiber_it_is_refused);
#ifdef NP_FAULT
	tcase_add_test(c, with_no_thread_to_be_had_the_job_is_not_run_and_the_next_may_be);
#endif
	tcase_add_test(c, a_stopped_poller_waits_for_the_job);
	tcase_add_test(c, what_an_executor_refuses_is_not_run);
	tcase_add_test(c, an_executor_may_run_the_job_on_the_spot);
	tcase_add_test(c, an_executor_may_run_the_job_on_a_thread_of_its_own);
}
