/* SPDX-License-Identifier: BSD-2-Clause */
/* stop: what a server's end does to handlers that wait, and to those that do not return. */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

static struct np_server *server;
static struct np_event *inside; /* a handler has begun */
static struct np_event *never;  /* is not set */
static _Atomic(int) result;
static _Atomic(bool) let_go;
static int pipe_fd[2];

static void given_server(int (*on_request)(struct np_conn *, void *), void *arg)
{
	const struct np_handlers h = { .sz = sizeof h, .on_request = on_request };

	serve_at(&server, &h, arg, /* idle ones are e2e/grace's */
		 NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .fresh_ms = 1, .drain_ms = 1),
		 "tcp", "127.0.0.1:0");
}

static void setup(void)
{
	ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(np_event_new(&inside), 0);
	ck_assert_int_eq(np_event_new(&never), 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF, .log = keep_log));
}

static void teardown(void)
{
	serve_over(&server);
	end_pollers();
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	np_event_free(&inside);
	np_event_free(&never);
}

static int given_connection(void)
{
	return peer_of(server, 0);
}

/* A connection whose handler has begun. */
static int given_request(void)
{
	int fd = given_connection();

	peer_send(fd, "x", 1);
	ck_assert_int_eq(np_event_wait(inside, AWAIT_MS), 0);
	return fd;
}

/* ------------------------------------------------------------------ handlers that wait */

static int sleeps(void)
{
	return np_sleep(1000000);
}

static int waits_for_event(void)
{
	return np_event_wait(never, 0);
}

static int waits_for_fd(void)
{
	return np_wait_fd(pipe_fd[0], POLLIN, 0);
}

static int yields(void)
{
	int r;

	do
		r = np_yield();
	while (r == 0);
	return r;
}

static int (*const waits[])(void) = { sleeps, waits_for_event, waits_for_fd, yields };
#define N_WAITS ((int)(sizeof waits / sizeof waits[0]))

static int wait_on_request(struct np_conn *c, void *arg)
{
	int (*wait)(void) = *(int (**)(void))arg;

	np_conn_skip(c, np_conn_len(c));
	np_event_set(inside);
	result = wait();
	ck_assert_int_eq(np_sleep(1000000), result); /* and from then on */
	return 0;
}

START_TEST(the_waits_of_handlers_are_cancelled_at_the_deadline)
{
	int (*wait)(void) = waits[_i];
	unsigned forced = 0;
	int fd;

	given_server(wait_on_request, &wait);
	fd = given_request();
	ck_assert_int_eq(np_server_stop(server, 1, &forced), 0);
	ck_assert_int_eq(result, -ECANCELED);
	ck_assert_uint_eq(forced, 1);
	peer_close(&fd);
}
END_TEST

static int sleep_long(void *arg)
{
	np_event_set(inside);
	return np_sleep(1000000);
}

static int join_one(void *arg)
{
	return joined(given_task(*(int *)arg, sleep_long, NULL));
}

static int join_here(void)
{
	int here = NP_HERE;

	return joined(given_task(NP_HERE, join_one, &here));
}

static int join_elsewhere(void)
{
	int other = 1 - np_poller_self();

	return joined(given_task(NP_HERE, join_one, &other));
}

/* Given when it has been cancelled already: the task is not even called. */
static int join_when_cancelled(void)
{
	int here = np_sleep(1000000);
	struct np_task *t;

	ck_assert_int_eq(np_go(NULL, NP_HERE, sleep_long, NULL, &t), here);
	ck_assert_int_eq(np_go(NULL, 1 - np_poller_self(), sleep_long, NULL, &t), 0);
	return joined(t);
}

static int (*const joins[])(void) = { join_here, join_elsewhere, join_when_cancelled };
#define N_JOINS ((int)(sizeof joins / sizeof joins[0]))

static int join_on_request(struct np_conn *c, void *arg)
{
	int (*join)(void) = *(int (**)(void))arg;

	np_conn_skip(c, np_conn_len(c));
	if (join == join_when_cancelled)
		np_event_set(inside);
	result = join();
	return 0;
}

/* The task may be using the handler's memory: so the handler waits for its end, which is brought
 * about. */
START_TEST(a_join_passes_the_cancellation_on_to_the_task_and_waits_for_it)
{
	int (*join)(void) = joins[_i];
	int fd;

	end_pollers();
	given_pollers(NULL);
	given_server(join_on_request, &join);
	fd = given_request();
	ck_assert_int_eq(np_server_stop(server, 1, NULL), 0);
	ck_assert_int_eq(result, -ECANCELED);
	peer_close(&fd);
}
END_TEST

static int wait_shortly(struct np_conn *c, void *arg)
{
	np_conn_skip(c, np_conn_len(c));
	np_event_set(inside);
	result = np_sleep(20) == 0 ? np_conn_write(c, "!", 1) : -1;
	return np_conn_flush(c);
}

