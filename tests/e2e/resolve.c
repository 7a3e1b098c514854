/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * resolve: examples/resolve answers each line of names, in their order, though their lookups block.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/test.h"

static struct child server;
static struct sockaddr_in address = { .sin_family = AF_INET };

static void exec_example(int sock, void *arg)
{
	const char *build = getenv("NP_BUILD");
	char path[512];

	snprintf(path, sizeof path, "%s/examples/resolve", build ? build : "build");
	dup2(sock, STDOUT_FILENO);
	execl(path, path, "127.0.0.1:0", NULL);
	child_fail("cannot run %s: %s", path, strerror(errno));
}

static void setup(void)
{
	char line[64] = "";
	unsigned port;

	if (can_root())
		ck_assert_int_eq(own_netns(), 0);
	child_start(&server, exec_example, NULL);
	for (size_t n = 0; n < sizeof line - 1 && !strchr(line, '\n'); n++)
		child_recv(server.sock, &line[n], 1);
	ck_assert_int_eq(sscanf(line, "listening on port %u", &port), 1);
	address.sin_port = htons((uint16_t)port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static void teardown(void)
{
	ck_assert_int_eq(kill(server.pid, SIGTERM), 0);
	child_join(&server);
}

static int connected(void)
{
	return peer_connect((const struct sockaddr_storage *)(const void *)&address,
			    sizeof address);
}

static void ask(int fd, const char *names, const char *addresses)
{
	char answer[256] = "";

	peer_send(fd, names, strlen(names));
	peer_recv(fd, answer, strlen(addresses));
	ck_assert_str_eq(answer, addresses);
}

/* Numbers only: it asks no name server. */
START_TEST(names_are_answered_in_their_order)
{
	int fd = connected();

	ask(fd, "127.0.0.1 ::1 192.0.2.7\n", "127.0.0.1 ::1 192.0.2.7\n");
	ask(fd, "192.0.2.1\n192.0.2.2 192.0.2.3\n", "192.0.2.1\n192.0.2.2 192.0.2.3\n");
	peer_close(&fd);
}
END_TEST

START_TEST(what_is_no_name_is_a_dash)
{
	int fd;

	if (!can_root())
		SKIP("needs root: in a network namespace of its own it cannot ask a name server");
	fd = connected();
	ask(fd, "127.0.0.1 no.such.name.invalid 127.0.0.2\n", "127.0.0.1 - 127.0.0.2\n");
	peer_close(&fd);
}
END_TEST

START_TEST(a_line_without_an_end_closes_only_its_connection)
{
	static char endless[5000];
	int fd = connected(), other = connected();

	memset(endless, 'x', sizeof endless);
	peer_send(fd, endless, sizeof endless);
	peer_expect_eof(fd);
	ask(other, "::1\n", "::1\n");
	peer_close(&fd);
	peer_close(&other);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "resolve");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, names_are_answered_in_their_order);
	tcase_add_test(tc, what_is_no_name_is_a_dash);
	tcase_add_test(tc, a_line_without_an_end_closes_only_its_connection);
}
