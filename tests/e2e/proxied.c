/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxied: a server behind a load balancer sees its clients; what begins with no header is refused
 *
 * The test is the balancer. Which bytes are a header stands in tests/proxy_header.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netpoll/conn.h>
#include <netpoll/server.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

static const char line[] = "PROXY TCP4 192.0.2.1 198.51.100.2 1000 80\r\n";
static _Atomic(unsigned) prepared, connected, requests, left, closed;
static _Atomic(int) error, seen_in_prepare;

static void number(struct np_conn *c, char *dst, size_t cap)
{
	struct sockaddr_storage ss[2];
	socklen_t len;
	char host[2][INET6_ADDRSTRLEN];
	int port[2];

	ck_assert_int_eq(np_conn_remote_addr(c, &ss[0], &len), 0);
	ck_assert_int_eq(np_conn_local_addr(c, &ss[1], &len), 0);
	for (int i = 0; i < 2; i++) {
		bool v4 = ss[i].ss_family == AF_INET;

		port[i] = ntohs(((struct sockaddr_in *)&ss[i])->sin_port);
		inet_ntop(ss[i].ss_family,
			  v4 ? (void *)&((struct sockaddr_in *)&ss[i])->sin_addr :
			       (void *)&((struct sockaddr_in6 *)&ss[i])->sin6_addr,
			  host[i], sizeof host[i]);
	}
	snprintf(dst, cap, "%s %d -> %s %d\n", host[0], port[0], host[1], port[1]);
}

static int on_prepare(struct np_conn *c, void *arg)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (np_conn_remote_addr(c, &ss, &len) == 0)
		seen_in_prepare = ss.ss_family;
	prepared++;
	return 0;
}

static int on_connect(struct np_conn *c, void *arg)
{
	connected++;
	return 0;
}

/* "a": its addresses; anything else is echoed. */
static int on_request(struct np_conn *c, void *arg)
{
	char text[200];
	const void *p;
	size_t n = np_conn_len(c);
	int r = np_conn_next(c, n, &p);

	requests++;
	if (r == 0 && *(const char *)p == 'a') {
		number(c, text, sizeof text);
		r = np_conn_write(c, text, strlen(text));
	} else if (r == 0) {
		r = np_conn_write(c, p, n);
	}
	return r < 0 ? r : np_conn_flush(c);
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	left++;
}

static void on_close(struct np_conn *c, void *arg)
{
	error = np_conn_error(c);
	closed++;
}

static const struct np_handlers handlers = {
	.sz = sizeof handlers,
	.on_prepare = on_prepare,
	.on_connect = on_connect,
	.on_request = on_request,
	.on_disconnect = on_disconnect,
	.on_close = on_close,
};

static void given(const struct np_server_opts *o)
{
	struct np_server_opts own = *o;

	own.steer = NP_STEER_OFF;
	serve(1, &handlers, NULL, &own);
}

static void given_required(void)
{
	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED));
}

static void expect(int fd, const char *text)
{
	char got[256] = "";

	peer_recv(fd, got, strlen(text));
	ck_assert_str_eq(got, text);
}

static void expect_stats(uint64_t taken, uint64_t refused)
{
	struct np_server_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_eq(st.proxied, taken);
	ck_assert_uint_eq(st.proxy_refused, refused);
}

/* It ends, and of the handlers on_close alone has run. */
static void expect_refused(int *fd, uint64_t n)
{
	ck_assert_uint_eq(peer_drain(*fd), 0);
	peer_close(fd);
	AWAIT(closed == n);
	ck_assert_uint_eq(connected + requests + left, 0);
	expect_stats(0, n);
}

/* ------------------------------------------------------------------ taken */

START_TEST(the_client_is_the_one_that_the_header_names)
{
	int fd;

	given_required();
	fd = serve_connect(0);
	peer_send(fd, line, sizeof line - 1);
	AWAIT(connected == 1); /* without a byte of a request */
	peer_send(fd, "a", 1);
	expect(fd, "192.0.2.1 1000 -> 198.51.100.2 80\n");
	ck_assert_int_eq(seen_in_prepare, AF_INET);
	expect_stats(1, 0);
	peer_close(&fd);
	AWAIT(closed == 1);
	ck_assert_uint_eq(left, 1);
	serve_end();
}
END_TEST

