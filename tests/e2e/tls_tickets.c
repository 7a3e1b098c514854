/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_tickets: whose tickets a server takes, and when their keys change
 *
 * time() is this file's own: library and OpenSSL see what a test says that it is.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdatomic.h>
#include <time.h>

#include "support/child.h"
#include "support/tls_echo.h"

static _Atomic(time_t) now; /* 0: the system's */

time_t time(time_t *ret)
{
	struct timespec t;
	time_t s = atomic_load(&now);

	if (!s && clock_gettime(CLOCK_REALTIME, &t) == 0)
		s = t.tv_sec;
	if (ret)
		*ret = s;
	return s;
}

/* In a process of its own: says its port, and serves until it hears a byte. */
static void serve_alone(int sock, void *arg)
{
	struct np_tls_opts *o = arg;
	struct sockaddr_storage ss;
	socklen_t len;

	given_server(o);
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	child_send(sock, &ss, sizeof ss);
	child_hear(sock);
	end_server();
}

static void given_child(struct child *c, struct np_tls_opts *o, struct sockaddr_storage *ss)
{
	child_start(c, serve_alone, o);
	child_recv(c->sock, ss, sizeof *ss);
}

/* With @session, where there is one; keeps the next in its place. Return: whether it went on. */
static bool goes_on(const struct sockaddr_storage *ss, SSL_SESSION **session, int version)
{
	struct tls_peer p;
	bool went_on;

	tls_peer_init(&p, peer_connect(ss, sizeof(struct sockaddr_in)));
	SSL_set_max_proto_version(p.ssl, version);
	if (*session)
		SSL_set_session(p.ssl, *session);
	SSL_SESSION_free(*session);
	tls_peer_shake(&p);
	tls_peer_say(&p, "x", 1);
	tls_peer_expect(&p, "x"); /* tickets of TLS 1.3 come before it */
	went_on = SSL_session_reused(p.ssl);
	*session = SSL_get1_session(p.ssl);
	tls_peer_part(&p);
	return went_on;
}

START_TEST(a_ticket_of_one_process_is_good_for_another_and_after_a_restart)
{
	int version = _i ? TLS1_2_VERSION : TLS1_3_VERSION;
	struct np_tls_opts o = { .sz = sizeof o, .ticket_file = in_certs("secret") };
	struct sockaddr_storage ss[2];
	SSL_SESSION *session = NULL;
	struct child c[2];

	given_child(&c[0], &o, &ss[0]);
	given_child(&c[1], &o, &ss[1]);
	ck_assert(!goes_on(&ss[0], &session, version));
	ck_assert(goes_on(&ss[1], &session, version));
	child_say(c[0].sock, 'e');
	child_join(&c[0]);
	given_child(&c[0], &o, &ss[0]);
	ck_assert(goes_on(&ss[0], &session, version));
	child_say(c[0].sock, 'e');
	child_say(c[1].sock, 'e');
	child_join(&c[0]);
	child_join(&c[1]);
	SSL_SESSION_free(session);
}
END_TEST

/* As of two listeners with settings of their own. */
START_TEST(a_ticket_of_one_context_is_good_for_another_of_the_process)
{
	int version = _i ? TLS1_2_VERSION : TLS1_3_VERSION;
	struct np_tls_opts o = { .sz = sizeof o, .ticket_file = in_certs("secret") };
	struct np_tls_opts o2 = { .sz = sizeof o2, .ticket_file = in_certs("secret") };
	struct sockaddr_storage ss[2];
	SSL_SESSION *session = NULL;
	struct np_server *second;
	struct np_tls *tls2;
	socklen_t len;

	given_server(&o);
	tls2 = given_server_tls(&o2);
	serve_at(&second, &echoes, NULL,
		 NP_OPTS(np_server_opts, .tls = tls2, .steer = NP_STEER_OFF), "tcp", "127.0.0.1:0");
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss[0], &len), 0);
	ck_assert_int_eq(np_server_addr(second, 0, &ss[1], &len), 0);
	ck_assert(!goes_on(&ss[0], &session, version));
	for (int i = 0; i < 4; i++)
		ck_assert(goes_on(&ss[!(i & 1)], &session, version));
	ck_assert_uint_eq(tls_stats_of(tls2).resumed, 2);
	SSL_SESSION_free(session);
	serve_over(&second);
	np_tls_free(&tls2);
	end_server();
}
END_TEST

