/* SPDX-License-Identifier: BSD-2-Clause */
/* tls: a server whose connections go through TLS: the same handlers, and records cut everywhere */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/tls_peer.h"

static struct {
	_Atomic(int) connects, requests, disconnects, closes, error;
	_Atomic(size_t) bytes;
	char alpn[32], sni[64], version[16], why[256];
	_Atomic(int) info;
} saw;

static struct np_tls *tls;

static int on_connect(struct np_conn *c, void *arg)
{
	struct np_tls_info info = { .sz = sizeof info };

	saw.info = np_tls_conn_info(c, &info);
	if (saw.info == 0) {
		snprintf(saw.alpn, sizeof saw.alpn, "%s", info.alpn);
		snprintf(saw.sni, sizeof saw.sni, "%s", info.sni);
		snprintf(saw.version, sizeof saw.version, "%s", info.version);
	}
	saw.connects++;
	return 0;
}

static int echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *all;
	int r = np_conn_slice(c, np_conn_len(c), &all);

	saw.requests++;
	if (r == 0)
		r = np_conn_append(c, &all);
	return r < 0 ? r : np_conn_flush(c);
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	saw.disconnects++;
}

static void on_close(struct np_conn *c, void *arg)
{
	snprintf(saw.why, sizeof saw.why, "%s", np_tls_conn_error(c));
	saw.error = np_conn_error(c);
	saw.closes++;
}

static const struct np_handlers echoes = { .sz = sizeof echoes,
					   .on_connect = on_connect,
					   .on_request = echo,
					   .on_disconnect = on_disconnect,
					   .on_close = on_close };

static void given_server(const struct np_handlers *h, struct np_tls_opts *o)
{
	tls = given_server_tls(o);
	serve(1, h ? h : &echoes, NULL, NP_OPTS(np_server_opts, .tls = tls));
}

static void end_server(void)
{
	serve_end();
	ck_assert_int_eq(np_tls_free(&tls), 0);
}

/* ------------------------------------------------------------------ records */

START_TEST(a_request_that_comes_with_the_finished_is_served_at_once)
{
	struct tls_peer p;

	given_server(NULL, NULL);
	for (int version = 0; version < 2; version++) {
		tls_peer_init(&p, serve_connect(0));
		SSL_set_max_proto_version(p.ssl, version ? TLS1_2_VERSION : TLS1_3_VERSION);
		ck_assert(tls_peer_shake_to_the_end(&p));
		tls_peer_say(&p, "at once", 7);
		tls_peer_expect(&p, "at once");
		tls_peer_part(&p);
	}
	AWAIT(saw.closes == 2);
	ck_assert_int_eq(saw.error, -NP_EEOF);
	ck_assert_int_eq(saw.disconnects, 2);
	ck_assert_uint_eq(tls_stats_of(tls).handshakes, 2);
	ck_assert_uint_eq(tls_stats_of(tls).failed, 0);
	end_server();
}
END_TEST

START_TEST(records_cut_at_every_byte_are_put_together)
{
	struct tls_peer p;
	char text[300], got[300];

	memset(text, 'x', sizeof text);
	given_server(NULL, NULL);
	tls_peer_init(&p, serve_connect(0));
	p.piece = _i ? (size_t)_i * 7 : 1;
	tls_peer_shake(&p);
	for (int i = 0; i < 3; i++) {
		tls_peer_say(&p, text, sizeof text);
		tls_peer_hear(&p, got, sizeof got);
		ck_assert_mem_eq(got, text, sizeof got);
	}
	tls_peer_part(&p);
	end_server();
}
END_TEST