START_TEST(before_the_deadline_they_are_not)
{
	unsigned forced = 9;
	char answer;
	int fd;

	given_server(wait_shortly, NULL);
	fd = given_request();
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, &forced), 0);
	ck_assert_int_eq(result, 0);
	ck_assert_uint_eq(forced, 0);
	peer_recv(fd, &answer, 1);
	ck_assert_int_eq(answer, '!');
	peer_close(&fd);
}
END_TEST

static int sleeping_task(void *arg)
{
	np_event_set(inside);
	return np_event_wait(never, 0);
}

START_TEST(what_is_not_of_this_server_goes_on_waiting)
{
	int (*wait)(void) = sleeps;
	struct np_task *t = given_task(0, sleeping_task, NULL);
	int fd;

	ck_assert_int_eq(np_event_wait(inside, AWAIT_MS), 0);
	given_server(wait_on_request, &wait);
	fd = given_request();
	ck_assert_int_eq(np_server_stop(server, 1, NULL), 0);
	ck_assert_int_eq(result, -ECANCELED);

	np_event_set(never);
	ck_assert_int_eq(joined(t), 0);
	peer_close(&fd);
}
END_TEST

/* ------------------------------------------------------------------ handlers that do not return */

static int spins(struct np_conn *c, void *arg)
{
	np_event_set(inside);
	while (!let_go)
		;
	return -1;
}

static int is_deaf(struct np_conn *c, void *arg)
{
	np_event_set(inside);
	while (!let_go)
		np_yield();
	return -1;
}

static int (*const stays[])(struct np_conn *, void *) = { spins, is_deaf };

START_TEST(who_does_not_return_is_named_and_counted_and_nothing_is_freed)
{
	int fd;

	given_server(stays[_i], NULL);
	fd = given_request();
	ck_assert_int_eq(np_server_stop(server, 1, NULL), -ETIMEDOUT);
	ck_assert_uint_ge(log_names(stays[_i]), 1);
	ck_assert_str_eq(np_server_error(server),
			 "handlers that do not return: 1; nothing is freed under them: stop again");
	ck_assert_int_eq(np_server_free(&server), -EBUSY);

	let_go = true;
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	peer_close(&fd);
}
END_TEST

/* after the grace of the reset, and before its report gives up on the poller */
#define LATE_MS 1250

static _Atomic(uint64_t) asked_ms; /* when the stop was, 0: not yet */

static int returns_late(struct np_conn *c, void *arg)
{
	np_event_set(inside);
	while (!asked_ms || now_ms() < asked_ms + LATE_MS)
		;
	return -1;
}

/* A machine that stands still at the wrong moment makes it miss: then once more. */
START_TEST(where_handlers_have_returned_since_none_is_blamed)
{
	bool blamed_none = false;

	if (under_handoff())
		SKIP("a handler that is left alone is told of by its poller, which answers");
	for (int i = 0; i < 10 && !blamed_none; i++) {
		int fd, r;

		given_server(returns_late, NULL);
		fd = given_request();
		asked_ms = now_ms();
		r = np_server_stop(server, 1, NULL);
		if (r == -ETIMEDOUT)
			blamed_none = !strcmp(np_server_error(server),
					      "the end has not been reached in time: stop again");
		serve_over(&server);
		asked_ms = 0;
		peer_close(&fd);
	}
	ck_assert(blamed_none);
}
END_TEST

/* ------------------------------------------------------------------ before its start */

START_TEST(a_server_that_never_started_leaves_nothing)
{
	const struct np_handlers none = { .sz = sizeof none };
	struct sockaddr_storage ss;
	struct np_server *s;
	/* of the pollers of this test: one, and the one that looks for stalls */
	const int threads = 2;
	int fds = open_fds(), fd;
	socklen_t len;

	ck_assert_int_eq(np_server_new(_i ? NULL : pollers, &none, NULL, NULL, &s), 0);
	ck_assert_int_eq(np_server_listen(s, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_listen(s, "unix", own_unix_name()), 0);
	ck_assert_int_eq(np_server_addr(s, 0, &ss, &len), 0);
	fd = peer_connect(&ss, len);
	ck_assert_int_eq(np_server_free(&s), 0);

	ck_assert_uint_eq(peer_drain(fd), 0); /* it is not left waiting */
	peer_close(&fd);
	AWAIT(np_threads() == threads);
	ck_assert_int_eq(open_fds(), fds);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&ss, len), -1);
	ck_assert_int_eq(errno, ECONNREFUSED);
	peer_close(&fd);
}
END_TEST

/* ------------------------------------------------------------------ while it starts */

static int nothing(struct np_conn *c, void *arg)
{
	return np_conn_skip(c, np_conn_len(c));
}

struct caller {
	pthread_t thread;
	_Atomic(int) tid;
	_Atomic(bool) returned;
	int (*fn)(void);
	int result;
};

static int start_it(void)
{
	return np_server_start(server);
}

static int stop_it(void)
{
	return np_server_stop(server, AWAIT_MS, NULL);
}

static void *call(void *arg)
{
	struct caller *k = arg;

	k->tid = (int)syscall(SYS_gettid);
	k->result = k->fn();
	k->returned = true;
	return NULL;
}

