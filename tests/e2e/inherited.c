/* SPDX-License-Identifier: BSD-2-Clause */
/* inherited: a listener that somebody else made serves like one of ours, and is not changed. Public
 * headers only. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <netpoll/server.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

static struct np_server *server;
static _Atomic(int) delays; /* of the connection, in on_connect: 1 off, 2 on */

static int option(int fd)
{
	int v = -1;
	socklen_t len = sizeof v;

	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, &len), 0);
	return v;
}

static int look(struct np_conn *c, void *arg)
{
	int v = -1;
	socklen_t len = sizeof v;

	delays = getsockopt(np_conn_fd(c), IPPROTO_TCP, TCP_NODELAY, &v, &len) == 0 ? (v ? 1 : 2) :
										      -1;
	return 0;
}

static int given_listener(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

/* Whether a connection of a server on @fd (taken) has Nagle's algorithm on: as `delays`. */
static int served(int fd, const struct np_server_opts *o)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_connect = look };
	struct sockaddr_storage ss;
	socklen_t len;
	int peer;

	ck_assert_int_eq(np_server_new(pollers, &h, NULL, o, &server), 0);
	ck_assert_int_eq(np_server_listen_fd(server, &fd), 0);
	ck_assert_int_eq(np_server_start(server), 0);
	ck_assert_int_eq(np_server_addr(server, 0, &ss, &len), 0);
	peer = peer_connect(&ss, len);
	AWAIT(delays);
	peer_close(&peer);
	serve_over(&server);
	return delays;
}

START_TEST(what_it_accepts_does_not_delay_and_the_listener_is_left_as_it_was)
{
	int fd, held;

	given_pollers(NULL);
	fd = given_listener();
	held = dup(fd);
	ck_assert_int_eq(served(fd, NULL), 1);
	ck_assert_int_eq(option(held), 0);
	close(held);
	end_pollers();
}
END_TEST

START_TEST(with_no_delay_off_it_delays)
{
	given_pollers(NULL);
	ck_assert_int_eq(served(given_listener(), NP_OPTS(np_server_opts, .nagle = true)), 2);
	end_pollers();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "inherited");

	tcase_add_test(tc, what_it_accepts_does_not_delay_and_the_listener_is_left_as_it_was);
	tcase_add_test(tc, with_no_delay_off_it_delays);
}
