/* SPDX-License-Identifier: BSD-2-Clause */
/* away: what a handler that is left alone with its thread may do there, and meets; public headers
 * only */
#include <errno.h>
#include <netinet/in.h>
#include <netpoll/call.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/blocker.h"
#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

static struct np_conn *_Atomic blocked;
static int (*hook)(struct np_conn *c); /* what 'b' does once it has passed the gate */
static struct np_conn *_Atomic mate;   /* 'b' binds its connection to that of 'm' */
static struct np_linkbuf *in_hand;     /* the input of that one, while 'b' is away */

/* One byte says what to do first; it is the answer. */
static int on_request(struct np_conn *c, void *arg)
{
	char op;
	int r = blocker_take(c, &op);

	if (r < 0)
		return r;
	if (op == 'm')
		mate = c;
	if (op == 'b') {
		blocked = c;
		if (mate && np_conn_bind(c, mate) == 0)
			in_hand = np_conn_in(mate);
		blocker_wait();
		r = hook ? hook(c) : 0;
	} else if (op == 's') {
		blocker_stall();
	}
	return r < 0 ? r : blocker_answer(c, op);
}

static void setup(void)
{
	hook = NULL;
	given_blocker(blocker_handlers(on_request), 0, NULL);
}

/* ------------------------------------------------------------------ tasks */

static int pass_gate_task(void *arg)
{
	blocker_wait();
	return np_sleep(1) == 0 ? 7 : -EINVAL;
}

static const struct np_go_opts may_block = { .sz = sizeof may_block, .flags = NP_MAY_BLOCK };

START_TEST(a_task_that_may_block_is_left_alone_and_named)
{
	struct np_task *t = NULL;

	ck_assert_int_eq(np_go_with(pollers, 0, pass_gate_task, NULL, &may_block, &t), 0);
	AWAIT(blocker_begun == 1 && pollers_stats().away == 1);
	must_serve();
	ck_assert_uint_eq(log_names(pass_gate_task), 1);
	blocker_let();
	ck_assert_int_eq(joined(t), 7);
	ck_assert_uint_eq(pollers_stats().away, 0);
}
END_TEST

START_TEST(options_of_a_task_that_are_not_known_are_refused)
{
	struct np_go_opts o = may_block;
	struct np_task *t = NULL;
	struct {
		struct np_go_opts o;
		long more;
	} newer = { .o = { .sz = sizeof newer }, .more = 1 };

	o.flags |= 1 << 5;
	ck_assert_int_eq(np_go_with(pollers, 0, pass_gate_task, NULL, &o, &t), -EINVAL);
	o.sz = 0;
	ck_assert_int_eq(np_go_with(pollers, 0, pass_gate_task, NULL, &o, &t), -EINVAL);
	ck_assert_int_eq(np_go_with(pollers, 0, pass_gate_task, NULL, &newer.o, &t), -E2BIG);
	ck_assert_int_eq(np_go_with(pollers, 0, NULL, NULL, NULL, &t), -EINVAL);
	ck_assert_ptr_null(t);
	ck_assert_int_eq(blocker_begun, 0);
}
END_TEST

/* ------------------------------------------------------------------ those that wait */

enum { CROWD = 8 };

static _Atomic(bool) crowd_over;

static void *ask_for_stalls(void *arg)
{
	int fd = *(int *)arg;

	while (!crowd_over) {
		peer_send(fd, "ss", 2);
		must_answer(fd, 's');
		must_answer(fd, 's');
	}
	return NULL;
}

static int sleep_often(void *arg)
{
	int r = 0;

	for (int i = 0; i < 20 && r == 0; i++)
		r = np_sleep(1);
	return r;
}

/*
 * Each turn begins with some that keep the thread which carries it, and all threads are taken.
 * Those that wait for a timer, and for this very thread, have their turn all the same.
 */
START_TEST(one_that_sleeps_goes_on_among_a_crowd_that_keeps_its_threads)
{
	pthread_t thread[CROWD];
	struct np_task *t;
	int fd[CROWD];

	given_blocker_threads(blocker_handlers(on_request), 2);
	crowd_over = false;
	t = given_task(0, sleep_often, NULL);
	for (int i = 0; i < CROWD; i++) {
		fd[i] = blocker_peer();
		pthread_create(&thread[i], NULL, ask_for_stalls, &fd[i]);
	}
	ck_assert_int_eq(joined(t), 0);
	crowd_over = true;
	for (int i = 0; i < CROWD; i++) {
		pthread_join(thread[i], NULL);
		peer_close(&fd[i]);
	}
}
END_TEST

/* ------------------------------------------------------------------ timers */

static _Atomic(int) fired;

