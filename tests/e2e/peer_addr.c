/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer_addr: whose connection it is can be asked in every handler, also of a peer that has reset it
 */
#include <netinet/in.h>
#include <netpoll/conn.h>
#include <netpoll/server.h>
#include <stdatomic.h>
#include <string.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define PEERS 8

/* Of each connection, in the order of their beginnings. */
static struct asked {
	int prepare, connect, close; /* what the library said; 1: not asked */
	struct sockaddr_storage in_prepare, in_connect, in_close;
	socklen_t len;
} asked[PEERS];
static unsigned n_asked;
static _Atomic(unsigned) n_closed;
static struct np_server *server;

static int on_prepare(struct np_conn *c, void *arg)
{
	struct asked *a = &asked[n_asked++];

	a->connect = a->close = 1;
	a->prepare = np_conn_remote_addr(c, &a->in_prepare, &a->len);
	np_conn_set_data(c, a);
	return 0;
}

static int on_connect(struct np_conn *c, void *arg)
{
	struct asked *a = np_conn_data(c);

	a->connect = np_conn_remote_addr(c, &a->in_connect, &a->len);
	return 0;
}

static int on_request(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c));

	if (r == 0)
		r = np_conn_write(c, "!", 1);
	return r < 0 ? r : np_conn_flush(c);
}

static void on_close(struct np_conn *c, void *arg)
{
	struct asked *a = np_conn_data(c);

	a->close = np_conn_remote_addr(c, &a->in_close, &a->len);
	n_closed++;
}

static const struct np_handlers h = {
	.sz = sizeof h,
	.on_prepare = on_prepare,
	.on_connect = on_connect,
	.on_request = on_request,
	.on_close = on_close,
};

static void given_listening(const char *address)
{
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF));
	ck_assert_int_eq(np_server_new(pollers, &h, NULL,
				       NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), &server),
			 0);
	ck_assert_msg(np_server_listen(server, "tcp", address) == 0, "%s", np_server_error(server));
}

static void over(void)
{
	serve_over(&server);
	end_pollers();
}

static int given_peer(int family, struct sockaddr_storage *ret_own)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	ck_assert_int_eq(np_server_addr(server, 0, &ss, &len), 0);
	if (family == AF_INET && ss.ss_family == AF_INET6) { /* dual-stack */
		struct sockaddr_in in = { .sin_family = AF_INET,
					  .sin_port = ((struct sockaddr_in6 *)&ss)->sin6_port };

		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		memset(&ss, 0, sizeof ss);
		memcpy(&ss, &in, len = sizeof in);
	}
	fd = peer_connect(&ss, len);
	len = sizeof *ret_own;
	memset(ret_own, 0, sizeof *ret_own);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret_own, &len), 0);
	return fd;
}

static void expect(int result, const struct sockaddr_storage *a, const struct sockaddr_storage *own)
{
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(a->ss_family, own->ss_family);
	if (own->ss_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)own;

		ck_assert_int_eq(x->sin6_port, y->sin6_port);
		ck_assert_mem_eq(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr);
	} else {
		const struct sockaddr_in *x = (const void *)a, *y = (const void *)own;

		ck_assert_int_eq(x->sin_port, y->sin_port);
		ck_assert_uint_eq(x->sin_addr.s_addr, y->sin_addr.s_addr);
	}
}

static const struct {
	const char *listen;
	int family;
} ways[] = { { "127.0.0.1:0", AF_INET }, { "[::1]:0", AF_INET6 }, { ":0", AF_INET } };

/* All are in the kernel's queue, and reset, before the first is accepted. */
START_TEST(a_client_that_was_reset_before_accept_has_its_address_in_every_handler)
{
	struct sockaddr_storage own[PEERS];
	int fd[PEERS];

	given_listening(ways[_i].listen);
	for (unsigned i = 0; i < PEERS; i++)
		fd[i] = given_peer(ways[_i].family, &own[i]);
	for (unsigned i = 0; i < PEERS; i++)
		peer_reset(&fd[i]);
	ck_assert_int_eq(np_server_start(server), 0);
	AWAIT(n_closed == PEERS);

	for (unsigned i = 0; i < PEERS; i++) {
		expect(asked[i].prepare, &asked[i].in_prepare, &own[i]);
		expect(asked[i].connect, &asked[i].in_connect, &own[i]);
		expect(asked[i].close, &asked[i].in_close, &own[i]);
	}
	over();
}
END_TEST

/* One after another: each has the descriptor's number of the one before. */
START_TEST(a_client_that_resets_while_it_is_served_has_its_own_address_to_the_end)
{
	struct sockaddr_storage own;
	char answer;

	given_listening(ways[_i].listen);
	ck_assert_int_eq(np_server_start(server), 0);
	for (unsigned i = 0; i < PEERS; i++) {
		int fd = given_peer(ways[_i].family, &own);

		peer_send(fd, "x", 1);
		peer_recv(fd, &answer, 1);
		peer_reset(&fd);
		AWAIT(n_closed == i + 1);
		expect(asked[i].prepare, &asked[i].in_prepare, &own);
		expect(asked[i].close, &asked[i].in_close, &own);
	}
	over();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "peer_addr");

	tcase_add_loop_test(
		tc, a_client_that_was_reset_before_accept_has_its_address_in_every_handler, 0, 3);
	tcase_add_loop_test(
		tc, a_client_that_resets_while_it_is_served_has_its_own_address_to_the_end, 0, 3);
}