/* Periods of two hours, and of more than have passed since 1970: that one has none before it. */
START_TEST(a_ticket_of_a_stranger_is_no_session)
{
	int periods[] = { 7200, INT_MAX };
	struct np_tls_opts ours = { .sz = sizeof ours, .ticket_file = in_certs("secret") };
	struct np_tls_opts another = { .sz = sizeof another, .ticket_s = periods[_i] };
	struct sockaddr_storage ss[2];
	SSL_SESSION *session = NULL;
	struct child c[2];

	given_child(&c[0], &ours, &ss[0]);
	given_child(&c[1], &another, &ss[1]);
	ck_assert(!goes_on(&ss[0], &session, TLS1_3_VERSION));
	ck_assert(!goes_on(&ss[1], &session, TLS1_3_VERSION));
	ck_assert(goes_on(&ss[1], &session, TLS1_3_VERSION));
	for (int i = 0; i < 2; i++) {
		child_say(c[i].sock, 'e');
		child_join(&c[i]);
	}
	SSL_SESSION_free(session);
}
END_TEST

START_TEST(a_new_secret_takes_the_tickets_of_the_one_before)
{
	struct sockaddr_storage ss;
	SSL_SESSION *session = NULL;
	socklen_t len;

	must_sh("cp %s/secret %s/turning", certs_dir, certs_dir);
	given_server(NP_OPTS(np_tls_opts, .ticket_file = in_certs("turning")));
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	ck_assert(!goes_on(&ss, &session, TLS1_3_VERSION));
	must_sh("head -c 48 /dev/urandom > %s/turning", certs_dir);
	ck_assert_int_eq(np_tls_reload(tls), 0);
	ck_assert(goes_on(&ss, &session, TLS1_3_VERSION));
	ck_assert(goes_on(&ss, &session, TLS1_3_VERSION));
	SSL_SESSION_free(session);
	end_server();
}
END_TEST

/* As browsers do, which use no ticket twice. */
START_TEST(a_client_that_uses_each_ticket_once_goes_on_each_time)
{
	unsigned char last[1024] = { 0 };
	struct sockaddr_storage ss;
	SSL_SESSION *session = NULL;
	const unsigned char *ticket;
	socklen_t len;
	size_t n;

	given_server(NULL);
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(goes_on(&ss, &session, TLS1_3_VERSION), i > 0);
		SSL_SESSION_get0_ticket(session, &ticket, &n);
		ck_assert_uint_le(n, sizeof last);
		ck_assert_mem_ne(ticket, last, n);
		memcpy(last, ticket, n);
	}
	SSL_SESSION_free(session);
	end_server();
}
END_TEST

START_TEST(a_handshake_that_goes_on_asks_no_worker)
{
	int version = _i ? TLS1_2_VERSION : TLS1_3_VERSION;
	struct np_tls_opts o = { .sz = sizeof o, .offload_us = 1 }, another = o;
	struct sockaddr_storage ss[2];
	SSL_SESSION *session = NULL;
	struct child stranger;
	socklen_t len;

	given_child(&stranger, &another, &ss[1]);
	given_server(&o);
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss[0], &len), 0);
	ck_assert(!goes_on(&ss[0], &session, version));
	ck_assert_uint_eq(tls_stats_of(tls).offloaded, 1);
	for (int i = 0; i < 3; i++)
		ck_assert(goes_on(&ss[0], &session, version));
	ck_assert_uint_eq(tls_stats_of(tls).offloaded, 1);
	ck_assert(!goes_on(&ss[1], &session, version)); /* another's ticket is none */
	ck_assert(!goes_on(&ss[0], &session, version));
	ck_assert_uint_eq(tls_stats_of(tls).offloaded, 2);
	SSL_SESSION_free(session);
	end_server();
	child_say(stranger.sock, 'e');
	child_join(&stranger);
}
END_TEST

