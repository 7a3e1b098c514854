/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stopped: a process that is stopped, whatever it had done before, keeps no client of its siblings waiting
 *
 * The processes are children of the test, servers of one pinned service at one address.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netpoll/server.h>
#include <netpoll/steer.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/steer.h"
#include "support/test.h"

#define HANG_MS 40
/* Where nobody may be called hung: longer than a busy machine keeps a thread waiting. */
#define LONG_HANG_MS 300
#define AT      "127.0.0.1:7421"
#define CLIENTS 12

static struct sockaddr_storage at;

/* ------------------------------------------------------------------ the processes */

static int echo(struct np_conn *c, void *arg)
{
	const char *in;
	char byte;

	if (np_conn_peek(c, 1, (const void **)&in) < 0)
		return -EPROTO;
	byte = *in;
	np_conn_skip(c, 1);
	np_conn_write(c, &byte, 1);
	return np_conn_flush(c);
}

static const struct np_handlers handlers = { .sz = sizeof handlers, .on_request = echo };

/* Says 'l' when it listens, 's' when it serves; ends when it hears something. */
static void serve(int sock, void *arg)
{
	struct np_pollers *pollers;
	struct np_server *s;

	if (np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1), &pollers) < 0 ||
	    np_server_new(pollers, &handlers, NULL,
			  NP_OPTS(np_server_opts, .service = "web", .steer = NP_STEER_REQUIRED), &s) < 0)
		child_fail("no server");
	if (np_server_listen(s, "tcp", AT) < 0)
		child_fail("%s", np_server_error(s));
	child_say(sock, 'l');
	if (arg)
		child_hear(sock);
	if (np_server_start(s) < 0)
		child_fail("%s", np_server_error(s));
	child_say(sock, 's');
	child_hear(sock);
	if (np_server_stop(s, AWAIT_MS, NULL) < 0 || np_server_free(s) < 0 ||
	    np_pollers_stop(pollers, AWAIT_MS) < 0 || np_pollers_free(pollers) < 0)
		child_fail("cannot stop");
}

/* An event loop of another kind, which has got no further than its listener. */
static void listen_only(int sock, void *arg)
{
	struct np_steer_worker *w;
	struct np_steer *s;
	int fd;

	if (np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s) < 0 ||
	    np_steer_worker(s, "plain", &w) < 0 || np_steer_listen(w, "tcp", AT, 0, &fd) < 0)
		child_fail("no listener");
	child_say(sock, 'l');
	child_hear(sock);
	close(fd);
	if (np_steer_worker_close(&w) < 0 || np_steer_close(&s) < 0)
		child_fail("cannot leave");
}

static void given_service(int hang_ms)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(7421),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	memcpy(&at, &in, sizeof in);
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_opts, .hang_ms = hang_ms)), 0);
}

static void given_sibling(struct child *c)
{
	child_start(c, serve, NULL);
	ck_assert_int_eq(child_hear(c->sock), 'l');
	ck_assert_int_eq(child_hear(c->sock), 's');
}

static void stop_process(pid_t pid)
{
	int status;

	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(WIFSTOPPED(status));
}

static void end_process(struct child *c)
{
	child_say(c->sock, 'e');
	child_join(c);
}

/* Each gets its answer, however they were spread. */
static void expect_all_served(void)
{
	int fds[CLIENTS];
	char c;

	for (int i = 0; i < CLIENTS; i++)
		fds[i] = peer_connect(&at, sizeof(struct sockaddr_in));
	for (int i = 0; i < CLIENTS; i++) {
		peer_send(fds[i], "x", 1);
		peer_recv(fds[i], &c, 1);
		peer_close(&fds[i]);
	}
}

/* ------------------------------------------------------------------ before the first accept */

START_TEST(a_process_that_stops_before_its_first_accept_keeps_no_client)
{
	struct child first, second;

	OWN_STEERING();
	given_service(HANG_MS);
	given_sibling(&first);
	given_sibling(&second);
	stop_process(first.pid);
	expect_all_served();
	ck_assert_int_eq(kill(first.pid, SIGCONT), 0);
	expect_all_served(); /* and while it takes its place again */
	end_process(&first);
	end_process(&second);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

START_TEST(a_server_that_listens_and_is_long_to_start_keeps_no_client)
{
	struct child slow, sibling;

	OWN_STEERING();
	given_service(HANG_MS);
	child_start(&slow, serve, &slow);
	ck_assert_int_eq(child_hear(slow.sock), 'l');
	given_sibling(&sibling);
	expect_all_served();
	child_say(slow.sock, 'g');
	ck_assert_int_eq(child_hear(slow.sock), 's');
	expect_all_served();
	end_process(&slow);
	end_process(&sibling);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* It has never said anything: that what it was given is still in its queue has to do. */
START_TEST(a_loop_that_stops_before_its_first_word_keeps_no_client)
{
	struct child plain, sibling;

	OWN_STEERING();
	given_service(HANG_MS);
	child_start(&plain, listen_only, NULL);
	ck_assert_int_eq(child_hear(plain.sock), 'l');
	given_sibling(&sibling);
	stop_process(plain.pid);
	expect_all_served();
	ck_assert_int_eq(kill(plain.pid, SIGCONT), 0);
	end_process(&plain);
	end_process(&sibling);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* ------------------------------------------------------------------ the watchers are stopped */

static uint64_t rescues(struct np_steer *s, unsigned workers)
{
	uint64_t n = 0;

	for (unsigned w = 0; w < workers; w++) {
		struct np_steer_worker_info i = { .sz = sizeof i };

		ck_assert_int_eq(np_steer_worker_info(s, w, &i), 0);
		n += i.rescued;
	}
	return n;
}

/* Both are stopped at any moment of their watchdogs' ticks, and go on together: each has been late for the other. */
START_TEST(processes_that_are_stopped_and_go_on_together_rescue_nobody)
{
	struct child both[2];
	struct np_steer *s;

	OWN_STEERING();
	given_service(LONG_HANG_MS);
	for (int i = 0; i < 2; i++)
		given_sibling(&both[i]);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s), 0);
	expect_all_served();
	for (int round = 0; round < 6; round++) {
		int fds[CLIENTS];
		char c;

		for (int i = 0; i < CLIENTS; i++)
			fds[i] = peer_connect(&at, sizeof(struct sockaddr_in));
		for (int i = 0; i < CLIENTS; i++)
			peer_send(fds[i], "x", 1);
		poll(NULL, 0, round);
		for (int i = 0; i < 2; i++)
			stop_process(both[i].pid);
		poll(NULL, 0, 2 * LONG_HANG_MS); /* the stall itself */
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(kill(both[i].pid, SIGCONT), 0);
		for (int i = 0; i < CLIENTS; i++) {
			peer_recv(fds[i], &c, 1);
			peer_close(&fds[i]);
		}
	}
	ck_assert_uint_eq(rescues(s, 2), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
	for (int i = 0; i < 2; i++)
		end_process(&both[i]);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stopped");
	TCase *t = tcase_create("first");

	tcase_add_test(t, a_process_that_stops_before_its_first_accept_keeps_no_client);
	tcase_add_test(t, a_server_that_listens_and_is_long_to_start_keeps_no_client);
	tcase_add_test(t, a_loop_that_stops_before_its_first_word_keeps_no_client);
	suite_add_tcase(s, t);
	t = tcase_create("watchers");
	tcase_add_test(t, processes_that_are_stopped_and_go_on_together_rescue_nobody);
	suite_add_tcase(s, t);
	return run_suite(s);
}