START_TEST(a_megabyte_each_way_arrives_whole)
{
	static char text[1 << 20], got[1 << 16];
	struct tls_peer p;
	size_t said = 0, heard = 0;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)(i * 7 + i / 251);
	given_server(NULL, NULL);
	given_peer(&p);
	while (heard < sizeof text) {
		size_t n = sizeof text - said < sizeof got ? sizeof text - said : sizeof got;

		if (n)
			tls_peer_say(&p, text + said, n);
		said += n;
		while (heard < said) {
			ssize_t r = tls_peer_read(&p, got, sizeof got);

			ck_assert_int_gt(r, 0);
			ck_assert_mem_eq(got, text + heard, (size_t)r);
			heard += (size_t)r;
		}
	}
	tls_peer_part(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ ends */

START_TEST(a_stream_that_is_cut_is_an_error_and_no_end)
{
	struct tls_peer p;

	given_server(NULL, NULL);
	given_peer(&p);
	tls_peer_say(&p, "half", 4);
	tls_peer_expect(&p, "half");
	shutdown(p.fd, SHUT_WR); /* FIN without close_notify */
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ECUT);
	ck_assert_int_eq(saw.disconnects, 1);
	ck_assert_uint_eq(tls_stats_of(tls).cut, 1);
	ck_assert_ptr_nonnull(strstr(saw.why, "without close_notify"));
	tls_peer_free(&p);
	end_server();
}
END_TEST

static int answer_at_the_end(struct np_conn *c, void *arg)
{
	size_t n = np_conn_len(c);
	int r = np_conn_wait(c, n + 1);

	if (r != -NP_EEOF)
		return r;
	saw.bytes = n;
	r = np_conn_skip(c, n);
	if (r == 0)
		r = np_conn_write(c, "that was all", 12);
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(behind_the_peers_close_notify_the_answer_is_still_sent)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = answer_at_the_end };
	struct tls_peer p;
	char rest[8];

	given_server(&h, NULL);
	given_peer(&p);
	tls_peer_write(&p, "question", 8);
	SSL_shutdown(p.ssl);
	tls_peer_push(&p);
	tls_peer_expect(&p, "that was all");
	ck_assert_int_eq(tls_peer_read(&p, rest, sizeof rest), 0); /* close_notify, not FIN alone */
	ck_assert_uint_eq(saw.bytes, 8);
	tls_peer_free(&p);
	end_server();
}
END_TEST

static int shut_then_read(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 4);

	if (r == 0)
		r = np_conn_write(c, "bye", 3);
	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0)
		r = np_conn_shutdown_write(c);
	if (r == 0)
		r = np_conn_wait(c, 5);
	if (r == 0) {
		saw.bytes = np_conn_len(c);
		r = np_conn_skip(c, 5);
	}
	return r;
}

