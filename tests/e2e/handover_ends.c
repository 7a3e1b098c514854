/* SPDX-License-Identifier: BSD-2-Clause */
/* handover_ends: where a process ends, stands still or never comes, the other one serves on */
#include <errno.h>
#include <netpoll/status.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "given_handover.h"
#include "support/peer.h"
#include "support/privilege.h"
#include "support/run.h"
#include "support/serve.h"
#include "support/test.h"

/* ------------------------------------------------------------------ processes that end */

static void reap(struct child *c)
{
	close(c->sock);
	ck_assert_int_eq(waitpid(c->pid, NULL, 0), c->pid);
}

START_TEST(what_a_killed_receiver_had_not_been_told_of_goes_on_at_the_sender)
{
	const struct hand_opts n = { .import_signal = SIGKILL, .import_nth = 200 };
	struct hand_facts f;
	struct hand_answer a;
	unsigned alive = 0;

	given(NULL, &n);
	given_clients(300);
	ask_both(AWAIT_MS, AWAIT_MS);
	hand_hear(&old, &f);
	ck_assert_int_eq(f.r, -EPIPE);
	ck_assert_uint_eq(f.handed.addresses, 1);
	reap(&next);
	for (int i = 0; i < 300; i++)
		if (hand_try_echo(client[i], &a)) {
			ck_assert_uint_eq(a.count, 2);
			ck_assert_uint_eq(a.pid, (uint32_t)old.pid);
			alive++;
		}

	ck_assert_uint_eq(alive, 300 - f.handed.handed);
	ck_assert_uint_ge(alive, 100);
	ck_assert_uint_lt(alive, 300);
	close_clients(300);
	hand_stop(&old, &f);
}
END_TEST

START_TEST(a_stopped_receiver_costs_the_time_of_one_answer_and_no_connection)
{
	const struct hand_opts n = { .import_signal = SIGSTOP, .import_nth = 1 };
	struct hand_facts f;

	given(NULL, &n);
	given_clients(40);
	ask_both(AWAIT_MS, 300);
	hand_hear(&old, &f);
	ck_assert_int_eq(f.r, -ETIMEDOUT);
	ck_assert_uint_eq(f.handed.handed, 0);
	for (int i = 0; i < 40; i++)
		ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)old.pid);
	kill(next.pid, SIGCONT); /* what it has of them is dropped, and nothing of it is seen */
	hand_hear(&next, &f);
	for (int i = 0; i < 40; i++)
		ck_assert_uint_eq(hand_echo(client[i]).count, 3);

	close_clients(40);
	end_both();
}
END_TEST

