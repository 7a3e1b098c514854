/* SPDX-License-Identifier: BSD-2-Clause */
/* wait: np_sleep, np_yield, np_wait_fd and np_offload park the fiber and never the poller. */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/pollers.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/pollers.h"
#include "support/test.h"

static struct np_event *e;

static void setup_with(const struct np_pollers_opts *o)
{
	given_pollers(o);
	ck_assert_int_eq(np_event_new(&e), 0);
}

static void setup(void)
{
	setup_with(NULL);
}

static void teardown(void)
{
	end_pollers();
	np_event_free(&e);
}

/* ------------------------------------------------------------------ time */

static int sleep_2_ms(void *arg)
{
	uint64_t before = now_ms();
	int r = np_sleep(2);

	ck_assert_uint_ge(now_ms() - before, 1); /* both are whole milliseconds */
	return r;
}

START_TEST(a_sleep_is_not_short)
{
	ck_assert_int_eq(np_run(pollers, sleep_2_ms, NULL), 0);
}
END_TEST

static int sleep_for_ever(void *arg)
{
	int r;

	np_event_set(e);
	r = np_sleep(1000000);
	ck_assert_int_eq(np_sleep(1000000), r); /* and from then on */
	ck_assert_int_eq(np_yield(), r);
	ck_assert_int_eq(np_wait_fd(0, POLLIN, 0), r);
	ck_assert_int_eq(np_go(NULL, NP_HERE, sleep_for_ever, NULL, NULL), r);
	return r;
}

START_TEST(a_stop_cancels_a_sleep_and_all_waits_after_it)
{
	struct np_task *t = given_task(0, sleep_for_ever, NULL);

	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, 1), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
}
END_TEST

static int sleep_long(void *arg)
{
	np_event_set(e);
	return np_sleep(1000000);
}

START_TEST(one_that_sleeps_holds_up_no_other)
{
	struct np_task *t = given_task(0, sleep_long, NULL);

	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
	ck_assert_int_eq(joined(given_task(0, sleep_2_ms, NULL)), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, 1), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
}
END_TEST

/* ------------------------------------------------------------------ its turn */

static char letters[16];
static unsigned n_letters;

static int write_letters(void *arg)
{
	for (int i = 0; i < 3; i++) {
		letters[n_letters++] = *(char *)arg;
		ck_assert_int_eq(np_yield(), 0);
	}
	return 0;
}

static int two_writers(void *arg)
{
	struct np_task *a = given_task(NP_HERE, write_letters, "a");
	struct np_task *b = given_task(NP_HERE, write_letters, "b");

	joined(a);
	return joined(b);
}

START_TEST(fibers_that_yield_take_turns)
{
	ck_assert_int_eq(np_run(pollers, two_writers, NULL), 0);
	ck_assert_str_eq(letters, "ababab");
}
END_TEST

static int yield_until_set(void *arg)
{
	_Atomic(bool) *set = arg;

	while (!*set)
		ck_assert_int_eq(np_yield(), 0);
	return 0;
}

static void set_flag(void *arg)
{
	*(_Atomic(bool) *)arg = true;
}

static int set_flag_in_1_ms(void *arg)
{
	return np_timer_start(1, set_flag, arg, NULL);
}

START_TEST(one_that_yields_all_the_time_stops_neither_timers_nor_mail)
{
	static _Atomic(bool) by_timer, by_mail;
	struct np_task *t = given_task(0, yield_until_set, &by_timer);

	ck_assert_int_eq(joined(given_task(0, set_flag_in_1_ms, &by_timer)), 0);
	ck_assert_int_eq(joined(t), 0);

	t = given_task(0, yield_until_set, &by_mail);
	ck_assert_int_eq(np_post(pollers, 0, set_flag, &by_mail), 0);
	ck_assert_int_eq(joined(t), 0);
}
END_TEST

/* ------------------------------------------------------------------ a descriptor */

struct fd_case {
	int fd;
	unsigned events;
	int ms;
};

static int wait_fd(void *arg)
{
	struct fd_case *c = arg;

	np_event_set(e);
	return np_wait_fd(c->fd, c->events, c->ms);
}

static int waited_fd(int fd, unsigned events, int ms)
{
	struct fd_case c = { fd, events, ms };

	return np_run(pollers, wait_fd, &c);
}