START_TEST(behind_ones_own_close_notify_reading_goes_on)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = shut_then_read };
	struct tls_peer p;
	char rest[8];

	given_server(&h, NULL);
	given_peer(&p);
	tls_peer_say(&p, "hello", 4);
	tls_peer_expect(&p, "bye");
	ck_assert_int_eq(tls_peer_read(&p, rest, sizeof rest), 0);
	SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED); /* which nothing can answer now */
	tls_peer_say(&p, "later", 5);
	AWAIT(saw.bytes == 5);
	SSL_shutdown(p.ssl);
	tls_peer_push(&p);
	tls_peer_free(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ strangers */

START_TEST(what_is_no_tls_gets_an_alert_and_is_counted)
{
	static const char *const said[] = { "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
					    "SSH-2.0-OpenSSH_9.2p1 Debian\r\n",
					    "\x80\x2e\x01\x00\x02",
					    "\x16\x03\x00\x00\x05"
					    "abcde",
					    "\x17\x03\x03\x00\x01x",
					    "PUT /longer HTTP/1.1\r\n\r\n" };
	unsigned n = sizeof said / sizeof said[0];

	given_server(NULL, NULL);
	for (unsigned i = 0; i < n; i++) {
		int fd = serve_connect(0);
		size_t len = said[i][0] == '\x16' ? 10 :
			     said[i][0] == '\x17' ? 6 :
			     said[i][0] == '\x80' ? 5 :
						    strlen(said[i]);

		peer_send(fd, said[i], len);
		shutdown(fd, SHUT_WR);
		ck_assert_msg(alert_in_the_clear(fd) > 0, "none for the %u-th", i);
		peer_close(&fd);
	}
	AWAIT(saw.closes == (int)n);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	ck_assert_int_eq(saw.connects, 0);
	ck_assert_int_eq(saw.disconnects, 0);
	ck_assert_uint_eq(tls_stats_of(tls).failed, n);
	ck_assert_uint_ge(tls_stats_of(tls).not_tls, n - 1);
	end_server();
}
END_TEST

START_TEST(a_handshake_that_does_not_end_is_ended)
{
	struct np_tls_opts o = { .sz = sizeof o, .handshake_ms = 50 };
	int fd, half;

	given_server(NULL, &o);
	fd = serve_connect(0);
	half = serve_connect(0);
	peer_send(half, "\x16\x03\x01\x02\x00\x01", 6);
	peer_drain(fd);
	peer_drain(half);
	AWAIT(saw.closes == 2);
	ck_assert_int_eq(saw.error, -ETIMEDOUT);
	ck_assert_int_eq(saw.connects, 0);
	ck_assert_uint_eq(tls_stats_of(tls).failed, 2);
	peer_close(&fd);
	peer_close(&half);
	end_server();
}
END_TEST

START_TEST(of_a_flood_of_handshakes_those_above_the_limit_get_an_alert)
{
	struct np_tls_opts o = { .sz = sizeof o, .max_handshakes = 4 };
	struct tls_peer p;
	int half[4], more;

	given_server(NULL, &o);
	given_peer(&p); /* whose handshake is over: it is not in the way */
	for (int i = 0; i < 4; i++) {
		half[i] = serve_connect(0);
		if (i % 2)
			peer_send(half[i], "\x16\x03\x01\x02\x00\x01", 6);
		AWAIT(tls_stats_of(tls).under_way == (unsigned)i + 1);
	}
	for (int i = 0; i < 20; i++) {
		more = serve_connect(0);
		if (i % 2)
			peer_send(more, "\x16\x03\x01\x02\x00\x01", 6);
		ck_assert_int_eq(alert_in_the_clear(more), SSL_AD_INTERNAL_ERROR);
		peer_close(&more);
		AWAIT(saw.closes == i + 1);
		ck_assert_int_eq(saw.error, -NP_ETLS);
		ck_assert_str_eq(saw.why, "too many handshakes are under way");
	}
	ck_assert_uint_eq(tls_stats_of(tls).crowded, 20);
	ck_assert_uint_eq(tls_stats_of(tls).failed, 20);
	tls_peer_say(&p, "still here", 10);
	tls_peer_expect(&p, "still here");
	peer_close(&half[2]);
	AWAIT(tls_stats_of(tls).under_way == 3);
	tls_peer_part(&p);
	given_peer(&p); /* there is room again */
	tls_peer_part(&p);
	for (int i = 0; i < 4; i++)
		if (i != 2)
			peer_close(&half[i]);
	AWAIT(tls_stats_of(tls).under_way == 0);
	end_server();
}
END_TEST

START_TEST(key_updates_without_data_come_to_an_end)
{
	struct tls_peer p;
	char rest[8];

	given_server(NULL, NULL);
	given_peer(&p);
	for (int round = 0; round < 3; round++) { /* in measure they are fine */
		for (int i = 0; i < 20; i++) {
			SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED);
			ck_assert_int_eq(SSL_do_handshake(p.ssl), 1);
		}
		tls_peer_say(&p, "data", 4);
		tls_peer_expect(&p, "data");
	}
	for (int i = 0; i < 200; i++) {
		SSL_key_update(p.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		ck_assert_int_eq(SSL_do_handshake(p.ssl), 1);
	}
	tls_peer_push(&p);
	ck_assert_int_eq(tls_peer_read(&p, rest, sizeof rest), -1);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	ck_assert_ptr_nonnull(strstr(saw.why, "without data"));
	tls_peer_free(&p);
	end_server();
}
END_TEST

#define BIG (8u << 20)

static int send_much(struct np_conn *c, void *arg)
{
	static char bytes[BIG];
	int r = np_conn_skip(c, np_conn_len(c));

	if (saw.requests++)
		return r;
	for (size_t i = 0; i < BIG; i++)
		bytes[i] = (char)(i / 1000 + i);
	if (r == 0)
		r = np_conn_write(c, bytes, BIG);
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(a_key_update_behind_output_that_stands_is_answered)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = send_much, .on_close = on_close };
	static char got[BIG];
	struct tls_peer p;
	size_t wrong = 0;

	given_server(&h, NULL);
	given_peer(&p);
	tls_peer_say(&p, "go", 2);
	await_fd(p.fd, POLLIN); /* the kernel is full soon, in the middle of a record */
	for (int i = 0; i < 8; i++) {
		SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED);
		ck_assert_int_eq(SSL_do_handshake(p.ssl), 1);
		tls_peer_say(&p, "more", 4);
	}
	tls_peer_hear(&p, got, BIG);
	for (size_t i = 0; i < BIG; i++)
		wrong += got[i] != (char)(i / 1000 + i);
	ck_assert_uint_eq(wrong, 0);
	tls_peer_part(&p);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_EEOF);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ together with others */

