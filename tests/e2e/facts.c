/* SPDX-License-Identifier: BSD-2-Clause */
/* facts: what any thread may ask of a server, beside its whole life and after it. Public headers
 * only. */
#include <errno.h>
#include <netpoll/server.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

static const struct np_handlers none = { .sz = sizeof none };
static _Atomic(bool) enough;
static struct np_server *server;

/* A thread of metrics: what it sees never goes back. */
static void *watches(void *arg)
{
	uint64_t accepted = 0, conns, one;

	while (!enough) {
		struct np_steer_info info = { .sz = sizeof info };
		struct np_server_stats st = { .sz = sizeof st };
		const char *kind = np_server_listener_kind(server, 0);
		int r = np_server_steering(server, &info);

		if (np_server_stats(server, &st) < 0 || st.accepted < accepted)
			return "stats";
		accepted = st.accepted;
		if (np_server_poller_stats(server, 0, &one, &conns) < 0)
			return "poller_stats";
		if (r < 0 && r != -NP_EUNSUPPORTED)
			return "steering";
		if (r == 0 && strcmp(kind, "steered") && strcmp(kind, "hash") && strcmp(kind, ""))
			return "kind";
		sched_yield();
	}
	return NULL;
}

static void lives(void)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd[4];

	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_listen(server, "unix", own_unix_name()), 0);
	ck_assert_int_eq(np_server_start(server), 0);
	ck_assert_int_eq(np_server_addr(server, 0, &ss, &len), 0);
	for (int i = 0; i < 4; i++)
		fd[i] = peer_connect(&ss, len);
	AWAIT(serve_stats(server).accepted == 4);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	for (int i = 0; i < 4; i++)
		peer_close(&fd[i]);
}

START_TEST(they_may_be_asked_beside_listen_start_and_stop)
{
	void *wrong;
	pthread_t t;

	given_pollers(NULL);
	for (int i = 0; i < 5; i++) {
		enough = false;
		ck_assert_int_eq(np_server_new(pollers, &none, NULL,
					       NP_OPTS(np_server_opts, .fresh_ms = 1), &server),
				 0);
		ck_assert_int_eq(pthread_create(&t, NULL, watches, NULL), 0);
		lives();
		enough = true;
		pthread_join(t, &wrong);
		ck_assert_msg(!wrong, "np_server_%s", (const char *)wrong);
		ck_assert_int_eq(np_server_free(&server), 0);
	}
	end_pollers();
}
END_TEST

START_TEST(after_the_stop_they_say_what_was_then)
{
	struct np_steer_info before = { .sz = sizeof before }, after = { .sz = sizeof after };
	uint64_t accepted, conns, sum = 0;
	char kind[16];

	given_pollers(NULL);
	ck_assert_int_eq(np_server_new(pollers, &none, NULL, NULL, &server), 0);
	ck_assert_int_eq(np_server_steering(server, &before), -NP_EUNSUPPORTED);
	ck_assert_str_eq(np_server_listener_kind(server, 0), "");
	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	strcpy(kind, np_server_listener_kind(server, 0));
	ck_assert_int_eq(np_server_steering(server, &before), 0);
	ck_assert_int_eq(np_server_stop(server, 0, NULL), 0);
	ck_assert_int_eq(np_server_free(&server), 0);

	ck_assert_int_eq(np_server_new(pollers, &none, NULL, NP_OPTS(np_server_opts, .fresh_ms = 1),
				       &server),
			 0);
	lives();
	ck_assert_uint_eq(serve_stats(server).accepted, 4);
	ck_assert_uint_eq(serve_stats(server).closed, 4);
	ck_assert_uint_eq(serve_stats(server).conns, 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(np_server_poller_stats(server, i, &accepted, &conns), 0);
		ck_assert_uint_eq(conns, 0);
		sum += accepted;
	}
	ck_assert_uint_eq(sum, 4);
	ck_assert_int_eq(np_server_steering(server, &after), 0);
	ck_assert_int_eq(before.level, after.level);
	ck_assert_str_eq(before.policy, after.policy);
	ck_assert_str_eq(np_server_listener_kind(server, 0), kind);
	ck_assert_str_eq(np_server_listener_kind(server, 1), "shared");
	ck_assert_int_eq(np_server_free(&server), 0);
	end_pollers();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "facts");

	tcase_set_timeout(tc, 2 * AWAIT_MS / 1000);
	tcase_add_test(tc, they_may_be_asked_beside_listen_start_and_stop);
	tcase_add_test(tc, after_the_stop_they_say_what_was_then);
}