START_TEST(a_descriptor_that_is_ready_already_is_reported_each_time)
{
	int p[2];

	ck_assert_int_eq(pipe2(p, O_NONBLOCK), 0);
	ck_assert_int_eq(write(p[1], "x", 1), 1);

	for (int i = 0; i < 3; i++) { /* level semantics: nothing was read */
		ck_assert_int_eq(waited_fd(p[0], POLLIN, AWAIT_MS), POLLIN);
		ck_assert_int_eq(waited_fd(p[1], POLLOUT, AWAIT_MS), POLLOUT);
	}
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(a_descriptor_that_becomes_ready_wakes_the_fiber)
{
	struct fd_case c = { .events = POLLIN, .ms = AWAIT_MS };
	struct np_task *t;
	int p[2];

	ck_assert_int_eq(pipe2(p, O_NONBLOCK), 0);
	c.fd = p[0];
	t = given_task(0, wait_fd, &c);
	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
	ck_assert_int_eq(write(p[1], "x", 1), 1);

	ck_assert_int_eq(joined(t), POLLIN);
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(a_peer_that_goes_is_reported_unasked)
{
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	close(s[1]);
	ck_assert_int_eq(waited_fd(s[0], 0, AWAIT_MS), POLLHUP);
	ck_assert_int_eq(waited_fd(s[0], POLLIN | POLLOUT | POLLRDHUP, AWAIT_MS),
			 POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
	close(s[0]);
}
END_TEST

START_TEST(what_was_not_asked_for_does_not_end_the_wait)
{
	char block[4096];
	int s[2], r;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	memset(block, 'x', sizeof block);
	do
		r = (int)write(s[0], block, sizeof block);
	while (r > 0);
	ck_assert_int_eq(write(s[1], "x", 1), 1);
	/* It is readable, and stays unwritable. */
	ck_assert_int_eq(waited_fd(s[0], POLLOUT, 5), -ETIMEDOUT);
	ck_assert_int_eq(waited_fd(s[0], POLLIN, AWAIT_MS), POLLIN);
	close(s[0]);
	close(s[1]);
}
END_TEST

static int wait_same_fd(void *arg)
{
	struct fd_case *c = arg;
	struct np_task *t = given_task(NP_HERE, wait_fd, c);
	int r;

	ck_assert_int_eq(np_yield(), 0);
	ck_assert_int_eq(np_wait_fd(c->fd, POLLIN, AWAIT_MS), -NP_ECONCURRENT);
	r = joined(t);
	/* nothing of it stayed registered */
	ck_assert_int_eq(np_wait_fd(c->fd, POLLIN, 1), -ETIMEDOUT);
	return r;
}

START_TEST(a_second_fiber_on_one_descriptor_is_refused)
{
	struct fd_case c = { .events = POLLIN, .ms = 20 };
	int p[2];

	ck_assert_int_eq(pipe2(p, O_NONBLOCK), 0);
	c.fd = p[0];
	ck_assert_int_eq(np_run(pollers, wait_same_fd, &c), -ETIMEDOUT);
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(what_cannot_be_waited_for_is_refused)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(waited_fd(file, POLLIN, AWAIT_MS), -EPERM);
	close(file);
	ck_assert_int_eq(waited_fd(file, POLLIN, AWAIT_MS), -EBADF);
	ck_assert_int_eq(waited_fd(0, 1u << 20, AWAIT_MS), -EINVAL);
	ck_assert_int_eq(waited_fd(0, POLLIN, -2), -EINVAL);
}
END_TEST

START_TEST(a_stop_cancels_a_wait_for_a_descriptor)
{
	struct fd_case c = { .events = POLLIN };
	struct np_task *t;
	int p[2];

	ck_assert_int_eq(pipe2(p, O_NONBLOCK), 0);
	c.fd = p[0];
	t = given_task(0, wait_fd, &c);
	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, 1), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
	close(p[0]);
	close(p[1]);
}
END_TEST

/* ------------------------------------------------------------------ a worker */

static pthread_t worker_thread;

static void write_on_worker(void *arg)
{
	worker_thread = pthread_self();
	*(int *)arg = np_poller_self();
}

static int offload_write(void *arg)
{
	int on_fibers_stack = 7, r = np_offload(write_on_worker, &on_fibers_stack);

	ck_assert_int_eq(on_fibers_stack, -1); /* no poller ran it */
	ck_assert(!pthread_equal(worker_thread, pthread_self()));
	return r;
}

START_TEST(offload_runs_on_a_thread_that_is_no_poller)
{
	ck_assert_int_eq(np_run(pollers, offload_write, NULL), 0);
}
END_TEST

static int executor_calls;

/* On the calling thread: legal, and the shortest executor there is. */
static int at_once(void *arg, void (*job)(void *), void *job_arg)
{
	executor_calls++;
	ck_assert_ptr_eq(arg, &executor_calls);
	job(job_arg);
	return 0;
}

static int refuse(void *arg, void (*job)(void *), void *job_arg)
{
	return -ENOBUFS;
}

static void add_one(void *arg)
{
	++*(int *)arg;
}

static int offload_add(void *arg)
{
	return np_offload(add_one, arg);
}

static void with_executor(int (*fn)(void *, void (*)(void *), void *))
{
	teardown();
	setup_with(NP_OPTS(np_pollers_opts, .count = 1, .executor = fn,
			   .executor_arg = &executor_calls));
}

START_TEST(an_executor_replaces_the_workers)
{
	int n = 0;

	with_executor(at_once);
	ck_assert_int_eq(np_run(pollers, offload_add, &n), 0);
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(executor_calls, 1);
	ck_assert_int_eq(np_threads(), 1);
}
END_TEST

START_TEST(what_an_executor_refuses_is_reported_and_not_run)
{
	int n = 0;

	with_executor(refuse);
	ck_assert_int_eq(np_run(pollers, offload_add, &n), -ENOBUFS);
	ck_assert_int_eq(n, 0);
}
END_TEST

static struct {
	void (*job)(void *);
	void *arg;
	pthread_t thread;
} own;

static void *own_thread(void *arg)
{
	own.job(own.arg);
	return NULL;
}

static int on_own_thread(void *arg, void (*job)(void *), void *job_arg)
{
	own.job = job;
	own.arg = job_arg;
	return -pthread_create(&own.thread, NULL, own_thread, NULL);
}

START_TEST(an_executor_may_have_threads_of_its_own)
{
	int n = 0;

	with_executor(on_own_thread);
	ck_assert_int_eq(np_run(pollers, offload_add, &n), 0);
	pthread_join(own.thread, NULL);
	ck_assert_int_eq(n, 1);
}
END_TEST

static int answer(void *arg)
{
	return 42;
}

static void run_from_worker(void *arg)
{
	*(int *)arg = np_run(pollers, answer, NULL);
}

static int offload_run_from_worker(void *arg)
{
	int got = 0, r = np_offload(run_from_worker, &got);

	return r < 0 ? r : got;
}

START_TEST(a_worker_may_run_something_on_a_poller)
{
	ck_assert_int_eq(np_run(pollers, offload_run_from_worker, NULL), 42);
}
END_TEST

static pthread_barrier_t meet;

static void hold(void *arg)
{
	np_event_set(e);
	pthread_barrier_wait(&meet);
}

static int offload_hold(void *arg)
{
	int r = np_offload(hold, NULL);

	return r < 0 ? r : np_sleep(1);
}

/* It is not cancelled: fn may be using the fiber's stack. */
START_TEST(a_stop_waits_for_what_is_offloaded)
{
	struct np_task *t;

	pthread_barrier_init(&meet, NULL, 2);
	t = given_task(0, offload_hold, NULL);
	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);

	ck_assert_int_eq(np_pollers_stop(pollers, 1), -ETIMEDOUT);
	ck_assert_int_eq(np_pollers_free(&pollers), -EBUSY);

	pthread_barrier_wait(&meet);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
	pthread_barrier_destroy(&meet);
}
END_TEST

/* ------------------------------------------------------------------ wrong places */

static int codes[4];

static void wait_on_main(void *arg)
{
	codes[0] = np_sleep(1);
	codes[1] = np_yield();
	codes[2] = np_wait_fd(0, POLLIN, 1);
	codes[3] = np_offload(add_one, NULL);
	np_event_set(e);
}

START_TEST(nothing_parks_but_a_fiber)
{
	ck_assert_int_eq(np_sleep(1), -NP_ENOTFIBER);
	ck_assert_int_eq(np_sleep(0), -NP_ENOTFIBER);
	ck_assert_int_eq(np_yield(), -NP_ENOTFIBER);
	ck_assert_int_eq(np_wait_fd(0, POLLIN, 1), -NP_ENOTFIBER);
	ck_assert_int_eq(np_offload(add_one, NULL), -NP_ENOTFIBER);

	ck_assert_int_eq(np_post(pollers, 0, wait_on_main, NULL), 0);
	ck_assert_int_eq(np_event_wait(e, AWAIT_MS), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(codes[i], -NP_ENOTFIBER);
}
END_TEST

static int ask_for_nonsense(void *arg)
{
	ck_assert_int_eq(np_sleep(-1), -EINVAL);
	return np_offload(NULL, NULL);
}

START_TEST(a_negative_time_and_no_function_are_refused)
{
	ck_assert_int_eq(np_run(pollers, ask_for_nonsense, NULL), -EINVAL);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "wait");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_sleep_is_not_short);
	tcase_add_test(tc, one_that_sleeps_holds_up_no_other);
	tcase_add_test(tc, a_stop_cancels_a_sleep_and_all_waits_after_it);
	tcase_add_test(tc, fibers_that_yield_take_turns);
	tcase_add_test(tc, one_that_yields_all_the_time_stops_neither_timers_nor_mail);
	tcase_add_test(tc, a_descriptor_that_is_ready_already_is_reported_each_time);
	tcase_add_test(tc, a_descriptor_that_becomes_ready_wakes_the_fiber);
	tcase_add_test(tc, a_peer_that_goes_is_reported_unasked);
	tcase_add_test(tc, what_was_not_asked_for_does_not_end_the_wait);
	tcase_add_test(tc, a_second_fiber_on_one_descriptor_is_refused);
	tcase_add_test(tc, what_cannot_be_waited_for_is_refused);
	tcase_add_test(tc, a_stop_cancels_a_wait_for_a_descriptor);
	tcase_add_test(tc, offload_runs_on_a_thread_that_is_no_poller);
	tcase_add_test(tc, an_executor_replaces_the_workers);
	tcase_add_test(tc, what_an_executor_refuses_is_reported_and_not_run);
	tcase_add_test(tc, an_executor_may_have_threads_of_its_own);
	tcase_add_test(tc, a_worker_may_run_something_on_a_poller);
	tcase_add_test(tc, a_stop_waits_for_what_is_offloaded);
	tcase_add_test(tc, nothing_parks_but_a_fiber);
	tcase_add_test(tc, a_negative_time_and_no_function_are_refused);
}