START_TEST(a_request_in_the_same_segment_is_served_at_once)
{
	char both[sizeof line];
	int fd;

	given_required();
	memcpy(both, line, sizeof line - 1);
	both[sizeof line - 1] = 'a';
	fd = serve_connect(0);
	peer_send(fd, both, sizeof both);
	expect(fd, "192.0.2.1 1000 -> 198.51.100.2 80\n");
	peer_send(fd, "x", 1);
	expect(fd, "x");
	ck_assert_uint_eq(requests, 2);
	peer_close(&fd);
	serve_end();
}
END_TEST

static const struct np_handlers no_connect = {
	.sz = sizeof no_connect,
	.on_request = on_request,
};

START_TEST(a_server_without_on_connect_reads_it_too)
{
	int fd;

	serve(1, &no_connect, NULL,
	      NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .steer = NP_STEER_OFF));
	fd = serve_connect(0);
	peer_send(fd, line, sizeof line - 1);
	peer_send(fd, "a", 1);
	expect(fd, "192.0.2.1 1000 -> 198.51.100.2 80\n");
	peer_close(&fd);
	serve_end();
}
END_TEST

/* Each byte in a segment of its own, and a limit on input that no header fits in. */
START_TEST(a_header_may_come_byte_by_byte)
{
	static char header[16 + 300];
	size_t n = _i ? peer_proxy_v2(header, 0x21, 0x11, 300) : sizeof line - 1;
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .limits = { .in_high = 4 }));
	fd = serve_connect(0);
	for (size_t i = 0; i < n; i++) {
		peer_send(fd, _i ? &header[i] : &line[i], 1);
		test_pause();
	}
	peer_send(fd, "a", 1);
	expect(fd, _i ? "1.1.1.1 257 -> 1.1.1.1 257\n" : "192.0.2.1 1000 -> 198.51.100.2 80\n");
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(all_that_a_binary_header_can_say_is_skipped)
{
	static char header[16 + 65535];
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .limits = { .in_high = 4096 }));
	fd = serve_connect(0);
	peer_send(fd, header, peer_proxy_v2(header, 0x21, 0x21, 65535));
	peer_send(fd, "a", 1);
	expect(fd, "101:101:101:101:101:101:101:101 257 -> ");
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(one_that_names_no_client_leaves_the_sockets_addresses)
{
	static const struct {
		int command, kind;
		size_t len;
	} cases[] = { { 0x20, 0, 0 }, { 0x20, 0x11, 65535 }, { 0x21, 0x31, 216 }, { 0x21, 0, 7 } };
	static char header[16 + 65535];
	int fd;

	given_required();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fd = serve_connect(0);
		peer_send(fd, header,
			  peer_proxy_v2(header, cases[i].command, cases[i].kind, cases[i].len));
		peer_send(fd, "a", 1);
		expect(fd, "127.0.0.1 ");
		peer_close(&fd);
	}
	fd = serve_connect(0);
	peer_send(fd, "PROXY UNKNOWN\r\na", 16);
	expect(fd, "127.0.0.1 ");
	peer_close(&fd);
	AWAIT(closed == 5);
	expect_stats(5, 0);
	serve_end();
}
END_TEST

START_TEST(an_ipv4_client_in_ipv6_notation_is_ipv4)
{
	static const char mapped[] = "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\na";
	int fd;

	given_required();
	fd = serve_connect(0);
	peer_send(fd, mapped, sizeof mapped - 1);
	expect(fd, "192.0.2.1 1 -> 192.0.2.2 2\n");
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ refused */

START_TEST(what_begins_with_no_header_is_refused_and_counted)
{
	static const char *const none[] = { "GET / HTTP/1.1\r\n\r\n", "x",
					    "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", "\r\n\r\nQ",
					    "\x16\x03\x01\x02" };
	uint64_t n = 0;
	int fd;

	given_required();
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		fd = serve_connect(0);
		peer_send(fd, none[i], strlen(none[i]));
		expect_refused(&fd, ++n);
		ck_assert_int_eq(error, -EBADMSG);
	}
	ck_assert_uint_eq(prepared, n);
	serve_end();
}
END_TEST

