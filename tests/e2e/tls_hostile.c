/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_hostile: peers that mean harm, and know the protocol */
#include <errno.h>

#include "support/tls_seen.h"

START_TEST(data_behind_close_notify_is_never_served)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	unsigned char rec[100] = { 0x17, 0x03, 0x03, 0, 95 };
	struct tls_peer p;
	char rest[8];

	given_server(1, &h, NULL);
	given_peer(&p);
	tls_peer_say(&p, "a", 1);
	tls_peer_expect(&p, "a");
	SSL_shutdown(p.ssl);
	BIO_write(p.out, rec, 100);
	BIO_write(p.out, rec, 100);
	tls_peer_push(&p);
	(void)tls_peer_read(&p, rest, sizeof rest);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_EEOF);
	ck_assert_int_eq(saw.requests, 1);
	tls_peer_free(&p);
	end_server();
}
END_TEST

START_TEST(floods_in_the_clear_come_to_an_end)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	static const char *const what[] = { "\x15\x03\x01\x00\x02\x01\x5a", "\x16\x03\x01\x00\x00",
					    "\x14\x03\x03\x00\x01\x01", "\x17\x03\x03\x00\x00" };
	static const size_t len[] = { 7, 5, 6, 5 };
	struct tls_peer p;
	int sent = 0;

	given_server(1, &h, NULL);
	tls_peer_init(&p, serve_connect(0));
	if (_i >= 4) {
		SSL_do_handshake(p.ssl);
		tls_peer_push(&p);
		tls_peer_pull(&p);
	}
	for (; sent < 2000; sent++)
		if (send(p.fd, what[_i % 4], len[_i % 4], MSG_NOSIGNAL) < 0)
			break;
	shutdown(p.fd, SHUT_WR);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	tls_peer_free(&p);
	end_server();
}
END_TEST

START_TEST(a_record_that_is_too_long_is_refused)
{
	static const struct {
		int version;
		unsigned len;
	} records[] = { { TLS1_2_VERSION, 16384 + 2048 + 1 },
			{ TLS1_2_VERSION, 65535 },
			{ TLS1_3_VERSION, 16384 + 256 + 1 },
			{ TLS1_3_VERSION, 65535 } };
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	unsigned len = records[_i].len;
	unsigned char rec[100] = { 0x17, 0x03, 0x03, (unsigned char)(len >> 8),
				   (unsigned char)len };
	struct tls_peer p;
	char rest[8];

	given_server(1, &h, NULL);
	tls_peer_init(&p, serve_connect(0));
	SSL_set_max_proto_version(p.ssl, records[_i].version);
	tls_peer_shake(&p);
	tls_peer_say(&p, "a", 1);
	tls_peer_expect(&p, "a");
	BIO_write(p.out, rec, sizeof rec);
	tls_peer_push(&p);
	ck_assert_int_eq(tls_peer_read(&p, rest, sizeof rest), -1);
	ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_RECORD_OVERFLOW);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	tls_peer_free(&p);
	end_server();
}
END_TEST

START_TEST(a_renegotiation_is_refused)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	struct tls_peer p;
	char rest[8];
	ssize_t n = 1;

	given_server(1, &h, NULL);
	tls_peer_init(&p, serve_connect(0));
	SSL_set_max_proto_version(p.ssl, TLS1_2_VERSION);
	tls_peer_shake(&p);
	tls_peer_say(&p, "a", 1);
	tls_peer_expect(&p, "a");
	for (int i = 0; i < 100 && n > 0; i++) {
		SSL_renegotiate(p.ssl);
		SSL_do_handshake(p.ssl);
		tls_peer_push(&p);
		n = tls_peer_read(&p, rest, sizeof rest);
	}
	ck_assert_int_eq(n, -1);
	tls_peer_free(&p);
	AWAIT(saw.closes == 1);
	ck_assert_int_lt(saw.error, 0);
	end_server();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "tls_hostile");

	tcase_add_unchecked_fixture(c, certs_setup, certs_teardown);
	tcase_add_test(c, data_behind_close_notify_is_never_served);
	tcase_add_loop_test(c, floods_in_the_clear_come_to_an_end, 0, 7);
	tcase_add_loop_test(c, a_record_that_is_too_long_is_refused, 0, 4);
	tcase_add_test(c, a_renegotiation_is_refused);
}
