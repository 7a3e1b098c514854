/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * container: workers in PID namespaces of their own are watched like any other, where somebody can
 * see them
 *
 * In its namespace each such server is process 1; to the test it has another number.
 */
#include <netpoll/steer_admin.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/run.h"
#include "support/steer.h"
#include "support/test.h"
#include "support/web.h"

#define HANG_MS 500 /* clients come between the stop and the time from which it shows */
#define FAILED  1   /* npsteer(8) */

static const char unseen[] = "no process of this PID namespace has its listener";

static struct np_steer_worker_info info_of(unsigned worker)
{
	struct np_steer_worker_info i = { .sz = sizeof i };
	struct np_steer *s;

	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	ck_assert_int_eq(np_steer_worker_info(s, worker, &i), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
	return i;
}

/* Some are queued at the one that is stopped. Until all are answered, or the test lets them go. */
static void given_clients(int fds[WEB_CLIENTS])
{
	for (int i = 0; i < WEB_CLIENTS; i++)
		fds[i] = web_connect();
	for (int i = 0; i < WEB_CLIENTS; i++)
		ck_assert_int_eq(send(fds[i], "x", 1, MSG_NOSIGNAL), 1);
}

static void expect_answers(int fds[WEB_CLIENTS])
{
	char c;

	for (int i = 0; i < WEB_CLIENTS; i++) {
		await_fd(fds[i], POLLIN);
		ck_assert_int_eq(recv(fds[i], &c, 1, 0), 1);
		close(fds[i]);
	}
}

START_TEST(a_stopped_container_is_rescued_by_a_sibling_outside)
{
	struct web contained, sibling;
	struct np_steer_worker_info i;

	OWN_STEERING();
	web_load(HANG_MS);
	web_start(&contained, WEB_IN_CONTAINER | WEB_NO_RESCUE);
	web_start(&sibling, 0);
	i = info_of(0);
	ck_assert_int_eq(i.pid, 1);
	ck_assert_uint_ne(i.pid_ns, 0);
	ck_assert_uint_eq(info_of(1).pid_ns, 0);
	web_expect_all_served();
	web_stop(&contained);
	web_expect_all_served();
	AWAIT(info_of(0).rescued >= 1); /* counted behind the shutdown that moves the queue */
	web_cont(&contained);
	web_expect_all_served();
	web_end(&contained);
	web_end(&sibling);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* The one that cannot must not keep back the one that can. */
START_TEST(who_cannot_see_the_worker_says_so_and_root_outside_takes_its_queue)
{
	int fds[WEB_CLIENTS];
	struct web contained, outside;
	struct np_steer *s;

	OWN_STEERING();
	web_load(HANG_MS);
	web_start(&outside, WEB_NO_RESCUE);
	web_start(&contained, WEB_IN_CONTAINER);
	web_expect_all_served();
	web_stop(&outside);
	given_clients(fds);
	web_await_failure(&contained, unseen);
	ck_assert_uint_ge(info_of(0).rescue_failed, 1);
	ck_assert_uint_eq(info_of(0).rescued, 0);
	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	ck_assert_int_eq(np_steer_rescue(s, 4 * HANG_MS), 1);
	ck_assert_int_eq(np_steer_close(&s), 0);
	expect_answers(fds);
	web_cont(&outside);
	web_end(&outside);
	web_end(&contained);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

static const char *const ways_in[] = {
	"unshare --pid --fork",              /* /proc shows more than there is in here */
	"unshare --pid --fork --mount-proc", /* /proc shows as much */
};

START_TEST(npsteer_rescue_says_what_it_cannot_see)
{
	int fds[WEB_CLIENTS];
	struct web stopped, sibling;
	struct ran r;

	OWN_STEERING();
	web_load(HANG_MS);
	web_start(&stopped, WEB_NO_RESCUE);
	web_start(&sibling, WEB_NO_RESCUE);
	web_stop(&stopped);
	given_clients(fds);
	sh(&r, "%s \"${NP_BUILD:-build}/npsteer\" rescue web", ways_in[_i]);
	ck_assert_msg(r.code == FAILED, "exit %d\n%s%s", r.code, r.out, r.err);
	ck_assert_msg(strstr(r.out, unseen) != NULL, "%s", r.out);
	ck_assert_ptr_null(strstr(r.out, "nobody hangs"));
	ran_free(&r);

	sh(&r, "\"${NP_BUILD:-build}/npsteer\" rescue web");
	ck_assert_msg(r.code == 0, "exit %d\n%s%s", r.code, r.out, r.err);
	ck_assert_msg(strstr(r.out, "went to its siblings") != NULL, "%s", r.out);
	ran_free(&r);
	expect_answers(fds);
	web_cont(&stopped);
	web_end(&stopped);
	web_end(&sibling);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

/* Two servers in a network namespace of their own, one of them stopped, and their clients. */
static void serve_apart(int sock, void *arg)
{
	int fds[WEB_CLIENTS];
	struct web stopped, sibling;

	if (own_netns() < 0)
		child_fail("no network namespace");
	web_start(&stopped, WEB_NO_RESCUE);
	web_start(&sibling, WEB_NO_RESCUE);
	web_expect_all_served();
	web_stop(&stopped);
	given_clients(fds);
	child_say(sock, 's');
	child_hear(sock);
	expect_answers(fds);
	web_cont(&stopped);
	web_end(&stopped);
	web_end(&sibling);
}

static int add_queued(void *arg, const struct np_steer_queue *q)
{
	*(unsigned *)arg += q->queued;
	return 0;
}

static unsigned queued(void)
{
	struct np_steer *s;
	unsigned n = 0;

	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	ck_assert_int_eq(np_steer_queues(s, add_queued, &n), 0);
	ck_assert_int_eq(np_steer_close(&s), 0);
	return n;
}

static const struct unwatched {
	const char *way, *why;
} unwatched[] = {
	{ "unshare --pid --fork --mount-proc", "no process that is seen from here is in it" },
	{ "setpriv --bounding-set -sys_admin --inh-caps -sys_admin", "takes CAP_SYS_ADMIN" },
};

START_TEST(npsteer_rescue_watches_workers_of_another_network_namespace_or_says_why_not)
{
	struct child apart;
	struct ran r;

	OWN_STEERING();
	web_load(HANG_MS);
	child_start(&apart, serve_apart, NULL);
	child_hear(apart.sock);
	ck_assert_uint_gt(queued(), 0);
	sh(&r, "%s \"${NP_BUILD:-build}/npsteer\" rescue web", unwatched[_i].way);
	ck_assert_msg(r.code == FAILED, "exit %d\n%s%s", r.code, r.out, r.err);
	ck_assert_msg(strstr(r.out, unwatched[_i].why) != NULL, "%s", r.out);
	ck_assert_ptr_null(strstr(r.out, "nobody hangs"));
	ran_free(&r);
	ck_assert_uint_eq(info_of(0).rescued, 0);

	sh(&r, "\"${NP_BUILD:-build}/npsteer\" rescue web");
	ck_assert_msg(r.code == 0, "exit %d\n%s%s", r.code, r.out, r.err);
	ck_assert_msg(strstr(r.out, "went to its siblings") != NULL, "%s", r.out);
	ran_free(&r);
	child_say(apart.sock, 'g');
	child_join(&apart);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

START_TEST(npsteer_status_tells_whose_process_number_it_is)
{
	struct web contained;
	char part[64];
	struct ran r;

	OWN_STEERING();
	web_load(HANG_MS);
	web_start(&contained, WEB_IN_CONTAINER);
	snprintf(part, sizeof part, " 1@%llu ", (unsigned long long)info_of(0).pid_ns);
	sh(&r, "\"${NP_BUILD:-build}/npsteer\" status web");
	ck_assert_msg(strstr(r.out, part) != NULL, "no %s in %s", part, r.out);
	ran_free(&r);
	web_end(&contained);
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "container");

	tcase_add_test(t, a_stopped_container_is_rescued_by_a_sibling_outside);
	tcase_add_test(t, who_cannot_see_the_worker_says_so_and_root_outside_takes_its_queue);
	tcase_add_loop_test(t, npsteer_rescue_says_what_it_cannot_see, 0,
			    sizeof ways_in / sizeof ways_in[0]);
	tcase_add_test(t, npsteer_status_tells_whose_process_number_it_is);
	tcase_add_loop_test(
		t, npsteer_rescue_watches_workers_of_another_network_namespace_or_says_why_not, 0,
		2);
}
