/* SPDX-License-Identifier: BSD-2-Clause */
/* poller: its line of load, its thread, and how it ends. */
#include "poll/poller.h"
#include "poll/poller_private.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>

#include "given_poller.h"
#include "poll/watch.h"
#include "sys/clock.h"
#include "sys/cpu.h"
#include "sys/fault.h"
#include "sys/io.h"

static struct poller *p;

static void setup(void)
{
	p = given_poller();
}

static void teardown(void)
{
	free_poller(p);
}

/* ------------------------------------------------------------------ the load line */

static struct poller_load line;
static uint64_t busy_in[5];
static unsigned n_busy;

static uint64_t busy_since(void)
{
	return __atomic_load_n(&line.busy_since_ns, __ATOMIC_RELAXED);
}

/* Renewed before each dispatch: what the one before left here is gone. */
static void note_busy(void)
{
	busy_in[n_busy++] = busy_since();
	__atomic_store_n(&line.busy_since_ns, 1, __ATOMIC_RELAXED);
}

static void busy_deferred(struct mail *m)
{
	note_busy();
	poller_stop(p);
}

static void busy_timer(struct timer *t)
{
	note_busy();
}

static void busy_fiber(void *arg)
{
	note_busy();
}

static void busy_watch(struct watch *w, unsigned ready)
{
	note_busy();
	watch_stop(w, ready);
}

static void busy_mail(struct mail *m)
{
	static struct mail deferred = { .fn = busy_deferred };

	note_busy();
	poller_defer(p, &deferred);
}

START_TEST(busy_since_is_renewed_before_everything_that_may_take_long)
{
	struct mail m = { .fn = busy_mail };
	uint64_t before = sys_clock_coarse_ns();
	struct watch w = { 0 };
	struct timer t;
	int fds[2];

	ck_assert_int_eq(poller_add_load(p, &line), 0);
	given_pair(fds);
	ck_assert_int_eq(watch_open(&w, p, fds[0], EPOLLOUT, busy_watch), 0);
	watch_want(&w, WATCH_OUT);
	timer_init(&t, busy_timer);
	timer_arm(p, &t, 0);
	poller_spawn(p, busy_fiber, NULL);
	poller_post(p, &m);
	run_loop(p);

	ck_assert_uint_eq(n_busy, 5);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_ge(busy_in[i], before);
	ck_assert_uint_eq(busy_since(), 0);
	watch_close(&w);
	sys_close(&fds[0]);
	sys_close(&fds[1]);
}
END_TEST

static _Atomic(int) seen;

static void see(struct mail *m)
{
	seen++;
}

/* Given a poller that is busy over and over, then it is never left looking busy while it sleeps. */
START_TEST(a_sleeping_poller_looks_idle)
{
	struct mail m = { .fn = see };

	ck_assert_int_eq(poller_add_load(p, &line), 0);
	ck_assert_int_eq(poller_start(p), 0);
	for (int i = 1; i <= 50; i++) {
		poller_post(p, &m);
		AWAIT(seen == i && busy_since() == 0);
	}
	poller_stop(p);
	ck_assert_int_eq(poller_join(p, 0), 0);
}
END_TEST

static void hold_it(struct mail *m)
{
	poller_hold(p);
	seen++;
}

static void unhold_it(struct mail *m)
{
	poller_unhold(p);
}

/* A wake-up that finds nothing to do. busy_since is checked at every moment of it that a reader may
 * pick. */
START_TEST(an_empty_batch_does_not_look_busy)
{
	struct mail m = { .fn = hold_it }, m2 = { .fn = unhold_it };

	ck_assert_int_eq(poller_add_load(p, &line), 0);
	ck_assert_int_eq(poller_start(p), 0);
	poller_post(p, &m);
	AWAIT(seen == 1 && busy_since() == 0);
	for (int i = 0; i < 1000; i++) {
		poller_stop(p); /* wakes; the hold keeps it going */
		ck_assert_uint_eq(busy_since(), 0);
	}
	poller_post(p, &m2);
	ck_assert_int_eq(poller_join(p, 0), 0);
}
END_TEST

START_TEST(load_lines_are_limited_and_a_removed_one_is_left_idle)
{
	struct poller_load lines[17] = { { 0 } };

	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(poller_add_load(p, &lines[i]), 0);
	ck_assert_int_eq(poller_add_load(p, &lines[16]), -ENOSPC);
	poller_publish_busy(p);
	ck_assert_uint_ne(lines[3].busy_since_ns, 0);

	poller_del_load(p, &lines[3]);
	ck_assert_uint_eq(lines[3].busy_since_ns, 0);
	poller_publish_busy(p);
	ck_assert_uint_eq(lines[3].busy_since_ns, 0);
	ck_assert_int_eq(poller_add_load(p, &lines[16]), 0);
}
END_TEST

