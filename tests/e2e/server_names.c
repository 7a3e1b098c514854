/* SPDX-License-Identifier: BSD-2-Clause */
/* server_names: what a server is called in its service, and what it says of itself. Public headers
 * only. */
#include <errno.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/steer.h"
#include "support/test.h"

static const struct np_handlers none = { .sz = sizeof none };
static struct np_server *servers[2];

static void given_server(int i, const char *name)
{
	ck_assert_int_eq(np_server_new(pollers, &none, NULL,
				       NP_OPTS(np_server_opts, .service = "web", .name = name,
					       .steer = NP_STEER_REQUIRED),
				       &servers[i]),
			 0);
	ck_assert_msg(np_server_listen(servers[i], "tcp",
				       i ? "127.0.0.1:7001" : "127.0.0.1:7000") == 0,
		      "%s", np_server_error(servers[i]));
}

static void given_service(void)
{
	ck_assert_int_eq(np_steer_load("web", NULL), 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 2, .pin = NP_OFF));
}

static void end_service(void)
{
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(np_server_free(&servers[i]), 0);
	end_pollers();
	ck_assert_int_eq(np_steer_unload("web", NULL), 0);
}

/* How many workers of the service have that name. */
static int workers_called(const char *name)
{
	struct np_steer_worker_info w = { .sz = sizeof w };
	struct np_steer *s;
	int n = 0;

	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	for (unsigned i = 0; np_steer_worker_info(s, i, &w) == 0; i++)
		n += w.claimed && !strcmp(w.name, name);
	np_steer_close(&s);
	return n;
}

START_TEST(its_workers_have_its_name)
{
	OWN_STEERING();
	given_service();
	given_server(0, "blue");
	given_server(1, "green-567890123456x"); /* NP_SERVER_NAME_MAX bytes */
	ck_assert_int_eq(workers_called("blue/poller-0"), 1);
	ck_assert_int_eq(workers_called("blue/poller-1"), 1);
	ck_assert_int_eq(workers_called("green-567890123456x/poller-1"), 1);
	end_service();
}
END_TEST

/* As in a restart: the old and the new process are workers of one service for a while. */
START_TEST(without_a_name_no_two_servers_have_the_same)
{
	char name[64];

	OWN_STEERING();
	given_service();
	given_server(0, NULL);
	given_server(1, NULL);
	snprintf(name, sizeof name, "%.*s-%d/poller-0",
		 NP_SERVER_NAME_MAX - 1 - snprintf(NULL, 0, "%d", (int)getpid()),
		 program_invocation_short_name, (int)getpid());
	ck_assert_int_eq(workers_called(name), 1);
	end_service();
}
END_TEST

START_TEST(a_name_that_is_too_long_is_refused)
{
	struct np_server *s = NULL;

	ck_assert_int_eq(np_server_new(NULL, &none, NULL,
				       NP_OPTS(np_server_opts, .name = "abcdefghij0123456789"), &s),
			 -EINVAL);
}
END_TEST

START_TEST(both_wildcards_of_a_port_go_together_in_either_order)
{
	struct np_server *s;

	if (!can_root() || own_netns() < 0)
		SKIP("needs root and network namespaces: its port is fixed");
	given_pollers(NULL);
	ck_assert_int_eq(np_server_new(pollers, &none, NULL, NULL, &s), 0);
	ck_assert_int_eq(np_server_listen(s, "tcp", "0.0.0.0:7002"), 0);
	ck_assert_msg(np_server_listen(s, "tcp", "[::]:7002") == 0, "%s", np_server_error(s));
	ck_assert_int_eq(np_server_listen(s, "tcp6", "[::]:7003"), 0);
	ck_assert_msg(np_server_listen(s, "tcp", "0.0.0.0:7003") == 0, "%s", np_server_error(s));

	ck_assert_int_eq(np_server_listen(s, "tcp", "[::]:7004"), 0);
	ck_assert_msg(np_server_listen(s, "tcp", "0.0.0.0:7004") == 0, "%s", np_server_error(s));
	ck_assert_int_eq(np_server_free(&s), 0);
	end_pollers();
}
END_TEST

/* Pinning is logged by the poller: to a CPU that this process may not use. */
START_TEST(a_cpu_that_cannot_be_had_is_named_with_what_to_do)
{
	int cpus[] = { 1023 };

	given_pollers(
		NP_OPTS(np_pollers_opts, .count = 1, .cpus = cpus, .n_cpus = 1, .log = keep_log));
	AWAIT(in_log("cannot pin poller 0 to CPU 1023"));
	ck_assert_uint_eq(in_log("Invalid argument"), 1);
	ck_assert_uint_eq(in_log("taskset"), 1);
	end_pollers();
}
END_TEST

static int keeps_the_thread(struct np_conn *c, void *arg)
{
	uint64_t until = now_ms() + 200;

	while (now_ms() < until)
		;
	return -1;
}

START_TEST(a_server_on_its_own_pollers_has_a_log)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = keeps_the_thread };
	struct sockaddr_storage ss;
	struct np_server *s;
	socklen_t len;
	int fd;

	ck_assert_int_eq(
		np_server_new(NULL, &h, NULL,
			      NP_OPTS(np_server_opts, .log = keep_log, .steer = NP_STEER_OFF), &s),
		0);
	ck_assert_int_eq(np_server_listen(s, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(s), 0);
	ck_assert_int_eq(np_server_addr(s, 0, &ss, &len), 0);
	fd = peer_connect(&ss, len);
	peer_send(fd, "x", 1);
	AWAIT(log_names(keeps_the_thread));
	peer_close(&fd);
	serve_over(&s);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "server_names");

	tcase_add_test(tc, its_workers_have_its_name);
	tcase_add_test(tc, without_a_name_no_two_servers_have_the_same);
	tcase_add_test(tc, a_name_that_is_too_long_is_refused);
	tcase_add_test(tc, both_wildcards_of_a_port_go_together_in_either_order);
	tcase_add_test(tc, a_cpu_that_cannot_be_had_is_named_with_what_to_do);
	tcase_add_test(tc, a_server_on_its_own_pollers_has_a_log);
}