START_TEST(a_length_that_lies_is_refused)
{
	char header[64];
	uint64_t n = 0;
	int fd;

	given_required();
	/* less than its addresses take */
	fd = serve_connect(0);
	peer_send(fd, header, peer_proxy_v2(header, 0x21, 0x11, 11));
	expect_refused(&fd, ++n);
	/* more than comes, behind whole addresses: within the header is no end */
	peer_proxy_v2(header, 0x21, 0x11, 12);
	header[15] = 40;
	fd = serve_connect(0);
	peer_send(fd, header, 28);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	expect_refused(&fd, ++n);
	serve_end();
}
END_TEST

/* At each byte: FIN, or RST. */
START_TEST(a_peer_that_leaves_within_its_header_is_refused)
{
	uint64_t n = 0;
	int fd;

	given_required();
	for (size_t at = 1; at < sizeof line - 1; at += 5) {
		fd = serve_connect(0);
		peer_send(fd, line, at);
		if (_i)
			peer_reset(&fd);
		else
			peer_close(&fd);
		n++;
		AWAIT(closed == n);
	}
	ck_assert_uint_eq(connected + requests + left, 0);
	if (!_i) /* a reset may drop what was sent: then there was nothing */
		expect_stats(0, n);
	serve_end();
}
END_TEST

START_TEST(a_plain_connect_check_is_not_counted)
{
	int fd;

	given_required();
	fd = serve_connect(0);
	AWAIT(prepared == 1);
	peer_close(&fd);
	AWAIT(closed == 1);
	fd = serve_connect(0);
	AWAIT(prepared == 2);
	peer_reset(&fd);
	AWAIT(closed == 2);
	expect_stats(0, 0);
	ck_assert_uint_eq(connected + left, 0);
	serve_end();
}
END_TEST

/* The limit is for the whole of it: bytes that drip do not stretch it. */
START_TEST(a_header_that_does_not_end_in_time_is_refused)
{
	static const char drip[] =
		"PROXY UNKNOWN and so on, for as long as anybody may wait for the end of this line";
	struct pollfd p = { .events = POLLIN | POLLRDHUP };
	size_t n = 0;
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .proxy_header_ms = 300));
	p.fd = fd = serve_connect(0);
	for (; n < sizeof drip - 1 && poll(&p, 1, 50) == 0; n++)
		if (send(fd, drip + n, 1, MSG_NOSIGNAL) < 0)
			break;
	ck_assert_uint_lt(n, sizeof drip - 1);
	expect_refused(&fd, 1);
	ck_assert_int_eq(error, -ETIMEDOUT);
	/* and one that has said nothing */
	fd = serve_connect(0);
	expect_refused(&fd, 2);
	serve_end();
}
END_TEST

START_TEST(one_that_came_in_time_has_all_the_time_behind_it)
{
	struct pollfd p = { .events = POLLIN | POLLRDHUP };
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .proxy_header_ms = 1000));
	p.fd = fd = serve_connect(0);
	peer_send(fd, line, sizeof line - 1);
	ck_assert_int_eq(poll(&p, 1, 1300), 0);
	peer_send(fd, "x", 1);
	expect(fd, "x");
	peer_close(&fd);
	serve_end();
}
END_TEST

/* Nor does a request's limit count from the header on: on_connect may take its time. */
static int slow_connect(struct np_conn *c, void *arg)
{
	int r = np_sleep(200);

	connected++;
	return r;
}