/* Whether one of the next @n pieces of a row is published, with a look at each @every-th. */
static bool is_published_within(unsigned n, unsigned every)
{
	__atomic_store_n(&line.busy_since_ns, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < n && busy_since() == 1; i += every)
		poller_publish_row(p, every);
	return busy_since() != 1;
}

/* Given that the last one was published in a tick of the coarse clock before this one. */
static void given_a_tick_has_gone(void)
{
	uint64_t tick;

	poller_publish_busy(p);
	tick = sys_clock_coarse_ns();
	while (sys_clock_coarse_ns() == tick)
		;
	poller_publish_busy(p);
}

START_TEST(a_row_of_short_pieces_publishes_one_of_many_and_of_slow_ones_one_of_eight)
{
	ck_assert_int_eq(poller_add_load(p, &line), 0);
	for (int i = 0; i < 20; i++) {
		given_a_tick_has_gone();
		ck_assert(is_published_within(8, 8));
		ck_assert(is_published_within(64, 8));
		ck_assert(is_published_within(64, 1));
	}
}
END_TEST

START_TEST(busy_since_is_of_the_kernels_clock_whatever_the_time_namespace)
{
	struct poller_opts o = given_opts();

	free_poller(p);
	o.clock_offset_ns = -3600 * 1000000000ll;
	ck_assert_int_eq(poller_new(&o, &p), 0);
	ck_assert_int_eq(poller_add_load(p, &line), 0);
	poller_publish_busy(p);
	ck_assert_uint_ge(line.busy_since_ns, 3600 * 1000000000ull);
}
END_TEST

/* ------------------------------------------------------------------ the thread, and the end */

static struct {
	char name[16];
	sigset_t mask;
	int cpus[4], n_cpus;
	struct poller *self;
} thread;

static void look_at_thread(struct mail *m)
{
	thread.self = poller_self();
	pthread_getname_np(pthread_self(), thread.name, sizeof thread.name);
	pthread_sigmask(SIG_SETMASK, NULL, &thread.mask);
	thread.n_cpus = sys_cpu_list(thread.cpus, 4);
	poller_stop(p);
}

static void run_thread(struct mail *m)
{
	poller_post(p, m);
	ck_assert_int_eq(poller_start(p), 0);
	ck_assert_int_eq(poller_join(p, 0), 0);
}

START_TEST(its_thread_is_named_pinned_and_deaf_to_signals)
{
	struct mail m = { .fn = look_at_thread };
	struct poller_opts o = given_opts();
	int cpus[64], n = sys_cpu_list(cpus, 64);

	free_poller(p);
	o.index = 7;
	o.cpu = cpus[n - 1];
	ck_assert_int_eq(poller_new(&o, &p), 0);
	run_thread(&m);

	ck_assert_str_eq(thread.name, "np-7");
	ck_assert_ptr_eq(thread.self, p);
	ck_assert_ptr_null(poller_self());
	ck_assert_int_eq(thread.n_cpus, 1);
	ck_assert_int_eq(thread.cpus[0], cpus[n - 1]);
	ck_assert_int_eq(logged.n, 0);
	ck_assert(sigismember(&thread.mask, SIGTERM) && sigismember(&thread.mask, SIGUSR1));
	ck_assert(!sigismember(&thread.mask, SIGSEGV) && !sigismember(&thread.mask, SIGBUS));
	ck_assert(!sigismember(&thread.mask, SIGFPE) && !sigismember(&thread.mask, SIGILL));
}
END_TEST

START_TEST(a_cpu_that_cannot_be_had_is_logged_and_lived_with)
{
	struct mail m = { .fn = look_at_thread };
	struct poller_opts o = given_opts();

	free_poller(p);
	o.cpu = 8191;
	ck_assert_int_eq(poller_new(&o, &p), 0);
	run_thread(&m);
	ck_assert_ptr_eq(thread.self, p);
	ck_assert_int_eq(logged.n, 1);
}
END_TEST

