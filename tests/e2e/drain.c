/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drain: what a stop does with its listeners and with what is queued at them. Public headers only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/server.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/child.h"
#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/run.h"
#include "support/serve.h"
#include "support/test.h"

static struct np_server *server, *second;
static struct sockaddr_storage at;
static socklen_t at_len;
static _Atomic(bool) let_go;
/* connections that had been accepted when the first request was answered */
static _Atomic(uint64_t) seen;

static int note_and_echo(struct np_conn *c, void *arg)
{
	if (!seen)
		seen = serve_stats(server).accepted;
	return serve_echo(c, arg);
}

static struct np_handlers h = { .sz = sizeof h, .on_request = serve_echo };

static void setup(void)
{
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF, .log = keep_log));
}

static void teardown(void)
{
	serve_over(&server);
	serve_over(&second);
	end_pollers();
}

static void runs(struct np_server **s, const char *network, const char *address)
{
	int r;

	ck_assert_int_eq(
		np_server_new(pollers, &h, NULL, NP_OPTS(np_server_opts, .drain_ms = 1), s), 0);
	r = np_server_listen(*s, network, address);
	ck_assert_msg(r == 0, "%s", np_server_error(*s));
	ck_assert_int_eq(np_server_start(*s), 0);
	ck_assert_int_eq(np_server_addr(*s, 0, &at, &at_len), 0);
}

/* ------------------------------------------------------------------ how much */

static _Atomic(bool) enough;

static void *connects_and_closes(void *arg)
{
	struct linger rst = { .l_onoff = 1 }; /* no port is used up by TIME_WAIT */

	while (!enough) {
		int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&at, at_len) == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
		close(fd);
	}
	return NULL;
}

/* A connection takes longer to begin than a peer takes to connect: the queue is never empty. */
static int prepare_slowly(struct np_conn *c, void *arg)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000000L + now.tv_nsec - from.tv_nsec < 200000);
	return 0;
}

START_TEST(a_stop_beside_peers_that_come_all_the_time_ends)
{
	pthread_t t[4];
	int r;

	h.on_prepare = prepare_slowly;
	runs(&server, "tcp", "127.0.0.1:0");
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, connects_and_closes, NULL), 0);
	AWAIT(serve_stats(server).accepted > 100);
	r = np_server_stop(server, 4 * AWAIT_MS, NULL); /* a full queue, a busy machine */
	enough = true;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_msg(r == 0, "%d: %s", r, np_server_error(server));
	/* what the stop says; one that is off its CPU meanwhile "has not returned" yet */
	ck_assert_uint_eq(in_log("does not return"), 0);
	ck_assert_uint_eq(in_log("did not return"), 0);
}
END_TEST

static void keep_thread(void *arg)
{
	while (!let_go)
		;
}

static void *stop_it(void *arg)
{
	*(int *)arg = np_server_stop(server, AWAIT_MS, NULL);
	return NULL;
}

/* More than one turn accepts: all of them came before the stop. */
enum { QUEUED = 300 };

static int queued[QUEUED];

static void given_a_queue(void)
{
	ck_assert_int_eq(np_post(pollers, 0, keep_thread, NULL), 0);
	for (int i = 0; i < QUEUED; i++) {
		queued[i] = peer_connect(&at, at_len);
		peer_send(queued[i], "q", 1);
	}
}

static void queue_is_answered(void)
{
	char back;

	for (int i = 0; i < QUEUED; i++) {
		peer_recv(queued[i], &back, 1);
		peer_expect_eof(queued[i]);
		peer_close(&queued[i]);
	}
}

static void stop_while_kept(void)
{
	pthread_t t;
	int r = -1;

	ck_assert_int_eq(pthread_create(&t, NULL, stop_it, &r), 0);
	let_go = true;
	pthread_join(t, NULL);
	ck_assert_int_eq(r, 0);
}

static const char *const ways[][2] = { { "tcp", "127.0.0.1:0" }, { "unix", NULL } };

START_TEST(all_that_was_queued_at_the_stop_is_served)
{
	runs(&server, ways[_i][0], ways[_i][1] ? ways[_i][1] : own_unix_name());
	given_a_queue();
	stop_while_kept();
	queue_is_answered();
}
END_TEST

