/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stopped: a process that is stopped, whatever it had done before, keeps no client of its siblings
 * waiting
 *
 * The processes are children of the test, servers of one pinned service at one address.
 */
#include <netpoll/steer_admin.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/steer.h"
#include "support/test.h"
#include "support/web.h"

#define HANG_MS      40
/* Where nobody may be called hung: longer than a busy machine keeps a thread waiting. */
#define LONG_HANG_MS 300
#define CLIENTS      12

/* ------------------------------------------------------------------ the processes */

/* An event loop of another kind, which has got no further than its listener. */
static void listen_only(int sock, void *arg)
{
	struct np_steer_worker *w;
	struct np_steer *s;
	int fd;

	if (np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s) < 0 ||
	    np_steer_worker(s, "plain", &w) < 0 || np_steer_listen(w, "tcp", WEB_AT, 0, &fd) < 0)
		child_fail("no listener");
	child_say(sock, 'l');
	child_hear(sock);
	close(fd);
	if (np_steer_worker_close(&w) < 0 || np_steer_close(&s) < 0)
		child_fail("cannot leave");
}

/* ------------------------------------------------------------------ before the first accept */

START_TEST(a_process_that_stops_before_its_first_accept_keeps_no_client)
{
	struct web first, second;

	OWN_STEERING();
	web_load(HANG_MS);
	web_start(&first, 0);
	web_start(&second, 0);
	web_stop(&first);
	web_expect_all_served();
	web_cont(&first);
	web_expect_all_served(); /* and while it takes its place again */
	web_end(&first);
	web_end(&second);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

START_TEST(a_server_that_listens_and_is_long_to_start_keeps_no_client)
{
	struct web slow, sibling;

	OWN_STEERING();
	web_load(HANG_MS);
	web_start(&slow, WEB_LISTENS_ONLY);
	web_start(&sibling, 0);
	web_expect_all_served();
	web_go_on(&slow);
	web_expect_all_served();
	web_end(&slow);
	web_end(&sibling);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* It has never said anything: that what it was given is still in its queue has to do. */
START_TEST(a_loop_that_stops_before_its_first_word_keeps_no_client)
{
	struct child plain;
	struct web sibling;

	OWN_STEERING();
	web_load(HANG_MS);
	child_start(&plain, listen_only, NULL);
	ck_assert_int_eq(child_hear(plain.sock), 'l');
	web_start(&sibling, 0);
	ck_assert_int_eq(kill(plain.pid, SIGSTOP), 0);
	web_expect_all_served();
	ck_assert_int_eq(kill(plain.pid, SIGCONT), 0);
	child_say(plain.sock, 'e');
	child_join(&plain);
	web_end(&sibling);
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

/* Both are stopped at any moment of their watchdogs' ticks, and go on together: each has been late
 * for the other. */
START_TEST(processes_that_are_stopped_and_go_on_together_rescue_nobody)
{
	struct web both[2];
	struct np_steer *s;

	OWN_STEERING();
	web_load(LONG_HANG_MS);
	for (int i = 0; i < 2; i++)
		web_start(&both[i], 0);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	web_expect_all_served();
	for (int round = 0; round < 6; round++) {
		int fds[CLIENTS];
		char c;

		for (int i = 0; i < CLIENTS; i++)
			fds[i] = web_connect();
		for (int i = 0; i < CLIENTS; i++)
			peer_send(fds[i], "x", 1);
		poll(NULL, 0, round);
		for (int i = 0; i < 2; i++)
			web_stop(&both[i]);
		poll(NULL, 0, 2 * LONG_HANG_MS); /* the stall itself */
		for (int i = 0; i < 2; i++)
			web_cont(&both[i]);
		for (int i = 0; i < CLIENTS; i++) {
			peer_recv(fds[i], &c, 1);
			peer_close(&fds[i]);
		}
	}
	ck_assert_uint_eq(rescues(s, 2), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
	for (int i = 0; i < 2; i++)
		web_end(&both[i]);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "first");

	tcase_add_test(t, a_process_that_stops_before_its_first_accept_keeps_no_client);
	tcase_add_test(t, a_server_that_listens_and_is_long_to_start_keeps_no_client);
	tcase_add_test(t, a_loop_that_stops_before_its_first_word_keeps_no_client);
	t = add_case(s, "watchers");
	tcase_add_test(t, processes_that_are_stopped_and_go_on_together_rescue_nobody);
}
