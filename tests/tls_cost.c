/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_cost: the system calls of handshakes and requests with TLS, counted exactly
 *
 * As tests/cost.c: by the fault injector's counters, in builds whose lib/sys has them. What waits
 * for events is bounded only: the loop may be caught between two of them.
 */
#include "support/test.h"

#ifdef NP_FAULT
#include "support/peer.h"
#include "support/tls_echo.h"
#include "sys/fault.h"

/* All but waits, and but what is given back once in a while. */
static unsigned total(void)
{
	unsigned n = 0;

	for (int i = 0; i < SYS_CALL_MAX; i++)
		if (i != SYS_epoll_wait && i != SYS_munmap && i != SYS_madvise)
			n += sys_fault_calls((enum sys_call)i);
	return n;
}

static void count_from_zero(void)
{
	for (int i = 0; i < SYS_CALL_MAX; i++)
		sys_fault_arm((enum sys_call)i, 0, 0);
}

static void must_have_cost(unsigned accepts, unsigned reads, unsigned sends, unsigned closes,
			   unsigned waits)
{
	AWAIT(sys_fault_calls(SYS_close) == closes);
	ck_assert_uint_eq(sys_fault_calls(SYS_accept4), accepts);
	ck_assert_uint_eq(sys_fault_calls(SYS_epoll_ctl), accepts);
	ck_assert_uint_eq(sys_fault_calls(SYS_recv), reads);
	ck_assert_uint_eq(sys_fault_calls(SYS_send), sends);
	ck_assert_uint_le(sys_fault_calls(SYS_epoll_wait), waits + 1);
	ck_assert_uint_eq(total(), 2 * accepts + reads + sends + closes);
}

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

static void given_peer_of(struct tls_peer *p, int version, SSL_SESSION *session)
{
	tls_peer_init(p, serve_connect(0));
	SSL_set_max_proto_version(p->ssl, version);
	if (session)
		SSL_set_session(p->ssl, session);
}

/* Behind a first connection, for which stacks and blocks were made. */
static void given_warm_server(void)
{
	struct tls_peer p;

	given_server(NULL);
	given_peer(&p);
	tls_peer_say(&p, "x", 1);
	tls_peer_expect(&p, "x");
	tls_peer_part(&p);
	AWAIT(serve_conns() == 0);
}

/* The tickets of TLS 1.3, which come behind the handshake, and in one piece. */
static void hear_tickets(struct tls_peer *p)
{
	char none;

	if (SSL_version(p->ssl) == TLS1_3_VERSION)
		tls_peer_pull(p);
	while (BIO_pending(p->in))
		ck_assert_int_lt(SSL_read(p->ssl, &none, 1), 0);
	ck_assert(SSL_SESSION_has_ticket(SSL_get0_session(p->ssl)));
}

START_TEST(a_handshake_costs_three_reads_and_three_sends_of_which_one_is_close_notify)
{
	struct tls_peer p;

	given_warm_server();
	given_peer_of(&p, versions[_i], NULL);
	AWAIT(serve_conns() == 1);
	count_from_zero();
	tls_peer_shake(&p);
	hear_tickets(&p);
	tls_peer_part(&p);
	must_have_cost(0, 3, 3, 1, 3);
	end_server();
}
END_TEST

START_TEST(one_that_goes_on_with_a_session_costs_as_much_without_the_round_trip)
{
	struct tls_peer p;
	SSL_SESSION *session;

	given_warm_server();
	given_peer_of(&p, TLS1_2_VERSION, NULL);
	tls_peer_shake(&p);
	session = SSL_get1_session(p.ssl);
	tls_peer_part(&p);
	AWAIT(serve_conns() == 0);
	count_from_zero();
	given_peer_of(&p, TLS1_2_VERSION, session);
	tls_peer_shake(&p);
	ck_assert(SSL_session_reused(p.ssl));
	AWAIT(sys_fault_calls(SYS_recv) == 2);
	tls_peer_part(&p);
	must_have_cost(1, 3, 2, 1, 4);
	SSL_SESSION_free(session);
	end_server();
}
END_TEST

START_TEST(a_request_that_comes_with_the_finished_costs_no_read_and_no_wait_of_its_own)
{
	struct tls_peer p;

	given_warm_server();
	given_peer_of(&p, versions[_i], NULL);
	SSL_do_handshake(p.ssl);
	tls_peer_push(&p);
	tls_peer_pull(&p);
	count_from_zero();
	if (versions[_i] == TLS1_3_VERSION) { /* of TLS 1.2 the client's Finished is not the last */
		ck_assert(tls_peer_shake_to_the_end(&p));
		tls_peer_say(&p, "x", 1);
		tls_peer_expect(&p, "x");
		must_have_cost(0, 1, 2, 0, 1);
	} else {
		tls_peer_shake(&p);
		tls_peer_say(&p, "x", 1);
		tls_peer_expect(&p, "x");
		must_have_cost(0, 2, 2, 0, 2);
	}
	tls_peer_part(&p);
	end_server();
}
END_TEST

START_TEST(a_request_costs_one_wait_one_read_and_one_send)
{
	enum { N = 100 };
	char text[1024], got[1024];
	struct tls_peer p;

	memset(text, 'r', sizeof text);
	given_warm_server();
	given_peer_of(&p, versions[_i], NULL);
	tls_peer_shake(&p);
	tls_peer_say(&p, "x", 1);
	tls_peer_expect(&p, "x");
	count_from_zero();
	for (int i = 0; i < N; i++) {
		tls_peer_say(&p, text, sizeof text);
		tls_peer_hear(&p, got, sizeof got);
	}
	must_have_cost(0, N, N, 0, N);
	tls_peer_part(&p);
	end_server();
}
END_TEST
#else
START_TEST(system_calls_are_counted)
{
	SKIP("needs a build with NP_FAULT");
}
END_TEST
#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_cost");

#ifdef NP_FAULT
	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_loop_test(
		t, a_handshake_costs_three_reads_and_three_sends_of_which_one_is_close_notify, 0,
		2);
	tcase_add_test(t, one_that_goes_on_with_a_session_costs_as_much_without_the_round_trip);
	tcase_add_loop_test(
		t, a_request_that_comes_with_the_finished_costs_no_read_and_no_wait_of_its_own, 0,
		2);
	tcase_add_loop_test(t, a_request_costs_one_wait_one_read_and_one_send, 0, 2);
#else
	tcase_add_test(t, system_calls_are_counted);
#endif
}