static int moves(struct np_conn *c, void *arg)
{
	int r = echo(c, arg);

	return r < 0 ? r : np_conn_move(c, !np_conn_poller(c));
}

/* A little of what has come, and then to the other one. */
static int moves_at_each_bite(struct np_conn *c, void *arg)
{
	struct np_linkbuf *bite;
	int r = np_conn_slice(c, np_conn_len(c) < 100 ? np_conn_len(c) : 100, &bite);

	if (r == 0)
		r = np_conn_append(c, &bite);
	if (r == 0)
		r = np_conn_flush(c);
	return r < 0 ? r : np_conn_move(c, !np_conn_poller(c));
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	saw.bytes += arrived;
}

START_TEST(it_goes_on_at_another_poller)
{
	struct np_handlers h = {
		.sz = sizeof h, .on_request = moves, .on_move = on_move, .on_close = on_close
	};
	struct tls_peer p;

	tls = given_server_tls(NULL);
	serve(2, &h, NULL, NP_OPTS(np_server_opts, .tls = tls));
	given_peer(&p);
	for (int i = 0; i < 5; i++) {
		tls_peer_say(&p, "there and back", 14);
		tls_peer_expect(&p, "there and back");
	}
	AWAIT(saw.bytes == 5);
	tls_peer_part(&p);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_EEOF);
	end_server();
}
END_TEST

START_TEST(what_tls_holds_of_the_input_goes_along)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_request = moves_at_each_bite,
				 .on_move = on_move };
	static char text[12000], got[sizeof text];
	struct tls_peer p;

	memset(text, 'x', sizeof text);
	tls = given_server_tls(NULL);
	serve(2, &h, NULL, NP_OPTS(np_server_opts, .tls = tls, .limits = { .in_high = 1000 }));
	given_peer(&p);
	tls_peer_say(&p, text, sizeof text); /* one record */
	tls_peer_hear(&p, got, sizeof got);
	ck_assert_mem_eq(got, text, sizeof got);
	ck_assert_uint_gt(saw.bytes, 10);
	tls_peer_part(&p);
	end_server();
}
END_TEST

