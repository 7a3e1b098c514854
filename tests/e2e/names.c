/* SPDX-License-Identifier: BSD-2-Clause */
/* names: dials by name, whatever the name server does; each by both ways of looking up. */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/client.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/names.h"
#include "support/pollers.h"
#include "support/test.h"

/* The first is what a lookup that waits on sockets can honour; the second wants getaddrinfo(3). */
static const char *const ways[] = { "files dns", "files nosuchservice dns" };

#define WAYS 2

/* Whether a lookup has a thread, this way. */
#ifdef NP_HAVE_CARES
#define BY_THREAD(way) ((way) == 1)
#else
#define BY_THREAD(way) 1
#endif

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
#define GIVEN(way, options)                                                         \
	do {                                                                        \
		if (!names_begin(ways[way], options))                               \
			SKIP("needs root, for namespaces and port 53");             \
		given_target("127.0.0.1");                                          \
		fds_before = open_fds();                                            \
		given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF)); \
	} while (0)

/* A lookup by getaddrinfo(3) that was given up has its thread and its socket until its own end. */
static void end(void)
{
	names_speak();
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&pollers), 0);
	AWAIT(np_threads() == 0);
	/* the nameserver has its end of a connection a little longer */
	AWAIT(open_fds() == fds_before);
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
	r = np_dial(NULL, NP_HERE, a->network, address, NP_OPTS(np_dial_opts, .timeout_ms = a->ms),
		    &c);
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
	ck_assert_int_eq(dialed("tcp", "127.1", AWAIT_MS), 0); /* a number, to inet_aton(3) */
	end();
}
END_TEST

/* By UDP it says that it is cut, and has no address. */
START_TEST(an_answer_that_does_not_fit_is_had_by_tcp)
{
	GIVEN(_i, "");
	ck_assert_int_eq(dialed("tcp", "wide.test", AWAIT_MS), 0);
	end();
}
END_TEST

START_TEST(no_such_name_is_told_apart_from_no_answer)
{
	GIVEN(_i, "options timeout:1 attempts:1");
	ck_assert_int_eq(dialed("tcp", "gone.test", AWAIT_MS), -NP_ERESOLVE);
	/* none of this kind */
	ck_assert_int_eq(dialed("tcp6", "good.test", AWAIT_MS), -NP_ERESOLVE);
	ck_assert_int_eq(dialed("tcp4", "six.test", AWAIT_MS), -NP_ERESOLVE);
	ck_assert_int_eq(dialed("tcp", "broken.test", AWAIT_MS), -NP_ERESOLVEAGAIN);
	if (!BY_THREAD(_i)) /* glibc 2.36 says "no data" */
		ck_assert_int_eq(dialed("tcp", "half.test", AWAIT_MS), -NP_ERESOLVEAGAIN);
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

/* Once each poller's thread has the name that it is counted by. */
static int threads_now(void)
{
	AWAIT(np_threads() >= 1);
	return np_threads();
}

/* Asked, but for no answer. The way that the machine's configuration asks for is the one taken. */
START_TEST(a_lookup_has_a_thread_only_where_nsswitch_asks_for_more_than_dns)
{
	struct np_task *t[SILENT];
	int before;

	GIVEN(_i, "");
	before = threads_now();
	for (int i = 0; i < SILENT; i++)
		t[i] = given_task(0, dial_silent, NULL);
	AWAIT(names_silences() >= 2 * SILENT);
	ck_assert_int_eq(np_threads() - before, BY_THREAD(_i) ? SILENT : 0);
	for (int i = 0; i < SILENT; i++)
		ck_assert_int_eq(np_task_cancel(t[i]), 0);
	for (int i = 0; i < SILENT; i++)
		ck_assert_int_eq(joined(t[i]), -ECANCELED);
	end();
}
END_TEST

#ifdef NP_HAVE_CARES

#define CROWD 1000

static struct np_task *crowd[CROWD];

static void given_crowd(void)
{
	unsigned before = names_silences();

	for (int i = 0; i < CROWD; i++)
		crowd[i] = given_task(0, dial_silent, NULL);
	AWAIT(names_silences() - before >= 2 * CROWD);
}

/* Two for each, at least. */
static void given_many_descriptors(void)
{
	struct rlimit l;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = l.rlim_max > 65536 ? 65536 : l.rlim_max;
	ck_assert_uint_gt(l.rlim_cur, 4 * CROWD);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
}

/* The server is silent to the end. */
START_TEST(a_thousand_lookups_that_are_given_up_leave_nothing)
{
	int fds, threads;

	given_many_descriptors();
	GIVEN(0, "options timeout:30"); /* none ends by itself, however slow the machine */
	fds = open_fds();
	threads = threads_now();
	given_crowd();
	ck_assert_int_eq(np_threads(), threads);
	ck_assert_int_eq(dialed("tcp", "good.test", AWAIT_MS), 0);
	ck_assert_int_eq(ended, 0);
	for (int i = 0; i < CROWD; i++)
		ck_assert_int_eq(np_task_cancel(crowd[i]), 0);
	for (int i = 0; i < CROWD; i++)
		ck_assert_int_eq(joined(crowd[i]), -ECANCELED);
	AWAIT(open_fds() == fds); /* the last to be dialed is closed by its poller */
	ck_assert_int_eq(np_threads(), threads);
	given_crowd(); /* they are ended by the stop */
	ck_assert_int_eq(np_pollers_stop(pollers, 100), 0);
	for (int i = 0; i < CROWD; i++)
		ck_assert_int_eq(joined(crowd[i]), -ECANCELED);
	ck_assert_int_eq(np_pollers_free(&pollers), 0);
	AWAIT(np_threads() == 0);
	/* the nameserver has its end of a connection a little longer */
	AWAIT(open_fds() == fds_before);
	close(target);
	names_end();
}
END_TEST

static int dial_named(void *arg)
{
	struct ask a = { "tcp", arg, AWAIT_MS };

	return dial(&a);
}

/* A lookup that finds no descriptor says so: it is no word about the name. */
START_TEST(without_a_descriptor_the_error_is_that_of_the_system)
{
	struct rlimit l, none;

	GIVEN(0, "");
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	none = l;
	none.rlim_cur = (rlim_t)open_fds();
	for (int more = 0; more < 4; more++, none.rlim_cur++) {
		int r;

		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
		r = np_run(pollers, dial_named, "good.test");
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
		ck_assert_msg(r == -EMFILE || (r == 0 && more), "with %d more: %d", more, r);
	}
	end();
}
END_TEST

#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "names");

	tcase_add_loop_test(t, a_name_of_the_server_and_one_of_the_hosts_file_are_dialed, 0, WAYS);
	tcase_add_loop_test(t, no_such_name_is_told_apart_from_no_answer, 0, WAYS);
	tcase_add_loop_test(t, the_twenty_fourth_address_is_tried, 0, WAYS);
	tcase_add_loop_test(t, a_lookup_ends_at_each_limit_that_is_set, 0, WAYS);
	tcase_add_loop_test(t, lookups_without_an_answer_hold_up_nobody, 0, WAYS);
	tcase_add_loop_test(t, an_answer_that_does_not_fit_is_had_by_tcp, 0, WAYS);
	tcase_add_loop_test(t, a_lookup_has_a_thread_only_where_nsswitch_asks_for_more_than_dns, 0,
			    WAYS);
#ifdef NP_HAVE_CARES
	tcase_add_test(t, a_thousand_lookups_that_are_given_up_leave_nothing);
	tcase_add_test(t, without_a_descriptor_the_error_is_that_of_the_system);
#endif
}