START_TEST(meanwhile_other_connections_are_served)
{
	int fd;

	h.on_request = note_and_echo;
	runs(&server, "tcp", "127.0.0.1:0");
	fd = peer_connect(&at, at_len);
	AWAIT(serve_stats(server).accepted == 1);
	given_a_queue();
	peer_send(fd, "x", 1);
	stop_while_kept();
	ck_assert_uint_lt(seen, QUEUED);
	peer_close(&fd);
	queue_is_answered();
}
END_TEST

/* ------------------------------------------------------------------ whose */

static void holds(int sock, void *arg)
{
	child_hear(sock);
}

static int refused(void)
{
	int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect(fd, (struct sockaddr *)&at, at_len) == 0 ? 0 : -errno;

	close(fd);
	return r;
}

/* As between fork and exec: the child has every descriptor still. */
START_TEST(a_listener_that_a_child_holds_too_ends_with_the_stop)
{
	char address[64];
	struct child c;
	int fd;

	runs(&server, "tcp", "127.0.0.1:0");
	snprintf(address, sizeof address, "%s", serve_address(server));
	child_start(&c, holds, NULL);
	serve_over(&server);
	ck_assert_int_eq(refused(), -ECONNREFUSED);

	runs(&second, "tcp", address);
	fd = peer_connect(&at, at_len);
	peer_echo(fd, 'e');
	peer_close(&fd);
	child_say(c.sock, 'x');
	child_join(&c);
}
END_TEST

START_TEST(a_listener_that_never_started_ends_too)
{
	struct child c;

	ck_assert_int_eq(np_server_new(pollers, &h, NULL, NULL, &server), 0);
	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_addr(server, 0, &at, &at_len), 0);
	child_start(&c, holds, NULL);
	ck_assert_int_eq(np_server_free(&server), 0);
	ck_assert_int_eq(refused(), -ECONNREFUSED);
	child_say(c.sock, 'x');
	child_join(&c);
}
END_TEST

START_TEST(a_unix_listener_that_a_child_holds_too_ends_with_the_stop)
{
	char *dir = temp_dir(), path[128];
	struct child c;
	int fd;

	snprintf(path, sizeof path, "%s/s", dir);
	runs(&server, "unix", path);
	child_start(&c, holds, NULL);
	serve_over(&server);
	ck_assert_int_eq(refused(), -ENOENT);

	runs(&second, "unix", path);
	fd = peer_connect(&at, at_len);
	peer_echo(fd, 'e');
	peer_close(&fd);
	child_say(c.sock, 'x');
	child_join(&c);
	serve_over(&second);
	remove_tree(&dir);
}
END_TEST

static int given_inherited(int family)
{
	struct sockaddr_storage ss = { .ss_family = (sa_family_t)family };
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), held;

	if (family == AF_INET)
		((struct sockaddr_in *)&ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&ss,
			      family == AF_INET ? sizeof(struct sockaddr_in) : 2),
			 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	held = dup(fd);
	ck_assert_int_eq(np_server_new(pollers, &h, NULL, NULL, &server), 0);
	ck_assert_int_eq(np_server_listen_fd(server, &fd), 0);
	ck_assert_int_eq(np_server_start(server), 0);
	ck_assert_int_eq(np_server_addr(server, 0, &at, &at_len), 0);
	return held;
}

static const int families[] = { AF_INET, AF_UNIX };

START_TEST(an_inherited_listener_goes_on_for_its_other_holder)
{
	int held = given_inherited(families[_i]), fd;

	serve_over(&server);
	fd = peer_connect(&at, at_len);
	await_fd(held, POLLIN);
	close(accept(held, NULL, NULL));
	peer_close(&fd);
	close(held);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "drain");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 2 * AWAIT_MS / 1000);
	tcase_add_test(tc, a_stop_beside_peers_that_come_all_the_time_ends);
	tcase_add_loop_test(tc, all_that_was_queued_at_the_stop_is_served, 0, 2);
	tcase_add_test(tc, meanwhile_other_connections_are_served);
	tcase_add_test(tc, a_listener_that_a_child_holds_too_ends_with_the_stop);
	tcase_add_test(tc, a_listener_that_never_started_ends_too);
	tcase_add_test(tc, a_unix_listener_that_a_child_holds_too_ends_with_the_stop);
	tcase_add_loop_test(tc, an_inherited_listener_goes_on_for_its_other_holder, 0, 2);
}
