/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer_alone: servers with event loops of their own, an epoll loop and libevent's, steered by
 * linking the library only for that: examples/steer_epoll and examples/libevent/steer_libevent
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/test.h"
#include "support/tool.h"

#define WORKERS 4
#define PORT    7430

static const char *const examples[] = { "steer_epoll", "libevent/steer_libevent" };

static struct child server;
static char greeting[512];

static void exec_example(int sock, void *arg)
{
	const char *build = getenv("NP_BUILD");
	char path[512], address[32];

	snprintf(path, sizeof path, "%s/examples/%s", build ? build : "build", (const char *)arg);
	snprintf(address, sizeof address, "127.0.0.1:%d", PORT);
	dup2(sock, STDOUT_FILENO);
	execl(path, path, address, "4", "web", NULL);
	child_fail("cannot run %s: %s", path, strerror(errno));
}

static bool is_built(int i)
{
	const char *build = getenv("NP_BUILD");
	char path[512];

	snprintf(path, sizeof path, "%s/examples/%s", build ? build : "build", examples[i]);
	return access(path, X_OK) == 0;
}

static void given_example(int i)
{
	char c = 0;

	must("load web");
	child_start(&server, exec_example, (void *)examples[i]);
	for (size_t n = 0; c != '\n' && n < sizeof greeting - 1; n++) {
		child_recv(server.sock, &c, 1);
		greeting[n] = c;
	}
}

#define GIVEN_EXAMPLE(i)                                                   \
	do {                                                               \
		NEEDS_RIGHTS();                                            \
		if (!is_built(i))                                          \
			SKIP("%s is not built: no libevent", examples[i]); \
		given_example(i);                                          \
	} while (0)

static void example_ends(void)
{
	ck_assert_int_eq(kill(server.pid, SIGTERM), 0);
	child_join(&server);
}

static int connected(void)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;

	in->sin_family = AF_INET;
	in->sin_port = htons(PORT);
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return peer_connect(&ss, sizeof *in);
}

static void ask(int fd, int ms)
{
	char line[16];

	peer_send(fd, line, (size_t)snprintf(line, sizeof line, "%d\n", ms));
}

/* Which worker it was. */
static int served_by(int *fd)
{
	char line[sizeof "worker 0\n"] = "";

	peer_recv(*fd, line, sizeof line - 1);
	ck_assert_msg(!strncmp(line, "worker ", 7), "%s", line);
	peer_expect_eof(*fd);
	peer_close(fd);
	return line[7] - '0';
}

START_TEST(its_connections_are_spread_by_the_program)
{
	int served[WORKERS] = { 0 };

	GIVEN_EXAMPLE(_i);
	ck_assert_msg(strstr(greeting, "4 workers on 127.0.0.1:7430, level 4: joined") != NULL,
		      "%s", greeting);
	for (int i = 0; i < 400; i++) {
		int fd = connected();

		ask(fd, 0);
		served[served_by(&fd)]++;
	}
	for (int i = 0; i < WORKERS; i++) /* binomial, n = 400, p = 1/4: six standard deviations */
		ck_assert_msg(served[i] > 100 - 52 && served[i] < 100 + 52, "worker %d served %d",
			      i, served[i]);
	example_ends();
}
END_TEST

/* What came to a worker before it blocks has to wait for it; so the others come when it does. */
static void await_blocked(void)
{
	struct np_steer *s;

	ck_assert_int_eq(np_steer_open("web", NP_OPTS(np_steer_opts, .mode = NP_STEER_JOIN), &s),
			 0);
	AWAIT(({
		bool busy = false;

		for (unsigned w = 0; w < WORKERS; w++) {
			struct np_steer_worker_info i = { .sz = sizeof i };

			ck_assert_int_eq(np_steer_worker_info(s, w, &i), 0);
			busy = busy || i.busy_ms > 20;
		}
		busy;
	}));
	ck_assert_int_eq(np_steer_close(&s), 0);
}

START_TEST(who_blocks_a_worker_blocks_nobody_else)
{
	enum { CLIENTS = 64 };
	int fds[CLIENTS], blocking, hung = -1, seen[WORKERS] = { 0 };

	GIVEN_EXAMPLE(_i);
	blocking = connected();
	ask(blocking, 3000);
	await_blocked();
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = connected();
		ask(fds[i], 0);
	}
	for (int i = 0; i < CLIENTS; i++)
		seen[served_by(&fds[i])]++;
	ck_assert_int_eq(recv(blocking, &(char){ 0 }, 1, MSG_DONTWAIT), -1); /* it still does */
	hung = served_by(&blocking);

	/* Who comes back from that takes its place again. */
	seen[hung] = 0;
	AWAIT(({
		int fd = connected();

		ask(fd, 0);
		seen[served_by(&fd)]++;
		seen[hung] > 0;
	}));
	example_ends();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "alone");

	tcase_add_checked_fixture(t, tool_setup, tool_teardown);
	tcase_add_loop_test(t, its_connections_are_spread_by_the_program, 0, 2);
	tcase_add_loop_test(t, who_blocks_a_worker_blocks_nobody_else, 0, 2);
}