static bool sleeps_in_kernel(int tid)
{
	char path[64], line[256] = "";
	int fd;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ck_assert_int_gt(read(fd, line, sizeof line - 1), 0);
	close(fd);
	return strrchr(line, ')')[2] == 'S';
}

/* It has called, and waits. */
static void given_caller(struct caller *k, int (*fn)(void))
{
	k->fn = fn;
	ck_assert_int_eq(pthread_create(&k->thread, NULL, call, k), 0);
	AWAIT(k->tid && (k->returned || sleeps_in_kernel(k->tid)));
}

static void keeps_poller(void *arg)
{
	np_event_set(inside);
	while (!let_go)
		;
}

/* @starter starts the server, and waits for a poller that is kept. */
static void given_start_that_waits(struct caller *starter)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = nothing };

	ck_assert_int_eq(np_server_new(pollers, &h, NULL,
				       NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), &server),
			 0);
	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_post(pollers, 0, keeps_poller, NULL), 0);
	ck_assert_int_eq(np_event_wait(inside, AWAIT_MS), 0);
	given_caller(starter, start_it);
}

static void await_callers(struct caller *a, struct caller *b)
{
	AWAIT(a->returned && b->returned);
	let_go = true;
	ck_assert_int_eq(pthread_join(a->thread, NULL), 0);
	ck_assert_int_eq(pthread_join(b->thread, NULL), 0);
}

START_TEST(a_stop_that_comes_while_it_starts_waits_for_the_start)
{
	static struct caller starter, stopper;

	given_start_that_waits(&starter);
	given_caller(&stopper, stop_it);

	ck_assert(!starter.returned);
	let_go = true;
	await_callers(&starter, &stopper);
	ck_assert_int_eq(starter.result, 0);
	ck_assert_int_eq(stopper.result, 0);
}
END_TEST

static int stop_soon(void)
{
	return np_server_stop(server, 1, NULL);
}

START_TEST(a_stop_with_a_limit_waits_no_longer_for_a_start)
{
	static struct caller starter, stopper;

	given_start_that_waits(&starter);
	given_caller(&stopper, stop_soon);

	await_callers(&starter, &stopper);
	ck_assert_int_eq(starter.result, -ETIMEDOUT);
	ck_assert_int_eq(stopper.result, -ETIMEDOUT);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
}
END_TEST

/* ------------------------------------------------------------------ its pollers */

static int go(void *arg)
{
	return 0;
}

START_TEST(pollers_do_not_end_under_a_server_that_runs)
{
	int fd;

	given_server(nothing, NULL);
	fd = given_connection();

	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), -EBUSY);

	ck_assert_int_eq(np_go(pollers, 0, go, NULL, NULL), 0); /* nothing was begun */
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	peer_close(&fd);
}
END_TEST

static void posts_itself(void *arg)
{
	if (!let_go)
		ck_assert_int_eq(np_post(NULL, NP_HERE, posts_itself, arg), 0);
}

START_TEST(a_function_that_posts_itself_again_is_named)
{
	char line[80];

	ck_assert_int_eq(np_post(pollers, 0, posts_itself, NULL), 0);

	ck_assert_int_eq(np_pollers_stop(pollers, 1), -ETIMEDOUT);
	snprintf(line, sizeof line, "since the deadline, and handler %p ", (void *)posts_itself);
	ck_assert_uint_eq(in_log(line), 1);
	ck_assert_uint_eq(in_log("one that posts itself again has to cease; stop again"), 1);

	let_go = true;
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
}
END_TEST

START_TEST(a_server_does_not_start_on_pollers_that_were_stopped)
{
	const struct np_handlers h = { .sz = sizeof h, .on_request = nothing };

	ck_assert_int_eq(np_server_new(pollers, &h, NULL,
				       NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), &server),
			 0);
	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);

	ck_assert_int_eq(np_server_start(server), -ECANCELED);
	ck_assert_str_eq(np_server_error(server),
			 "the pollers were stopped before the server was started");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "stop");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, the_waits_of_handlers_are_cancelled_at_the_deadline, 0, N_WAITS);
	tcase_add_loop_test(tc, a_join_passes_the_cancellation_on_to_the_task_and_waits_for_it, 0,
			    N_JOINS);
	tcase_add_test(tc, before_the_deadline_they_are_not);
	tcase_add_test(tc, what_is_not_of_this_server_goes_on_waiting);
	tcase_add_loop_test(tc, who_does_not_return_is_named_and_counted_and_nothing_is_freed, 0,
			    2);
	tcase_add_test(tc, pollers_do_not_end_under_a_server_that_runs);
	tcase_add_test(tc, a_function_that_posts_itself_again_is_named);
	tcase_add_test(tc, a_server_does_not_start_on_pollers_that_were_stopped);
	tcase_add_test(tc, where_handlers_have_returned_since_none_is_blamed);
	tcase_add_loop_test(tc, a_server_that_never_started_leaves_nothing, 0, 2);
	tcase_add_test(tc, a_stop_that_comes_while_it_starts_waits_for_the_start);
	tcase_add_test(tc, a_stop_with_a_limit_waits_no_longer_for_a_start);
}