static void fire(void *arg)
{
	ck_assert_int_eq(np_poller_self(), 0);
	fired++;
}

static int start_timer(void *arg)
{
	return np_timer_start(50, fire, NULL, NULL);
}

static int start_timer_there(struct np_conn *c)
{
	int r = np_timer_start(5, fire, NULL, NULL);

	if (r == 0)
		blocker_wait();
	return r;
}

/* One that was started before the hand-off, and one of the handler itself, which blocks again. */
START_TEST(timers_fire_while_it_is_away)
{
	int fd;

	fired = 0;
	hook = start_timer_there;
	ck_assert_int_eq(np_run(pollers, start_timer, NULL), 0);
	fd = given_left_alone('b');
	AWAIT(fired == 1);
	blocker_let();
	AWAIT(fired == 2);
	ck_assert_int_eq(blocker_begun, 2);
	must_go_on(&fd, 'b');
}
END_TEST

/* ------------------------------------------------------------------ its connection */

static int detach_there(void *arg)
{
	int fd = -1, r = np_conn_detach(arg, &fd, NULL);

	ck_assert_int_eq(fd, -1);
	return r;
}

#define WAITERS 512

static _Atomic(unsigned) waiting, waited, late;

static int writes_to_blocked(void *arg)
{
	int r;

	waiting++;
	r = np_conn_write(blocked, "x", 1);
	waited++;
	return r;
}

static int aborts(struct np_conn *c)
{
	return np_conn_abort(c);
}

static void note_late(struct np_conn *c, void *arg)
{
	late = waiting - waited;
}

static int watch_end(void *c)
{
	return np_conn_add_close_callback(c, note_late, NULL);
}

/* As many as one byte counts, and others beside them. */
START_TEST(it_ends_when_all_who_wait_for_it_have_been_told)
{
	static struct np_task *task[WAITERS];
	unsigned n = (unsigned[]){ 255, 256, 257, WAITERS }[_i];
	int fd;

	fd = given_left_alone('b');
	hook = aborts;
	ck_assert_int_eq(joined(given_task(0, watch_end, blocked)), 0);
	for (unsigned i = 0; i < n; i++)
		task[i] = given_task(0, writes_to_blocked, NULL);
	AWAIT(waiting == n);
	ck_assert_uint_eq(waited, 0);
	blocker_let();
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(joined(task[i]), -NP_ECLOSED);
	ck_assert_uint_eq(peer_drain(fd), 0);
	ck_assert_uint_eq(late, 0);
	peer_close(&fd);
}
END_TEST

static _Atomic(int) stopped;
static _Atomic(size_t) came;

static void note_stop(void *arg, int result, unsigned forced)
{
	stopped = result == 0 ? 1 : -1;
}

static int looks_into_hand(struct np_conn *c)
{
	came = np_linkbuf_len(in_hand) + 1;
	return 0;
}

/* A stop closes one that is idle, and reads it once more before. */
START_TEST(what_it_has_in_hand_of_its_set_is_not_read_by_a_stop)
{
	int fd[3];

	fd[1] = blocker_peer();
	peer_send(fd[1], "m", 1);
	must_answer(fd[1], 'm');
	hook = looks_into_hand;
	fd[0] = given_left_alone('b');
	fd[2] = blocker_peer();
	peer_send(fd[2], "x", 1);
	must_answer(fd[2], 'x');
	peer_send(fd[1], "x", 1);
	ck_assert_int_eq(np_server_stop_async(blocker, AWAIT_MS, note_stop, NULL), 0);
	peer_expect_eof(fd[2]); /* so all have been looked at */
	blocker_let();
	AWAIT(came);
	ck_assert_uint_eq(came, 1);
	must_answer(fd[0], 'b');
	must_answer(fd[1], 'x');
	for (int i = 0; i < 3; i++)
		peer_close(&fd[i]);
	AWAIT(stopped == 1);
}
END_TEST

START_TEST(its_connection_is_not_detached_meanwhile)
{
	int fd = given_left_alone('b');

	ck_assert_int_eq(joined(given_task(0, detach_there, blocked)), -EBUSY);
	must_go_on(&fd, 'b');
}
END_TEST

static int detached;

static int detach_self(struct np_conn *c)
{
	int r = np_conn_detach(c, &detached, NULL);

	if (r == 0)
		blocker_wait();
	return r < 0 ? r : -NP_ECLOSED; /* there is nothing to answer to */
}

START_TEST(it_detaches_its_own_when_it_is_back)
{
	int fd;

	hook = detach_self;
	detached = -1;
	fd = given_left_alone('b');
	blocker_let();
	AWAIT(blocker_begun == 2);
	must_serve();
	peer_send(detached, "d", 1);
	must_answer(fd, 'd');
	blocker_let();
	peer_close(&detached);
	peer_expect_eof(fd);
	peer_close(&fd);
}
END_TEST

