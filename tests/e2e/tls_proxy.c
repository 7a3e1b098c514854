/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_proxy: examples/proxy with TLS on its side of the clients, of upstream, and on both */
#include <arpa/inet.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/example.h"
#include "support/tls_peer.h"

static struct example proxy;
static struct np_tls *tls;
static _Atomic(int) closes, error;

static int echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *all;
	int r = np_conn_slice(c, np_conn_len(c), &all);

	if (r == 0)
		r = np_conn_append(c, &all);
	return r < 0 ? r : np_conn_flush(c);
}

static void on_close(struct np_conn *c, void *arg)
{
	error = np_conn_error(c);
	closes++;
}

/* In front of an echo server that speaks TLS if @upstream. */
static void given_proxy(bool clients, bool upstream)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = echo,
					      .on_close = on_close };
	char options[1024] = "";
	struct sockaddr_storage ss;
	socklen_t len;

	tls = given_server_tls(NULL);
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .tls = upstream ? tls : NULL));
	if (clients)
		snprintf(options, sizeof options, " --tls %s,%s", in_certs("localhost.pem"),
			 in_certs("localhost.key"));
	if (upstream)
		snprintf(options + strlen(options), sizeof options - strlen(options),
			 " --upstream-tls %s --upstream-name localhost", in_certs("ca.pem"));
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	example_start(&proxy, "proxy/proxy", -1,
		      "--listen 127.0.0.1:0 --steer off --pollers 2 --upstream 127.0.0.1:%d%s",
		      ntohs(((struct sockaddr_in *)&ss)->sin_port), options);
}

static int to_proxy(void)
{
	return example_connect(&proxy);
}

static void over(void)
{
	example_end(&proxy);
	serve_end();
	np_tls_free(&tls);
}

#define MIB (1u << 20)

START_TEST(bytes_and_ends_go_through_with_tls_on_the_clients_side)
{
	static char text[MIB], got[MIB];
	struct tls_peer p;
	char rest[8];

	given_proxy(true, _i);
	for (size_t i = 0; i < MIB; i++)
		text[i] = (char)(i * 3 + i / 511);
	tls_peer_init(&p, to_proxy());
	ck_assert(tls_peer_shake_to_the_end(&p));
	tls_peer_say(&p, "with the Finished", 17);
	tls_peer_expect(&p, "with the Finished");
	for (size_t n = 0; n < MIB; n += MIB / 16) {
		tls_peer_say(&p, text + n, MIB / 16);
		tls_peer_hear(&p, got + n, MIB / 16);
	}
	ck_assert(!memcmp(got, text, MIB));
	SSL_shutdown(p.ssl);
	tls_peer_push(&p);
	ck_assert_int_eq(tls_peer_read(&p, rest, sizeof rest), 0);
	tls_peer_free(&p);
	AWAIT(closes == 1);
	ck_assert_int_eq(error, -NP_EEOF);
	over();
}
END_TEST

START_TEST(plain_clients_reach_an_upstream_that_speaks_tls)
{
	static char text[MIB / 4], got[MIB / 4];
	int fd;

	given_proxy(false, true);
	memset(text, 'p', sizeof text);
	fd = to_proxy();
	for (int i = 0; i < 4; i++) {
		peer_send(fd, text, sizeof text);
		peer_recv(fd, got, sizeof got);
		ck_assert(!memcmp(got, text, sizeof text));
	}
	shutdown(fd, SHUT_WR);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(closes == 1);
	ck_assert_int_eq(error, -NP_EEOF); /* close_notify went on where FIN came */
	over();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_proxy");

	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_loop_test(t, bytes_and_ends_go_through_with_tls_on_the_clients_side, 0, 2);
	tcase_add_test(t, plain_clients_reach_an_upstream_that_speaks_tls);
}