START_TEST(a_request_begins_behind_the_header)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = slow_connect,
					      .on_request = on_request };
	int fd;

	serve(1, &h, NULL,
	      NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .steer = NP_STEER_OFF,
		      .request_timeout_ms = 100, .proxy_header_ms = _i ? -1 : 0));
	fd = serve_connect(0);
	peer_send(fd, line, sizeof line - 1);
	AWAIT(connected == 1);
	peer_send(fd, "a", 1);
	expect(fd, "192.0.2.1 1000 -> 198.51.100.2 80\n");
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(no_limit_is_none)
{
	struct pollfd p = { .events = POLLIN | POLLRDHUP };
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .proxy_header_ms = -1));
	p.fd = fd = serve_connect(0);
	ck_assert_int_eq(poll(&p, 1, 100), 0);
	peer_send(fd, line, sizeof line - 1);
	peer_send(fd, "x", 1);
	expect(fd, "x");
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ sources */

START_TEST(a_source_that_is_not_in_the_list_is_refused)
{
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .proxy_from = "192.0.2.0/24"));
	fd = serve_connect(0);
	ck_assert_uint_eq(peer_drain(fd), 0);
	peer_close(&fd);
	AWAIT(serve_conns() == 0);
	expect_stats(0, 1);
	ck_assert_uint_eq(prepared + closed, 0);
	serve_end();
}
END_TEST

START_TEST(where_both_come_others_are_clients_of_their_own)
{
	bool believed = _i;
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_MIXED,
		      .proxy_from = believed ? "127.0.0.0/8" : "192.0.2.1"));
	fd = serve_connect(0);
	if (believed) {
		peer_send(fd, line, sizeof line - 1);
		peer_send(fd, "a", 1);
		expect(fd, "192.0.2.1 1000 -> 198.51.100.2 80\n");
	} else {
		peer_send(fd, line, sizeof line - 1); /* a request like any other */
		expect(fd, line);
		peer_send(fd, "a", 1);
		expect(fd, "127.0.0.1 ");
	}
	expect_stats(believed, 0);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(a_unix_socket_is_a_source)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_storage ss = { 0 };
	socklen_t len;
	char name[64];
	int fd;

	snprintf(name, sizeof name, "@np-proxied-%d", (int)getpid());
	ck_assert_int_eq(np_server_new(NULL, &handlers, NULL,
				       NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED,
					       .proxy_from = _i ? "unix" : "0.0.0.0/0"),
				       &serve_server),
			 0);
	ck_assert_int_eq(np_server_listen(serve_server, "unix", name), 0);
	ck_assert_int_eq(np_server_start(serve_server), 0);
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	memcpy(un.sun_path + 1, name + 1, strlen(name) - 1);
	memcpy(&ss, &un, sizeof un);
	fd = peer_connect(&ss, len);
	if (_i) {
		peer_send(fd, line, sizeof line - 1);
		peer_send(fd, "a", 1);
		expect(fd, "192.0.2.1 1000 -> 198.51.100.2 80\n");
	} else {
		ck_assert_uint_eq(peer_drain(fd), 0);
	}
	peer_close(&fd);
	serve_over(&serve_server);
}
END_TEST

START_TEST(options_that_say_nothing_sensible_are_refused)
{
	struct np_server *s = NULL;

	ck_assert_int_eq(np_server_new(NULL, &handlers, NULL,
				       NP_OPTS(np_server_opts, .proxy = NP_PROXY_MIXED), &s),
			 -EINVAL);
	ck_assert_int_eq(np_server_new(NULL, &handlers, NULL,
				       NP_OPTS(np_server_opts, .proxy = NP_PROXY_MIXED + 1), &s),
			 -EINVAL);
	ck_assert_int_eq(np_server_new(NULL, &handlers, NULL,
				       NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED,
					       .proxy_from = "10.0.0.1/8"),
				       &s),
			 -EINVAL);
	ck_assert_ptr_null(s);
}
END_TEST

/* ------------------------------------------------------------------ the end */