/* ------------------------------------------------------------------ channels */

#define HEAD 12 /* length, header included; number */

static struct np_channel *channel;
static struct np_server *echoes;

static int frame(struct np_conn *c, uint64_t *ret_id, size_t *ret_len, void *arg)
{
	uint32_t len;
	const void *p;
	int r = np_conn_peek(c, HEAD, &p);

	if (r < 0)
		return r;
	memcpy(&len, p, 4);
	memcpy(ret_id, (const char *)p + 4, 8);
	*ret_len = len;
	return 0;
}

static int echo_frame(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, HEAD, &p);

	if (r == 0)
		r = np_conn_write(c, p, HEAD);
	return r < 0 ? r : np_conn_flush(c);
}

static int dial_channel(void *arg)
{
	return np_channel_dial("tcp", arg, NP_OPTS(np_channel_opts, .frame = frame), &channel);
}

static void given_channel(void)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo_frame };

	serve_at(&echoes, &h, NULL,
		 NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .drain_ms = 1, .fresh_ms = 1,
			 .linger_ms = 1),
		 "tcp", "127.0.0.1:0");
	ck_assert_int_eq(np_run(pollers, dial_channel, (void *)serve_address(echoes)), 0);
}

static void end_channel(void)
{
	ck_assert_int_eq(np_channel_free(&channel), 0);
	serve_over(&echoes);
}

static int call_once(void)
{
	uint64_t id = np_channel_id(channel);
	struct np_linkbuf *b = NULL, *answer = NULL;
	uint32_t len = HEAD;
	const void *p;
	int r = np_linkbuf_new(0, &b);

	if (r == 0)
		r = np_linkbuf_write(b, &len, 4);
	if (r == 0)
		r = np_linkbuf_write(b, &id, 8);
	blocker_stall();
	if (r == 0)
		r = np_call(channel, id, &b, 0, &answer);
	blocker_stall();
	if (r == 0)
		r = np_linkbuf_next(answer, HEAD, &p);
	if (r == 0 && memcmp((const char *)p + 4, &id, 8))
		r = -EBADMSG;
	np_linkbuf_free(&b);
	np_linkbuf_free(&answer);
	return r;
}

static int call_often(struct np_conn *c)
{
	int r = 0;

	for (int i = 0; i < 5 && r == 0; i++)
		r = call_once();
	return r;
}

static int call_task(void *arg)
{
	return call_once();
}

/* Several at once, on one channel, whose own fibers are never left alone; and one that never is. */
START_TEST(it_calls_on_a_channel_that_others_use_meanwhile)
{
	enum { N = 4 };
	int fd[N];

	given_channel();
	hook = call_often;
	for (int i = 0; i < N; i++)
		fd[i] = given_left_alone('b');
	ck_assert_int_eq(np_run(pollers, call_task, NULL), 0);
	for (int i = 0; i < N; i++)
		blocker_let();
	ck_assert_int_eq(np_run(pollers, call_task, NULL), 0);
	for (int i = 0; i < N; i++) {
		must_answer(fd[i], 'b');
		peer_close(&fd[i]);
	}
	ck_assert_uint_eq(np_channel_dropped(channel), 0);
	end_channel();
}
END_TEST

/* ------------------------------------------------------------------ forwarding */

enum { FLOW = 1 << 20 };

static struct np_conn *upstream;
static char upstream_at[32];

static int dial_upstream(struct np_conn *c)
{
	int r = np_dial(NULL, NP_HERE, "tcp", upstream_at, NULL, &upstream);

	if (r < 0)
		return r;
	while ((r = np_conn_wait(c, 1)) == 0 && (r = np_conn_forward(c, upstream)) == 0)
		blocker_stall();
	np_conn_close(upstream);
	np_conn_unref(upstream);
	return r;
}

/* What the handler forwards goes on between its naps, by the buffers and by the pipe. */
START_TEST(what_it_forwards_arrives_whole)
{
	int listener = peer_listen(upstream_at, sizeof upstream_at), up, fd;
	char *out = malloc(FLOW), *in = malloc(FLOW);

	for (int i = 0; i < FLOW; i++)
		out[i] = (char)(i * 7 + i / 251);
	hook = dial_upstream;
	fd = given_left_alone('b');
	blocker_let();
	await_fd(listener, POLLIN);
	up = accept(listener, NULL, NULL);
	ck_assert_int_ge(up, 0);
	for (int at = 0; at < FLOW; at += FLOW / 16) {
		peer_send(fd, out + at, FLOW / 16);
		peer_recv(up, in + at, FLOW / 16);
		must_serve();
	}
	ck_assert_mem_eq(in, out, FLOW);
	peer_close(&fd);
	ck_assert_uint_eq(peer_drain(up), 0);
	peer_close(&up);
	close(listener);
	free(out);
	free(in);
}
END_TEST

