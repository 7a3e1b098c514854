/* SPDX-License-Identifier: BSD-2-Clause */
/* fanout: examples/fanout gives the first answer of several servers, or says that there was none in
 * time. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
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
static char hole[32], dead[32], good[32]; /* never answers; nobody listens; answers */
static int hole_fd, good_fd;

static void exec_example(int sock, void *arg)
{
	const char *build = getenv("NP_BUILD");
	char path[512];

	snprintf(path, sizeof path, "%s/examples/fanout", build ? build : "build");
	dup2(sock, STDOUT_FILENO);
	execl(path, path, "127.0.0.1:0", hole, dead, arg, NULL);
	child_fail("cannot run %s: %s", path, strerror(errno));
}

static void given_fanout(const char *third)
{
	char line[64] = "";
	unsigned port;
	int fd = peer_listen(dead, sizeof dead);

	close(fd);
	hole_fd = peer_listen(hole, sizeof hole);
	child_start(&server, exec_example, (void *)third);
	for (size_t n = 0; n < sizeof line - 1 && !strchr(line, '\n'); n++)
		child_recv(server.sock, &line[n], 1);
	ck_assert_int_eq(sscanf(line, "listening on port %u", &port), 1);
	address.sin_port = htons((uint16_t)port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static void end_fanout(void)
{
	ck_assert_int_eq(kill(server.pid, SIGTERM), 0);
	child_join(&server);
	close(hole_fd);
}

static int ask(const char *answer)
{
	int fd = peer_connect((const struct sockaddr_storage *)(const void *)&address,
			      sizeof address);
	char got[64] = "";

	peer_send(fd, "who?\n", 5);
	peer_recv(fd, got, strlen(answer));
	ck_assert_str_eq(got, answer);
	return fd;
}

/* Answers one question; the loser's connection is closed by who asked. */
static void *answer_one(void *arg)
{
	char line[16];
	int fd = accept(good_fd, NULL, NULL);

	ck_assert_int_ge(fd, 0);
	peer_recv(fd, line, 5);
	peer_send(fd, "I\n", 2);
	peer_expect_eof(fd);
	peer_close(&fd);
	return NULL;
}

START_TEST(the_first_answer_is_given_beside_a_black_hole_and_a_dead_server)
{
	pthread_t t;
	int fd;

	good_fd = peer_listen(good, sizeof good);
	given_fanout(good);
	ck_assert_int_eq(pthread_create(&t, NULL, answer_one, NULL), 0);
	fd = ask("I\n");
	pthread_join(t, NULL);

	peer_close(&fd);
	end_fanout();
	close(good_fd);
}
END_TEST

START_TEST(without_an_answer_the_deadline_says_so)
{
	int fd;

	given_fanout(dead);
	fd = ask("nobody\n");
	peer_close(&fd);
	end_fanout();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "fanout");

	tcase_add_test(t, the_first_answer_is_given_beside_a_black_hole_and_a_dead_server);
	tcase_add_test(t, without_an_answer_the_deadline_says_so);
}
