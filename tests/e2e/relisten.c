/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * relisten: a poller that was rescued listens again, whatever is in its way for a while
 *
 * What is in the way here is a process that holds the lock of the service and does not go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netpoll/server.h>
#include <netpoll/steer_admin.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/hanging.h"
#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/steer.h"
#include "support/test.h"

/* Clients are queued at a poller that hangs and is not known to: a busy machine needs its time. */
#define HANG_MS 500

static struct np_server *server;

/* A server of two pollers, in the pinned service "web". */
static void given_server(void)
{
	ck_assert_int_eq(np_steer_load("web", NP_OPTS(np_steer_load_opts, .hang_ms = HANG_MS)), 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 2, .log = keep_log));
	serve_at(&server, &hanging_handlers, NULL,
		 NP_OPTS(np_server_opts, .service = "web", .steer = NP_STEER_REQUIRED), "tcp",
		 "127.0.0.1:0");
}

static void teardown(void)
{
	serve_over(&server);
	end_pollers();
	ck_assert_int_eq(np_steer_unload("web", NULL), 0); /* no claim is left */
}

/* As an npsteer does that was stopped, or a sibling. */
static int given_locked_service(void)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/netpoll/web", own_bpffs());
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	return fd;
}

/* Returns the connection that it has. */
static int given_rescued_poller(void)
{
	int hung = hang_begin(server), fds[64];

	given_rescued_clients(server, fds, 64);
	for (int i = 0; i < 64; i++)
		peer_close(&fds[i]);
	return hung;
}

/* ------------------------------------------------------------------ the lock of the service */

START_TEST(a_rescued_poller_serves_and_tries_again_until_the_lock_is_free)
{
	int hung, lock, fd;
	char holder[64];

	OWN_STEERING();
	NEEDS_A_HANG();
	given_server();
	hung = given_rescued_poller();
	lock = given_locked_service();
	hang_end(hung);
	snprintf(holder, sizeof holder, "cannot listen yet: process %d (", (int)getpid());
	AWAIT(in_log(holder) == 1);

	/* What it has is served, and who comes anew is its sibling's. */
	for (int i = 0; i < 10; i++) {
		peer_echo(hung, 'z');
		fd = peer_of(server, 0);
		peer_echo(fd, 'z');
		peer_close(&fd);
	}
	ck_assert_uint_eq(in_log("a listener was closed"), 0);

	close(lock);
	AWAIT(in_log("listens again") == 1);
	peer_close(&hung); /* "auto" takes the one that has least: both have none */
	expect_both_to_accept(server);
	teardown();
}
END_TEST

START_TEST(a_server_stops_while_a_listener_of_it_cannot_be_opened)
{
	int hung, lock;

	OWN_STEERING();
	NEEDS_A_HANG();
	given_server();
	hung = given_rescued_poller();
	lock = given_locked_service();
	hang_end(hung);
	AWAIT(in_log("cannot listen yet") == 1);
	peer_close(&hung);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	close(lock);
	teardown();
}
END_TEST

/* ------------------------------------------------------------------ a socket that others share */

START_TEST(an_inherited_listener_that_its_other_holder_shut_is_served_when_it_listens_again)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	int fd, other, client;

	if (can_root())
		ck_assert_int_eq(own_netns(), 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 2, .log = keep_log));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	ck_assert_int_eq(close(fd), 0);
	/* its port must outlive the shutdown */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	other = dup(fd);
	ck_assert_int_eq(np_server_new(pollers, &hanging_handlers, NULL, NULL, &server), 0);
	ck_assert_int_eq(np_server_listen_fd(server, &fd), 0);
	ck_assert_int_eq(np_server_start(server), 0);

	ck_assert_int_eq(shutdown(other, SHUT_RD), 0);
	AWAIT(in_log("has shut it") == 2);
	ck_assert_int_eq(listen(other, 16), 0);
	client = peer_of(server, 0);
	peer_echo(client, 'i');
	peer_close(&client);
	close(other);
	serve_over(&server);
	end_pollers();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "lock");

	tcase_add_test(t, a_rescued_poller_serves_and_tries_again_until_the_lock_is_free);
	tcase_add_test(t, a_server_stops_while_a_listener_of_it_cannot_be_opened);
	t = add_case(s, "shared");
	tcase_add_test(
		t,
		an_inherited_listener_that_its_other_holder_shut_is_served_when_it_listens_again);
}
