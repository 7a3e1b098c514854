/* SPDX-License-Identifier: BSD-2-Clause */
/* names: dials by name, whatever the name server does; each by both ways of looking up. */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/client.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "support/names.h"
#include "support/pollers.h"
#include "support/test.h"

/* The first is what a lookup that waits on sockets can honour; the second wants getaddrinfo(3). */
static const char *const ways[] = { "files dns", "files nosuchservice dns" };

#define WAYS 2

static int target, fds_before;
static unsigned port;

static void given_target(const char *ip)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof sa;

	ck_assert_int_eq(inet_pton(AF_INET, ip, &sa.sin_addr), 1);
	target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(target, (struct sockaddr *)&sa, sizeof sa), 0);
	ck_assert_int_eq(listen(target, 64), 0);
	ck_assert_int_eq(getsockname(target, (struct sockaddr *)&sa, &len), 0);
	port = ntohs(sa.sin_port);
}

/* Or leaves the test. */
#define GIVEN(way, options)                                                          \
	do {                                                                         \
		if (!names_begin(ways[way], options))                                \
			SKIP("needs root, for namespaces and port 53");              \
		given_target("127.0.0.1");                                           \
		fds_before = open_fds();                                             \
		given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .no_pin = 1));    \
	} while (0)

/* A lookup by getaddrinfo(3) that was given up has its thread and its socket until its own end. */
static void end(void)
{
	names_speak();
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(pollers), 0);
	AWAIT(np_threads() == 0);
	ck_assert_int_eq(open_fds(), fds_before);
	close(target);
	names_end();
}

struct ask {
	const char *network, *name;
	int ms;
};

static int dial(void *arg)
{
	const struct ask *a = arg;
	struct np_conn *c;
	char address[64];
	int r;

	snprintf(address, sizeof address, "%s:%u", a->name, port);
	r = np_dial(NULL, NP_HERE, a->network, address, NP_OPTS(np_dial_opts, .timeout_ms = a->ms), &c);
	if (r == 0) {
		np_conn_abort(c);
		np_conn_unref(c);
	}
	return r;
}

static int dialed(const char *network, const char *name, int ms)
{
	struct ask a = { network, name, ms };

	return np_run(pollers, dial, &a);
}

/* ------------------------------------------------------------------ what the server says */

START_TEST(a_name_of_the_server_and_one_of_the_hosts_file_are_dialed)
{
	GIVEN(_i, "");
	ck_assert_int_eq(dialed("tcp", "good.test", AWAIT_MS), 0);
	ck_assert_int_eq(dialed("tcp4", "good.test", AWAIT_MS), 0);
	ck_assert_int_eq(dialed("tcp", "filed", AWAIT_MS), 0);
	ck_assert_int_eq(dialed("tcp", "localhost", AWAIT_MS), 0);
	end();
}
END_TEST

START_TEST(no_such_name_is_told_apart_from_no_answer)
{
	GIVEN(_i, "options timeout:1 attempts:1");
	ck_assert_int_eq(dialed("tcp", "gone.test", AWAIT_MS), -NP_ERESOLVE);
	ck_assert_int_eq(dialed("tcp6", "good.test", AWAIT_MS), -NP_ERESOLVE); /* none of this kind */
	ck_assert_int_eq(dialed("tcp4", "six.test", AWAIT_MS), -NP_ERESOLVE);
	ck_assert_int_eq(dialed("tcp", "broken.test", AWAIT_MS), -NP_ERESOLVEAGAIN);
	ck_assert_int_eq(dialed("tcp", "silent.test", AWAIT_MS), -NP_ERESOLVEAGAIN);
	end();
}
END_TEST

/* Nobody listens at the first 23. */
START_TEST(the_twenty_fourth_address_is_tried)
{
	GIVEN(_i, "");
	close(target);
	given_target("127.0.1.24");
	ck_assert_int_eq(dialed("tcp", "many.test", AWAIT_MS), 0);
	end();
}
END_TEST

/* ------------------------------------------------------------------ what a lookup holds up */

#define SILENT 40

static struct ask silent = { "tcp", "silent.test", 0 };

static int silence_with_deadline(void *arg)
{
	ck_assert_int_eq(np_deadline(20, NULL), 0);
	return dial(&silent);
}

START_TEST(a_lookup_ends_at_each_limit_that_is_set)
{
	struct np_task *t;

	GIVEN(_i, "");
	ck_assert_int_eq(dialed("tcp", "silent.test", 20), -NP_EDIALTIMEOUT);
	ck_assert_int_eq(joined(given_task(0, silence_with_deadline, NULL)), -ETIMEDOUT);
	t = given_task(0, dial, &silent);
	ck_assert_int_eq(np_join_for(&t, 20, NULL), -ETIMEDOUT);
	ck_assert_int_eq(np_task_cancel(t), 0);
	ck_assert_int_eq(joined(t), -ECANCELED);
	end();
}
END_TEST

static _Atomic(int) ended;

static int dial_silent(void *arg)
{
	int r = dial(&silent);

	ended++;
	return r;
}

static void set(void *arg)
{
	*(int *)arg = 1;
}

static int offload_nothing(void *arg)
{
	int done = 0, r = np_offload(set, &done);

	return r ? r : done;
}

/* The clock is the lookups' own: none of them has ended when all else is over. */
START_TEST(lookups_without_an_answer_hold_up_nobody)
{
	struct np_task *t[SILENT];

	GIVEN(_i, "");
	for (int i = 0; i < SILENT; i++)
		t[i] = given_task(0, dial_silent, NULL);
	ck_assert_int_eq(joined(given_task(0, offload_nothing, NULL)), 1);
	ck_assert_int_eq(dialed("tcp", "good.test", 3000), 0);
	ck_assert_int_eq(ended, 0);
	ck_assert_int_eq(np_pollers_stop(pollers, 1000), 0);
	for (int i = 0; i < SILENT; i++)
		ck_assert_int_eq(joined(t[i]), -ECANCELED);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("names");
	TCase *t = tcase_create("names");

	tcase_add_loop_test(t, a_name_of_the_server_and_one_of_the_hosts_file_are_dialed, 0, WAYS);
	tcase_add_loop_test(t, no_such_name_is_told_apart_from_no_answer, 0, WAYS);
	tcase_add_loop_test(t, the_twenty_fourth_address_is_tried, 0, WAYS);
	tcase_add_loop_test(t, a_lookup_ends_at_each_limit_that_is_set, 0, WAYS);
	tcase_add_loop_test(t, lookups_without_an_answer_hold_up_nobody, 0, WAYS);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