/* A stop waits for its first request, and a header alone is none. */
START_TEST(one_of_which_only_the_header_has_come_is_fresh)
{
	struct np_server_stats st = { .sz = sizeof st };
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .fresh_ms = 50, .drain_ms = 1,
		      .linger_ms = 1));
	fd = serve_connect(0);
	peer_send(fd, line, sizeof line - 1);
	AWAIT(connected == 1);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_eq(st.fresh, 1);
	ck_assert_uint_eq(st.drained, 0);
	peer_expect_eof(fd);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(a_stop_ends_one_that_has_not_said_all_of_its_header)
{
	int fd;

	given(NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .proxy_header_ms = -1,
		      .linger_ms = 1));
	fd = serve_connect(0);
	peer_send(fd, line, _i);
	AWAIT(prepared == 1);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	ck_assert_uint_eq(peer_drain(fd), 0);
	peer_close(&fd);
	serve_end();
}
END_TEST

/*
 * ------------------------------------------------------------------ a move that is asked for early
 */

static _Atomic(unsigned) asked, moved, early;

static void ask_to_move(struct np_conn *c, void *arg)
{
	asked += np_conn_move(c, !np_conn_poller(c)) == 0;
}

static int prepare_and_ask(struct np_conn *c, void *arg)
{
	return np_conn_post(c, ask_to_move, NULL);
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	early += !connected && arg == NULL;
	moved += arrived;
}

/* Without on_connect the header alone is waited for. */
START_TEST(a_move_waits_for_on_connect)
{
	const struct np_handlers h = { .sz = sizeof h,
				       .on_prepare = prepare_and_ask,
				       .on_connect = _i ? NULL : on_connect,
				       .on_request = on_request,
				       .on_move = on_move };
	int fd;

	serve(2, &h, _i ? &early : NULL,
	      NP_OPTS(np_server_opts, .proxy = NP_PROXY_REQUIRED, .steer = NP_STEER_OFF));
	fd = serve_connect(0);
	AWAIT(asked == 1);
	ck_assert_uint_eq(moved, 0);
	peer_send(fd, line, sizeof line - 1);
	AWAIT(moved == 1);
	ck_assert_uint_eq(early, 0);
	peer_send(fd, "a", 1);
	expect(fd, "192.0.2.1 1000 -> 198.51.100.2 80\n");
	peer_close(&fd);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "proxied");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_client_is_the_one_that_the_header_names);
	tcase_add_test(t, a_request_in_the_same_segment_is_served_at_once);
	tcase_add_test(t, a_server_without_on_connect_reads_it_too);
	tcase_add_loop_test(t, a_header_may_come_byte_by_byte, 0, 2);
	tcase_add_test(t, all_that_a_binary_header_can_say_is_skipped);
	tcase_add_test(t, one_that_names_no_client_leaves_the_sockets_addresses);
	tcase_add_test(t, an_ipv4_client_in_ipv6_notation_is_ipv4);
	tcase_add_test(t, what_begins_with_no_header_is_refused_and_counted);
	tcase_add_test(t, a_length_that_lies_is_refused);
	tcase_add_loop_test(t, a_peer_that_leaves_within_its_header_is_refused, 0, 2);
	tcase_add_test(t, a_plain_connect_check_is_not_counted);
	tcase_add_test(t, a_header_that_does_not_end_in_time_is_refused);
	tcase_add_test(t, one_that_came_in_time_has_all_the_time_behind_it);
	tcase_add_loop_test(t, a_request_begins_behind_the_header, 0, 2);
	tcase_add_test(t, no_limit_is_none);
	tcase_add_test(t, a_source_that_is_not_in_the_list_is_refused);
	tcase_add_loop_test(t, where_both_come_others_are_clients_of_their_own, 0, 2);
	tcase_add_loop_test(t, a_unix_socket_is_a_source, 0, 2);
	tcase_add_test(t, options_that_say_nothing_sensible_are_refused);
	tcase_add_test(t, one_of_which_only_the_header_has_come_is_fresh);
	tcase_add_loop_test(t, a_stop_ends_one_that_has_not_said_all_of_its_header, 0, 2);
	tcase_add_loop_test(t, a_move_waits_for_on_connect, 0, 2);
}