/* ------------------------------------------------------------------ processes */

static _Atomic(int) child_said;

static int run_child(struct np_conn *c)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "sleep 0.05; exit 7", NULL);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -ECHILD;
	child_said = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	return 0;
}

START_TEST(it_forks_and_waits_for_its_child)
{
	int fd;

	hook = run_child;
	child_said = 0;
	fd = given_left_alone('b');
	blocker_let();
	must_serve();
	must_answer(fd, 'b');
	ck_assert_int_eq(child_said, 7);
	peer_close(&fd);
}
END_TEST

/* The address goes to the parent; the process ends as its handlers do not. */
static void serve_in_child(int out)
{
	struct sockaddr_storage ss;
	socklen_t len;

	setup();
	if (np_server_addr(blocker, 0, &ss, &len) < 0 || write(out, &ss, sizeof ss) != sizeof ss)
		_exit(1);
}

static pid_t given_child(void (*then)(void), struct sockaddr_storage *ret)
{
	int fds[2];
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(60);
		serve_in_child(fds[1]);
		then();
		_exit(1);
	}
	ck_assert_int_eq(read(fds[0], ret, sizeof *ret), sizeof *ret);
	close(fds[0]);
	close(fds[1]);
	return pid;
}

static void serve_on(void)
{
	for (;;)
		pause();
}

/* Stopped at another moment of each hand-off; then nobody has seen any time pass. */
START_TEST(a_process_that_is_stopped_and_goes_on_loses_no_wake_up)
{
	enum { ROUNDS = 24 };
	struct sockaddr_storage ss;
	pid_t pid = given_child(serve_on, &ss);
	int a = peer_connect(&ss, sizeof(struct sockaddr_in)),
	    b = peer_connect(&ss, sizeof(struct sockaddr_in));

	for (int i = 0; i < ROUNDS; i++) {
		peer_send(a, "s", 1);
		peer_send(b, i & 1 ? "s" : "x", 1);
		usleep((useconds_t)(i * 300));
		kill(pid, SIGSTOP);
		poll(NULL, 0, 10);
		kill(pid, SIGCONT);
		must_answer(a, 's');
		must_answer(b, i & 1 ? 's' : 'x');
	}
	peer_close(&a);
	peer_close(&b);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

static void stop_in_vain_and_exit(void)
{
	unsigned forced = 0;

	AWAIT(blocker_begun == 1 && pollers_stats().away == 1);
	for (int i = 0; i < 2; i++)
		if (np_server_stop(blocker, 10, &forced) != -ETIMEDOUT)
			_exit(2);
	if (np_server_free(&blocker) != -EBUSY || np_pollers_stop(pollers, 10) != -EBUSY ||
	    np_pollers_free(&pollers) != -EBUSY)
		_exit(3);
	if (in_log("did not return") < 1)
		_exit(4);
	exit(0);
}

START_TEST(a_program_ends_though_one_never_returns)
{
	struct sockaddr_storage ss;
	pid_t pid = given_child(stop_in_vain_and_exit, &ss);
	int fd = peer_connect(&ss, sizeof(struct sockaddr_in)), status;

	peer_send(fd, "b", 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	peer_close(&fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "a handler that is away");

	tcase_add_checked_fixture(t, setup, end_blocker);
	tcase_add_test(t, a_task_that_may_block_is_left_alone_and_named);
	tcase_add_test(t, options_of_a_task_that_are_not_known_are_refused);
	tcase_add_test(t, one_that_sleeps_goes_on_among_a_crowd_that_keeps_its_threads);
	tcase_add_test(t, timers_fire_while_it_is_away);
	tcase_add_loop_test(t, it_ends_when_all_who_wait_for_it_have_been_told, 0, 4);
	tcase_add_test(t, what_it_has_in_hand_of_its_set_is_not_read_by_a_stop);
	tcase_add_test(t, its_connection_is_not_detached_meanwhile);
	tcase_add_test(t, it_detaches_its_own_when_it_is_back);
	tcase_add_test(t, it_calls_on_a_channel_that_others_use_meanwhile);
	tcase_add_test(t, what_it_forwards_arrives_whole);
	tcase_add_test(t, it_forks_and_waits_for_its_child);

	t = add_case(s, "in a process of its own");
	tcase_add_test(t, a_process_that_is_stopped_and_goes_on_loses_no_wake_up);
	tcase_add_test(t, a_program_ends_though_one_never_returns);
}