/* In the middle of what it writes down of them. */
START_TEST(a_sender_that_was_stopped_past_an_answers_time_goes_on)
{
	const struct hand_opts o = { .export_signal = SIGSTOP, .export_nth = 5 };
	struct hand_facts f;
	int status;

	given(&o, NULL);
	given_clients(40);
	ask_both(AWAIT_MS, 1000);
	hand_hear(&next, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
	ck_assert_int_eq(waitpid(old.pid, &status, WUNTRACED), old.pid);
	ck_assert(WIFSTOPPED(status));
	poll(NULL, 0, 1300); /* the stall itself */
	kill(old.pid, SIGCONT);
	hand_hear(&old, &f);

	ck_assert_msg(f.r == 0, "%s", f.error);
	ck_assert_uint_eq(f.handed.handed, 40);
	expect_all_at_next(40, 2);
	close_clients(40);
	end_both();
}
END_TEST

START_TEST(what_a_killed_sender_had_told_the_receiver_goes_on_there)
{
	const struct hand_opts o = { .export_signal = SIGKILL, .export_nth = 200 };
	struct hand_facts f;
	struct hand_answer a;
	unsigned alive = 0;
	int fresh;

	given(&o, NULL);
	given_clients(300);
	ask_both(AWAIT_MS, AWAIT_MS);
	hand_hear(&next, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
	reap(&old);
	for (int i = 0; i < 300; i++)
		if (hand_try_echo(client[i], &a)) {
			ck_assert_uint_eq(a.count, 2);
			ck_assert_uint_eq(a.pid, (uint32_t)next.pid);
			alive++;
		}

	ck_assert_uint_ge(alive, 64); /* whole batches of one poller, and perhaps of the other */
	ck_assert_uint_lt(alive, 200);
	fresh = connect_one();
	ck_assert_uint_eq(hand_echo(fresh).pid, (uint32_t)next.pid);
	peer_close(&fresh);
	close_clients(300);
	hand_stop(&next, &f);
}
END_TEST

/* The kernel drops what the receiver's table has no room for, and says so in a flag alone. */
START_TEST(a_receiver_without_descriptors_costs_no_connection)
{
	const struct hand_opts n = { .descriptors = 150, .steer = NP_STEER_OFF };
	struct hand_facts f;
	struct hand_answer a;
	unsigned at_old = 0;

	given(NULL, &n);
	given_clients(300);
	ask_both(AWAIT_MS, AWAIT_MS);
	hand_hear(&next, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
	hand_hear(&old, &f);
	ck_assert_int_eq(f.r, -ECONNREFUSED);
	for (int i = 0; i < 300; i++) {
		ck_assert(hand_try_echo(client[i], &a));
		ck_assert_uint_eq(a.count, 2);
		at_old += a.pid == (uint32_t)old.pid;
	}

	ck_assert_uint_eq(at_old, 300 - f.handed.handed);
	ck_assert_uint_gt(f.handed.handed, 0);
	close_clients(300);
	end_both();
}
END_TEST

static void *hand_over_to_nobody(void *arg)
{
	return (void *)(intptr_t)np_server_hand_over(
		serve_server, where, NP_OPTS(np_hand_over_opts, .come_ms = -1), NULL);
}

START_TEST(a_stop_ends_a_hand_over_that_waits)
{
	static const struct np_handlers h = { .sz = sizeof h };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len;
	pthread_t t;
	void *r;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(where, sizeof where, "@np-handover-%d", (int)getpid());
	memcpy(un.sun_path + 1, where + 1, strlen(where + 1));
	len = (socklen_t)(sizeof un.sun_family + strlen(where));
	serve(1, &h, NULL, NULL);
	pthread_create(&t, NULL, hand_over_to_nobody, NULL);
	AWAIT(connect(fd, (struct sockaddr *)&un, len) == 0); /* and says nothing */
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	pthread_join(t, &r);

	ck_assert_int_lt((int)(intptr_t)r, 0);
	serve_end();
	close(fd);
}
END_TEST

START_TEST(a_stop_ends_a_hand_over_that_nobody_comes_to)
{
	static const struct np_handlers h = { .sz = sizeof h };
	char *dir = temp_dir();
	pthread_t t;
	void *r;

	snprintf(where, sizeof where, "%s/s", dir);
	serve(1, &h, NULL, NULL);
	pthread_create(&t, NULL, hand_over_to_nobody, NULL);
	AWAIT(access(where, F_OK) == 0);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	pthread_join(t, &r);

	ck_assert_int_eq((int)(intptr_t)r, -ECANCELED);
	ck_assert_int_ne(access(where, F_OK), 0);
	serve_end();
	remove_tree(&dir);
}
END_TEST

static _Atomic(int) told_of_drain;

static void on_drain(struct np_conn *c, void *arg)
{
	told_of_drain++;
}

static int draining(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, 1, &p);

	if (r == 0)
		r = np_conn_write(c, np_conn_draining(c) ? "d" : "-", 1);
	return r < 0 ? r : np_conn_flush(c);
}

static char ask_draining(int fd)
{
	char answer;

	peer_send(fd, "?", 1);
	peer_recv(fd, &answer, 1);
	return answer;
}

START_TEST(a_drain_does_not_wait_for_the_next_process_to_come)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = draining,
					      .on_drain = on_drain };
	char *dir = temp_dir();
	struct stat st;
	pthread_t t;
	void *r;
	int fd;

	snprintf(where, sizeof where, "%s/s", dir);
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	ck_assert_int_eq(ask_draining(fd), '-');
	pthread_create(&t, NULL, hand_over_to_nobody, NULL);
	AWAIT(access(where, F_OK) == 0);
	ck_assert_int_eq(np_server_drain(serve_server), 0);
	AWAIT(told_of_drain == 1);
	ck_assert_int_eq(ask_draining(fd), 'd');
	ck_assert_int_eq(stat(where, &st), 0); /* it waits still */
	peer_close(&fd);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	pthread_join(t, &r);

	ck_assert_int_eq((int)(intptr_t)r, -ECANCELED);
	serve_end();
	remove_tree(&dir);
}
END_TEST

