/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * veth: clients that nobody of us wrote, from another network namespace; public headers only
 *
 * The server's namespace is this test's own; the clients' is held by a child. Both have an end of a
 * veth pair: what is tried here goes through a device and a neighbour table, not over loopback.
 */
#include <netpoll/server.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/child.h"
#include "support/pollers.h"
#include "support/run.h"
#include "support/serve.h"
#include "support/test.h"

static struct np_server *server;
static struct child clients;
static char *dir;

static const struct np_handlers echo = { .sz = sizeof echo, .on_request = serve_echo };

static void hold_namespace(int sock, void *arg)
{
	if (unshare(CLONE_NEWNET) < 0)
		child_fail("unshare: %m");
	child_say(sock, 'u');
	child_hear(sock);
}

static void given_two_namespaces(void)
{
	child_start(&clients, hold_namespace, NULL);
	ck_assert_int_eq(child_hear(clients.sock), 'u');
	must_sh("PATH=$PATH:/sbin:/usr/sbin\n"
		"ip link add near type veth peer name far netns %d\n"
		"ip addr add 10.9.0.1/24 dev near && ip addr add fd09::1/64 dev near nodad && ip link set near up\n"
		"nsenter -t %d -n sh -ec 'ip addr add 10.9.0.2/24 dev far; ip addr add fd09::2/64 dev far nodad; "
		"ip link set far up'",
		(int)clients.pid, (int)clients.pid);
}

static void given_server(int steer)
{
	char path[256];

	dir = temp_dir();
	snprintf(path, sizeof path, "%s/sock", dir);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 2));
	ck_assert_int_eq(np_server_new(pollers, &echo, NULL,
				       NP_OPTS(np_server_opts, .steer = steer, .policy = "hash"),
				       &server),
			 0);
	ck_assert_msg(np_server_listen(server, "tcp4", "10.9.0.1:7009") == 0, "%s",
		      np_server_error(server));
	ck_assert_msg(np_server_listen(server, "tcp6", "[fd09::1]:7009") == 0, "%s",
		      np_server_error(server));
	ck_assert_msg(np_server_listen(server, "unix", path) == 0, "%s", np_server_error(server));
	ck_assert_int_eq(np_server_start(server), 0);
}

static void teardown(void)
{
	serve_over(&server);
	end_pollers();
	child_say(clients.sock, 'q');
	child_join(&clients);
	remove_tree(&dir);
}

/* @client, a shell command, runs in the clients' namespace: what it is given comes back, to the
 * byte. */
static void is_served(const char *client)
{
	must_sh("cd %s && seq 20000 >sent && nsenter -t %d -n timeout 20 %s <sent >got && cmp sent got",
		dir, (int)clients.pid, client);
}

static uint64_t accepted(void)
{
	return serve_stats(server).accepted;
}

static void socat_and_nc_are_served(int steer)
{
	given_two_namespaces();
	given_server(steer);

	is_served("socat -t 20 - TCP4:10.9.0.1:7009");
	is_served("socat -t 20 - TCP6:[fd09::1]:7009");
	is_served("socat -t 20 - UNIX-CONNECT:sock");
	is_served("nc -N 10.9.0.1 7009");
	is_served("nc -N fd09::1 7009");
	is_served("nc -N -U sock");

	ck_assert_int_eq(accepted(), 6);
	teardown();
}

static const char *missing(void)
{
	if (!can_root())
		return "needs root: network namespaces and a veth pair";
	if (!have("socat") || !have("nc") || !have("nsenter"))
		return "needs socat, nc and nsenter";
	return own_netns() < 0 ? "no network namespace here" : NULL;
}

START_TEST(socat_and_nc_in_another_namespace_are_served_over_ipv4_ipv6_and_unix)
{
	const char *why = missing();

	if (why)
		SKIP("%s", why);
	socat_and_nc_are_served(NP_STEER_OFF);
}
END_TEST

START_TEST(socat_and_nc_in_another_namespace_are_served_by_a_steered_server)
{
	const char *why = missing();

	if (why || !can_bpf())
		SKIP("%s", why ? why : "may not load BPF programs");
	socat_and_nc_are_served(NP_STEER_REQUIRED);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "veth");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, socat_and_nc_in_another_namespace_are_served_over_ipv4_ipv6_and_unix);
	tcase_add_test(t, socat_and_nc_in_another_namespace_are_served_by_a_steered_server);
}
