/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crash_loop: a server that is killed again and again, at any moment of its life, leaves nothing
 * behind that grows, and takes nothing from the one beside it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/json.h"
#include "support/peer.h"
#include "support/test.h"
#include "support/tool.h"

#define PORT    7427
#define ADDRESS "127.0.0.1:7427"
#define KILLS   40
#define LIFE_MS 120 /* at most: some are killed before they listen, some while they serve */

/* ------------------------------------------------------------------ given */

static void exec_echo(int sock, void *arg)
{
	const char *build = getenv("NP_BUILD");
	char path[256];

	snprintf(path, sizeof path, "%s/examples/echo", build ? build : "build");
	dup2(sock, STDOUT_FILENO);
	execl(path, "echo", "--pollers", "2", "--service", "web", "--observe", "--listen", ADDRESS,
	      NULL);
	child_fail("cannot run it: %s", strerror(errno));
}

static void await_echo(struct child *c)
{
	char byte;

	do
		child_recv(c->sock, &byte, 1);
	while (byte != '\n');
}

static void end_echo(struct child *c)
{
	ck_assert_int_eq(kill(c->pid, SIGTERM), 0);
	child_join(c);
}

static void serve_once(void)
{
	struct child c;

	child_start(&c, exec_echo, NULL);
	await_echo(&c);
	end_echo(&c);
}

/* -1: nobody listens. */
static int connected(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
		return fd;
	close(fd);
	return -1;
}

static void is_served(void)
{
	int fd = connected();
	char c = 'e';

	ck_assert_int_ge(fd, 0);
	peer_send(fd, &c, 1);
	peer_recv(fd, &c, 1);
	peer_close(&fd);
}

/* ------------------------------------------------------------------ what there is */

/* Pins; sockets to be looked at through; abstract sockets; how much the service has. */
static char *what_there_is(void)
{
	struct ran r;
	char *all;

	sh(&r,
	   "find /sys/fs/bpf | sort; ls -A /run/netpoll; grep -c ' @' /proc/net/unix; "
	   "'%s/npsteer' -j status web | tr ',{' '\\n\\n' | grep -cE '\"(worker|group)\":'; "
	   "'%s/npsteer' -j status web | tr ',{' '\\n\\n' | grep listeners",
	   tool_dir, tool_dir);
	all = strdup(r.out);
	ran_free(&r);
	return all;
}

static long long left_behind(const char *what)
{
	char *json = answer("gc web");
	long long n = json_number(json, what);

	free(json);
	return n;
}

/* ------------------------------------------------------------------ the promise */

static unsigned seed = 20261129;

static void kill_one(void)
{
	struct child c;
	int fd;

	child_start(&c, exec_echo, NULL);
	seed = seed * 1103515245u + 12345u;
	ck_assert_int_eq(poll(NULL, 0, (int)((seed >> 16) % LIFE_MS)), 0);
	fd = connected(); /* may be its, and is lost with it */
	child_kill(&c);
	close(fd);
}

/* Beside one that serves, and alone. */
START_TEST(a_server_that_is_killed_again_and_again_leaves_nothing)
{
	char *before, *after;
	struct child other;
	int fds;

	NEEDS_RIGHTS();
	must("load web");
	if (_i)
		child_start(&other, exec_echo, NULL);
	if (_i)
		await_echo(&other);
	serve_once();
	must("gc web");
	before = what_there_is();
	fds = open_fds();

	for (int i = 0; i < KILLS; i++) {
		kill_one();
		if (_i)
			is_served();
	}
	ck_assert_int_eq(open_fds(), fds);
	serve_once(); /* no supervisor has to help it */
	/* claims and listeners are gone with their sockets: what is left is bounded by what is seen
	 * of it, not by how often it happened */
	ck_assert_int_le(left_behind("workers"), 4);
	ck_assert_int_eq(left_behind("owners"), 0);
	after = what_there_is();
	ck_assert_str_eq(after, before);
	free(before);
	free(after);
	if (_i)
		end_echo(&other);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "crash_loop");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_loop_test(t, a_server_that_is_killed_again_and_again_leaves_nothing, 0, 2);
}