/* Which waits for it, and has handed over to nobody before. */
static void expect_next_to_take(unsigned n)
{
	struct hand_facts f;

	hand_ask_take(&next, where, AWAIT_MS);
	hand_hear(&next, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
	hand_hear(&old, &f);
	ck_assert_uint_eq(f.handed.handed, n);
	expect_all_at_next((int)n, 2);
	close_clients((int)n);
	end_both();
}

START_TEST(the_next_process_may_come_to_a_server_that_drains)
{
	const struct hand_opts o = { .drains = 1 };

	given(&o, NULL);
	given_clients(4);
	hand_ask_over(&old, where, AWAIT_MS, AWAIT_MS);
	ck_assert_int_eq(child_hear(old.sock), 'd');
	expect_next_to_take(4);
}
END_TEST

/* ------------------------------------------------------------------ who may not */

START_TEST(another_number_of_pollers_is_refused_and_the_old_process_serves_on)
{
	const struct hand_opts n = { .pollers = 3 };
	struct hand_facts f;

	given(NULL, &n);
	given_clients(3);
	ask_both(AWAIT_MS, AWAIT_MS);
	hand_hear(&next, &f);
	ck_assert_int_eq(f.r, -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(f.error, "3 pollers"));
	hand_hear(&old, &f);
	ck_assert_int_eq(f.r, -EINVAL);
	ck_assert_uint_eq(f.handed.addresses, 0);

	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(hand_echo(client[i]).pid, (uint32_t)old.pid);
	client[3] = connect_one();
	ck_assert_uint_eq(hand_echo(client[3]).pid, (uint32_t)old.pid);
	close_clients(4);
	end_both();
}
END_TEST

START_TEST(where_nobody_comes_the_server_serves_on)
{
	struct hand_facts f;

	given(NULL, NULL);
	given_clients(1);
	hand_ask_over(&old, where, 100, 100);
	hand_hear(&old, &f);

	ck_assert_int_eq(f.r, -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(f.error, "no process has come"));
	ck_assert_uint_eq(hand_echo(client[0]).pid, (uint32_t)old.pid);
	hand_ask_take(&next, where, 100);
	hand_hear(&next, &f);
	ck_assert_int_eq(f.r, -ECONNREFUSED);
	close_clients(1);
	end_both();
}
END_TEST

static _Atomic(unsigned) ticks;

static void tick(int sig)
{
	ticks++;
}

START_TEST(signals_end_no_wait_for_the_process_before)
{
	const struct sigaction act = { .sa_handler = tick };
	const struct itimerval each_ms = { { 0, 1000 }, { 0, 1000 } }, off = { { 0 } };
	static const struct np_handlers h = { .sz = sizeof h };
	struct np_server *s;

	snprintf(where, sizeof where, "@np-handover-%d", (int)getpid());
	ck_assert_int_eq(np_server_new(NULL, &h, NULL, NULL, &s), 0);
	ck_assert_int_eq(sigaction(SIGALRM, &act, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &each_ms, NULL), 0);
	while (ticks < 20)
		ck_assert_int_eq(np_server_take_over(s, where, 20), -ECONNREFUSED);
	setitimer(ITIMER_REAL, &off, NULL);
	ck_assert_int_eq(np_server_free(&s), 0);
}
END_TEST

static void stranger(int sock, void *arg)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char byte[16];

	become(1234, 0);
	memcpy(un.sun_path + 1, where + 1, strlen(where + 1));
	while (connect(fd, (struct sockaddr *)&un,
		       (socklen_t)(sizeof un.sun_family + strlen(where))) < 0)
		test_pause();
	/* a refusal with its sentence, and no descriptor; then the end */
	if (recv(fd, byte, sizeof byte, MSG_WAITALL) != sizeof byte)
		child_fail("no refusal");
	child_say(sock, 'r');
}

START_TEST(another_user_is_refused_and_waited_on_no_longer)
{
	struct child other;

	if (!can_root())
		SKIP("needs root");
	given(NULL, NULL);
	given_clients(2);
	hand_ask_over(&old, where, AWAIT_MS, AWAIT_MS);
	child_start(&other, stranger, NULL);
	ck_assert_int_eq(child_hear(other.sock), 'r');
	child_join(&other);
	expect_next_to_take(2);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "handover_ends");

	tcase_add_test(t, what_a_killed_receiver_had_not_been_told_of_goes_on_at_the_sender);
	tcase_add_test(t, a_stopped_receiver_costs_the_time_of_one_answer_and_no_connection);
	tcase_add_test(t, a_sender_that_was_stopped_past_an_answers_time_goes_on);
	tcase_add_test(t, what_a_killed_sender_had_told_the_receiver_goes_on_there);
	tcase_add_test(t, a_receiver_without_descriptors_costs_no_connection);
	tcase_add_test(t, a_stop_ends_a_hand_over_that_waits);
	tcase_add_test(t, a_stop_ends_a_hand_over_that_nobody_comes_to);
	tcase_add_test(t, a_drain_does_not_wait_for_the_next_process_to_come);
	tcase_add_test(t, the_next_process_may_come_to_a_server_that_drains);
	tcase_add_test(t, another_number_of_pollers_is_refused_and_the_old_process_serves_on);
	tcase_add_test(t, where_nobody_comes_the_server_serves_on);
	tcase_add_test(t, signals_end_no_wait_for_the_process_before);
	tcase_add_test(t, another_user_is_refused_and_waited_on_no_longer);
}