START_TEST(it_ends_when_no_hold_no_mail_and_nothing_runnable_is_left)
{
	struct mail m = { .fn = hold_it }, m2 = { .fn = unhold_it }, m3 = { .fn = see };

	ck_assert_int_eq(poller_start(p), 0);
	poller_post(p, &m);
	AWAIT(seen == 1);
	poller_stop(p);
	poller_post(p, &m3);
	AWAIT(seen == 2);
	ck_assert_int_eq(poller_join(p, sys_clock_ns()), -ETIMEDOUT);
	ck_assert_int_eq(poller_free(p), -EBUSY);

	poller_post(p, &m2);
	ck_assert_int_eq(poller_join(p, 0), 0);
	ck_assert_int_eq(poller_join(p, 0), 0);
}
END_TEST

START_TEST(stopped_before_it_starts_it_ends_at_once)
{
	poller_stop(p);
	ck_assert_int_eq(poller_start(p), 0);
	ck_assert_int_eq(poller_join(p, 0), 0);
	ck_assert_int_eq(poller_start(p), -EALREADY);
}
END_TEST

static struct fiber *parked;

static void park_and_stop(void *arg)
{
	parked = fiber_self();
	poller_stop(p);
	fiber_park();
}

START_TEST(it_is_not_freed_under_a_parked_fiber)
{
	poller_spawn(p, park_and_stop, NULL);
	run_loop(p);
	ck_assert_int_eq(poller_free(p), -EBUSY);

	poller_ready(p, parked);
	ck_assert_int_eq(poller_free(p), -EBUSY);
	run_loop(p);
	/* teardown frees it */
}
END_TEST

START_TEST(nothing_stays_open)
{
	int before = open_fds();
	struct poller_opts o = given_opts();
	struct poller *q;

	ck_assert_int_eq(poller_new(&o, &q), 0);
	ck_assert_int_eq(poller_start(q), 0);
	poller_stop(q);
	ck_assert_int_eq(poller_join(q, 0), 0);
	ck_assert_int_eq(poller_free(q), 0);
	ck_assert_int_eq(poller_free(NULL), 0);
	ck_assert_int_eq(open_fds(), before);
	AWAIT(np_threads() == 0);
}
END_TEST

#ifdef NP_FAULT
static const enum sys_call needed[] = { SYS_epoll_create, SYS_eventfd, SYS_epoll_ctl };

START_TEST(what_cannot_be_made_is_said_and_nothing_stays_open)
{
	int before = open_fds();
	struct poller_opts o = given_opts();
	struct poller *q = NULL;

	sys_fault_arm(needed[_i], 1, EMFILE);
	ck_assert_int_eq(poller_new(&o, &q), -EMFILE);
	ck_assert_ptr_null(q);
	ck_assert_int_eq(open_fds(), before);
}
END_TEST

START_TEST(without_a_thread_it_stays_as_it_was_made)
{
	sys_fault_arm(SYS_thread, 1, EAGAIN);
	ck_assert_int_eq(poller_start(p), -EAGAIN);
	poller_stop(p);
	ck_assert_int_eq(poller_start(p), 0);
	ck_assert_int_eq(poller_join(p, 0), 0);
}
END_TEST
#endif

static void add_load(TCase *c)
{
	tcase_add_test(c, busy_since_is_renewed_before_everything_that_may_take_long);
	tcase_add_test(c, a_sleeping_poller_looks_idle);
	tcase_add_test(c, an_empty_batch_does_not_look_busy);
	tcase_add_test(c, load_lines_are_limited_and_a_removed_one_is_left_idle);
	tcase_add_test(c,
		       a_row_of_short_pieces_publishes_one_of_many_and_of_slow_ones_one_of_eight);
	tcase_add_test(c, busy_since_is_of_the_kernels_clock_whatever_the_time_namespace);
}

static void add_life(TCase *c)
{
	tcase_add_test(c, its_thread_is_named_pinned_and_deaf_to_signals);
	tcase_add_test(c, a_cpu_that_cannot_be_had_is_logged_and_lived_with);
	tcase_add_test(c, it_ends_when_no_hold_no_mail_and_nothing_runnable_is_left);
	tcase_add_test(c, stopped_before_it_starts_it_ends_at_once);
	tcase_add_test(c, it_is_not_freed_under_a_parked_fiber);
	tcase_add_test(c, nothing_stays_open);
#ifdef NP_FAULT
	tcase_add_loop_test(c, what_cannot_be_made_is_said_and_nothing_stays_open, 0, 3);
	tcase_add_test(c, without_a_thread_it_stays_as_it_was_made);
#endif
}

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "poller");

	tcase_add_checked_fixture(c, setup, teardown);
	add_load(c);
	add_life(c);
}