/* What is sent in the clear with a ticket says which key it is made with. */
static void take_key_name(const SSL_SESSION *session, unsigned char ret[16])
{
	const unsigned char *ticket;
	size_t n;

	SSL_SESSION_get0_ticket(session, &ticket, &n);
	ck_assert_uint_gt(n, 16);
	memcpy(ret, ticket, 16);
}

START_TEST(keys_change_with_the_period_and_those_of_the_one_before_are_taken)
{
	int version = _i ? TLS1_2_VERSION : TLS1_3_VERSION;
	time_t next = (time(NULL) / 7200 + 1) * 7200;
	unsigned char name[3][16];
	struct sockaddr_storage ss;
	SSL_SESSION *session = NULL;
	socklen_t len;

	atomic_store(&now, next - 5);
	given_server(NP_OPTS(np_tls_opts, .ticket_s = 7200));
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	ck_assert(!goes_on(&ss, &session, version));
	take_key_name(session, name[0]);
	ck_assert(goes_on(&ss, &session, version));
	take_key_name(session, name[1]);
	ck_assert_mem_eq(name[0], name[1], sizeof name[0]);
	atomic_store(&now, next + 5);
	ck_assert(goes_on(&ss, &session, version));
	take_key_name(session, name[2]);
	ck_assert_mem_ne(name[0], name[2], sizeof name[0]);
	ck_assert(goes_on(&ss, &session, version));
	SSL_SESSION_free(session);
	end_server();
	atomic_store(&now, 0);
}
END_TEST

/* Seconds that the clock jumps by: a period, and so far that no key is known any more. */
static const time_t jumps[] = { 7200, -7200, 10 * 365 * 86400, -10 * 365 * 86400, INT_MIN };

START_TEST(a_clock_that_jumps_costs_a_session_and_no_handshake)
{
	int version = _i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION;
	time_t begin = time(NULL) / 7200 * 7200 + 3600;
	struct sockaddr_storage ss;
	SSL_SESSION *session = NULL, *kept;
	bool went_on;
	socklen_t len;

	atomic_store(&now, begin);
	given_server(NP_OPTS(np_tls_opts, .ticket_s = 7200));
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	ck_assert(!goes_on(&ss, &session, version));
	kept = SSL_SESSION_dup(session);
	atomic_store(&now, begin + jumps[_i / 2]);
	SSL_SESSION_set_time(session, begin + jumps[_i / 2]); /* the client's clock is right */
	went_on = goes_on(&ss, &session, version);
	ck_assert(!went_on || _i / 2 < 2);
	ck_assert(goes_on(&ss, &session, version)); /* by the new clock */
	atomic_store(&now, begin);
	ck_assert(goes_on(&ss, &kept, version)); /* the keys are those of before again */
	SSL_SESSION_free(session);
	SSL_SESSION_free(kept);
	end_server();
	atomic_store(&now, 0);
}
END_TEST

static void setup(void)
{
	certs_setup();
	must_sh("head -c 48 /dev/urandom > %s/secret", certs_dir);
}

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_tickets");

	tcase_add_unchecked_fixture(t, setup, certs_teardown);
	tcase_add_loop_test(t, a_ticket_of_one_process_is_good_for_another_and_after_a_restart, 0,
			    2);
	tcase_add_loop_test(t, a_ticket_of_one_context_is_good_for_another_of_the_process, 0, 2);
	tcase_add_loop_test(t, a_ticket_of_a_stranger_is_no_session, 0, 2);
	tcase_add_test(t, a_new_secret_takes_the_tickets_of_the_one_before);
	tcase_add_loop_test(t, a_handshake_that_goes_on_asks_no_worker, 0, 2);
	tcase_add_test(t, a_client_that_uses_each_ticket_once_goes_on_each_time);
	tcase_add_loop_test(t, keys_change_with_the_period_and_those_of_the_one_before_are_taken, 0,
			    2);
	tcase_add_loop_test(t, a_clock_that_jumps_costs_a_session_and_no_handshake, 0,
			    2 * sizeof jumps / sizeof jumps[0]);
}