START_TEST(a_proxys_header_comes_first_in_the_clear)
{
	static const char header[] = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
	struct tls_peer p;
	int fd;

	tls = given_server_tls(NULL);
	serve(1, &echoes, NULL, NP_OPTS(np_server_opts, .tls = tls, .proxy = NP_PROXY_REQUIRED));
	for (int cut = 0; cut < 2; cut++) {
		fd = serve_connect(0);
		if (cut) /* header and hello in one segment */
			setsockopt(fd, IPPROTO_TCP, TCP_CORK, &cut, sizeof cut);
		peer_send(fd, header, sizeof header - 1);
		tls_peer_init(&p, fd);
		SSL_do_handshake(p.ssl);
		tls_peer_push(&p);
		setsockopt(fd, IPPROTO_TCP, TCP_CORK, &(int){ 0 }, sizeof(int));
		tls_peer_pull(&p);
		tls_peer_shake(&p);
		tls_peer_say(&p, "behind it", 9);
		tls_peer_expect(&p, "behind it");
		tls_peer_part(&p);
	}
	AWAIT(saw.closes == 2);
	ck_assert_int_eq(saw.connects, 2);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ names */

static const char *const protocols[] = { "h2", "http/1.1", NULL };

START_TEST(of_the_protocols_both_have_the_servers_first_is_spoken)
{
	struct np_tls_opts o = { .sz = sizeof o, .alpn = protocols };
	struct tls_peer p;

	given_server(NULL, &o);
	tls_peer_init(&p, serve_connect(0));
	SSL_set_alpn_protos(p.ssl,
			    (const unsigned char *)"\x03"
						   "foo\x08"
						   "http/1.1\x02"
						   "h2",
			    16);
	SSL_set_tlsext_host_name(p.ssl, "localhost");
	tls_peer_shake(&p);
	AWAIT(saw.connects == 1);
	ck_assert_str_eq(saw.alpn, "h2");
	ck_assert_str_eq(saw.sni, "localhost");
	ck_assert_str_eq(saw.version, "TLSv1.3");
	tls_peer_part(&p);
	end_server();
}
END_TEST

START_TEST(without_a_protocol_in_common_the_alert_says_so)
{
	struct np_tls_opts o = { .sz = sizeof o, .alpn = protocols };
	struct tls_peer p;

	given_server(NULL, &o);
	tls_peer_init(&p, serve_connect(0));
	SSL_set_alpn_protos(p.ssl,
			    (const unsigned char *)"\x03"
						   "foo",
			    4);
	ck_assert(!tls_peer_shake_to_the_end(&p));
	ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()),
			 SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
	tls_peer_free(&p);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ programs of others */

static int port(void)
{
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

static int answer_http(struct np_conn *c, void *arg)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
	const void *head;
	size_t n;
	int r = np_conn_until_str(c, "\r\n\r\n", 4, 8192, &head, &n);

	if (r == 0)
		r = np_conn_write(c, answer, sizeof answer - 1);
	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0 && memmem(head, n, "close", 5))
		np_conn_close(c);
	return r;
}

START_TEST(curl_and_s_client_are_served)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = answer_http };
	struct ran r;

	given_server(&h, NULL);
	if (system("command -v curl >/dev/null") == 0) {
		must_sh("curl -sS --max-time 10 --cacert %s https://localhost:%d/ https://localhost:%d/again > %s",
			in_certs("ca.pem"), port(), port(), in_certs("got"));
		must_sh("test \"$(cat %s)\" = 'hello\nhello'", in_certs("got"));
	}
	sh(&r,
	   "printf 'GET /close HTTP/1.1\\r\\n\\r\\n' | timeout 10 openssl s_client -quiet -verify_return_error "
	   "-verify_hostname localhost -CAfile %s -connect 127.0.0.1:%d 2>%s",
	   in_certs("ca.pem"), port(), in_certs("err"));
	ck_assert_msg(strstr(r.out, "hello") != NULL, "%s", r.out);
	ran_free(&r);
	end_server();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls");

	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_test(t, a_request_that_comes_with_the_finished_is_served_at_once);
	tcase_add_loop_test(t, records_cut_at_every_byte_are_put_together, 0, 4);
	tcase_add_test(t, a_megabyte_each_way_arrives_whole);
	tcase_add_test(t, a_stream_that_is_cut_is_an_error_and_no_end);
	tcase_add_test(t, behind_the_peers_close_notify_the_answer_is_still_sent);
	tcase_add_test(t, behind_ones_own_close_notify_reading_goes_on);
	tcase_add_test(t, what_is_no_tls_gets_an_alert_and_is_counted);
	tcase_add_test(t, a_handshake_that_does_not_end_is_ended);
	tcase_add_test(t, of_a_flood_of_handshakes_those_above_the_limit_get_an_alert);
	tcase_add_test(t, key_updates_without_data_come_to_an_end);
	tcase_add_test(t, a_key_update_behind_output_that_stands_is_answered);
	tcase_add_test(t, it_goes_on_at_another_poller);
	tcase_add_test(t, what_tls_holds_of_the_input_goes_along);
	tcase_add_test(t, a_proxys_header_comes_first_in_the_clear);
	tcase_add_test(t, of_the_protocols_both_have_the_servers_first_is_spoken);
	tcase_add_test(t, without_a_protocol_in_common_the_alert_says_so);
	tcase_add_test(t, curl_and_s_client_are_served);
}
