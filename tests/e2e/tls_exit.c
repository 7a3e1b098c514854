/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_exit: a program that ends while its pollers serve: OpenSSL is not taken from under them. */
#include <netinet/in.h>
#include <stdlib.h>

#include "support/child.h"
#include "support/tls_peer.h"

static int to_the_test;

/* Called behind all that OpenSSL has for atexit(3): that begins later, and so comes sooner. */
static void stay_for_a_while(void)
{
	child_say(to_the_test, 'l');
	child_hear(to_the_test);
}

static void serve_and_return_from_main(int sock, void *uses_openssl_itself)
{
	const struct np_handlers h = { .sz = sizeof h, .on_request = serve_echo };
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	to_the_test = sock;
	atexit(stay_for_a_while);
	if (uses_openssl_itself) {
		OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
		SSL_CTX_free(SSL_CTX_new(TLS_client_method()));
	}
	serve(1, &h, NULL,
	      NP_OPTS(np_server_opts, .tls = given_server_tls(NULL), .steer = NP_STEER_OFF));
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	child_send(sock, &ss, sizeof ss);
	child_hear(sock);
	exit(0);
}

static void must_be_served(const struct sockaddr_storage *ss)
{
	struct tls_peer p;

	tls_peer_init(&p, peer_connect(ss, sizeof(struct sockaddr_in)));
	tls_peer_shake(&p);
	tls_peer_say(&p, "still", 5);
	tls_peer_expect(&p, "still");
	tls_peer_free(&p);
}

START_TEST(a_program_that_returns_from_main_serves_to_its_end)
{
	struct child program;
	struct sockaddr_storage ss;

	child_start(&program, serve_and_return_from_main, _i ? &program : NULL);
	child_recv(program.sock, &ss, sizeof ss);
	must_be_served(&ss);
	child_say(program.sock, 'r');
	ck_assert_int_eq(child_hear(program.sock), 'l');
	must_be_served(&ss);
	child_say(program.sock, 'e');
	child_join(&program);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_exit");

	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_loop_test(t, a_program_that_returns_from_main_serves_to_its_end, 0, 2);
}
