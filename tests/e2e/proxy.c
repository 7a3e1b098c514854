/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxy: examples/proxy, from both of its sides
 *
 * The test plays the upstream server as well as the client, byte by byte. Real programs go through
 * it in `make check-proxy`.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/example.h"
#include "support/peer.h"
#include "support/test.h"

static struct example proxy;
static int listener = -1, inherited = -1;
static char upstream[32], dead[32];

static void given_proxy(const char *options)
{
	if (listener < 0)
		listener = peer_listen(upstream, sizeof upstream);
	example_start(&proxy, "proxy/proxy", inherited, "--upstream %s --steer off --pollers 2 %s",
		      upstream, options);
}

static void over(void)
{
	example_end(&proxy);
	close(listener);
	listener = -1;
}

static int client(void)
{
	return example_connect(&proxy);
}

static int accepted(void)
{
	struct timeval limit = { AWAIT_MS / 1000, 0 };
	int fd;

	await_fd(listener, POLLIN);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
	return fd;
}

static void expect_bytes(int fd, const char *bytes, size_t n)
{
	char got[256];

	peer_recv(fd, got, n);
	ck_assert_mem_eq(got, bytes, n);
}

static void expect(int fd, const char *text)
{
	expect_bytes(fd, text, strlen(text));
}

START_TEST(a_fin_goes_through_and_the_answer_comes_back)
{
	int a, b;

	given_proxy("--listen 127.0.0.1:0");
	a = client();
	peer_send(a, "question", 8);
	ck_assert_int_eq(shutdown(a, SHUT_WR), 0);
	b = accepted();
	expect(b, "question");
	peer_expect_eof(b);
	peer_send(b, "answer", 6);
	expect(a, "answer");
	peer_close(&b);
	peer_expect_eof(a);
	peer_close(&a);
	over();
}
END_TEST

START_TEST(the_upstreams_fin_does_not_stop_the_client)
{
	int a, b;

	given_proxy("--listen 127.0.0.1:0");
	a = client();
	b = accepted();
	peer_send(b, "hello", 5);
	ck_assert_int_eq(shutdown(b, SHUT_WR), 0);
	expect(a, "hello");
	peer_expect_eof(a);
	peer_send(a, "still here", 10);
	expect(b, "still here");
	peer_close(&a);
	peer_expect_eof(b);
	peer_close(&b);
	over();
}
END_TEST

START_TEST(a_reset_is_a_reset_on_the_other_side)
{
	int a, b;
	char c;

	given_proxy("--listen 127.0.0.1:0");
	a = client();
	b = accepted();
	peer_send(a, "x", 1);
	expect(b, "x");
	peer_reset(_i ? &a : &b);
	ck_assert_int_eq(recv(_i ? b : a, &c, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	peer_close(_i ? &b : &a);
	over();
}
END_TEST

/* One side moves 64 MiB while the other takes nothing at first: what is on its way is bounded, and
 * none is lost. */
START_TEST(a_slow_side_stops_the_fast_one)
{
	static char block[65536];
	const size_t total = 64u << 20;
	size_t sent = 0, got = 0;
	bool stopped = false;
	ssize_t n;
	int a, b;

	given_proxy("--listen 127.0.0.1:0");
	a = client();
	b = accepted();
	memset(block, 'x', sizeof block);
	while (!stopped) {
		struct pollfd p = { a, POLLOUT, 0 };

		n = send(a, block, sizeof block, MSG_DONTWAIT);
		if (n > 0)
			sent += (size_t)n;
		else
			stopped = poll(&p, 1, 300) == 0; /* nobody takes any more */
		ck_assert_uint_lt(sent, total);
	}
	while (sent < total || got < sent) {
		n = recv(b, block, sizeof block, sent < total ? MSG_DONTWAIT : 0);
		got += n > 0 ? (size_t)n : 0;
		n = sent < total ? send(a, block, sizeof block, MSG_DONTWAIT) : 0;
		sent += n > 0 ? (size_t)n : 0;
	}
	ck_assert_uint_eq(got, sent);
	peer_close(&a);
	peer_expect_eof(b);
	peer_close(&b);
	over();
}
END_TEST

/* How many bytes @fd took before nobody took any more. */
static size_t fill(int fd)
{
	static char block[65536];
	struct pollfd p = { fd, POLLOUT, 0 };
	size_t sent = 0;
	ssize_t n;

	do {
		n = send(fd, block, sizeof block, MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
	} while (n > 0 || poll(&p, 1, 300) > 0);
	return sent;
}

/* The FIN comes while the proxy's buffer is full, and the kernel behind it is, too. */
START_TEST(all_that_came_before_the_fin_reaches_a_reader_that_is_late)
{
	size_t sent, got = 0;
	char some[4096];
	ssize_t n;
	int a, b;

	given_proxy("--listen 127.0.0.1:0");
	a = client();
	b = accepted();
	sent = fill(b);
	ck_assert_int_eq(shutdown(b, SHUT_WR), 0);
	while ((n = recv(a, some, sizeof some, 0)) > 0)
		got += (size_t)n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got, sent);
	peer_close(&a);
	peer_expect_eof(b);
	peer_close(&b);
	over();
}
END_TEST

/* All that is a header stands in tests/proxy_header.c. */
static const struct {
	const char *in, *out;
	bool is_header;
} headers[] = {
	{ "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n",
	  "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n", true },
	{ "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
	  "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", true },
	{ "PROXY UNKNOWN what ever\r\n", "PROXY TCP4 127.0.0.1 127.0.0.1 ", true },
	{ "PROXY UNKNOWN\r\n", "PROXY TCP4 127.0.0.1 127.0.0.1 ", true },
	{ "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 0 80\r\n",
	  "PROXY TCP4 192.0.2.1 192.0.2.2 0 80\r\n", true },
	{ "GET / HTTP/1.1\r\n\r\n", NULL, false },
};

#define HEADERS ((int)(sizeof headers / sizeof *headers))

START_TEST(headers_are_read_and_passed_on_and_what_is_none_ends_the_connection)
{
	int a, b;

	given_proxy("--listen 127.0.0.1:0 --accept-proxy --send-proxy 1");
	a = client();
	/* In two pieces: a header may come so. */
	peer_send(a, headers[_i].in, 5);
	peer_send(a, headers[_i].in + 5, strlen(headers[_i].in) - 5);
	if (headers[_i].is_header) {
		peer_send(a, "x", 1);
		b = accepted();
		expect(b, headers[_i].out);
		peer_close(&b);
	} else {
		ck_assert_uint_eq(peer_drain(a), 0);
	}
	peer_close(&a);
	over();
}
END_TEST

START_TEST(binary_headers_are_read)
{
	static const struct {
		int command, kind;
		size_t len;
		const char *out;
	} cases[] = {
		{ 0x21, 0x11, 12, "PROXY TCP4 1.1.1.1 1.1.1.1 257 257\r\n" },
		/* more behind: TLVs */
		{ 0x21, 0x11, 100, "PROXY TCP4 1.1.1.1 1.1.1.1 257 257\r\n" },
		{ 0x21, 0x21, 36, "PROXY TCP6 101:101:" },
		{ 0x20, 0x00, 0, "PROXY TCP4 127.0.0.1 " }, /* LOCAL: a health check */
		{ 0x21, 0x11, 11, NULL },                   /* too short for what it says */
		{ 0x2f, 0x11, 12, NULL },                   /* no such command */
		{ 0x21, 0x11, 5000, "PROXY TCP4 1.1.1.1 1.1.1.1 257 257\r\n" },
		{ 0x21, 0x21, 65535, "PROXY TCP6 101:101:" }, /* the most that a header can say */
		{ 0x20, 0x11, 65535, "PROXY TCP4 127.0.0.1 " },
	};
	static char header[16 + 65535];
	int a, b;

	given_proxy("--listen 127.0.0.1:0 --accept-proxy --send-proxy 1");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		a = client();
		peer_send(a, header,
			  peer_proxy_v2(header, cases[i].command, cases[i].kind, cases[i].len));
		if (cases[i].out) {
			b = accepted();
			expect(b, cases[i].out);
			peer_close(&b);
		} else {
			ck_assert_uint_eq(peer_drain(a), 0);
		}
		peer_close(&a);
	}
	over();
}
END_TEST

/* The limit is for the whole of it: bytes that drip do not stretch it. */
START_TEST(a_header_that_does_not_end_in_time_ends_the_connection)
{
	static const char drip[] =
		"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80 and so on, for as long as anybody may wait for it";
	struct pollfd p = { .events = POLLIN | POLLRDHUP };
	size_t n = 0;
	int a;

	given_proxy("--listen 127.0.0.1:0 --accept-proxy --header-ms 300");
	a = client();
	for (p.fd = a; n < sizeof drip - 1 && poll(&p, 1, 100) == 0; n++)
		if (send(a, drip + n, 1, MSG_NOSIGNAL) < 0)
			break;
	ck_assert_uint_lt(n, sizeof drip - 1);
	peer_close(&a);

	/* And one that has said nothing. */
	a = client();
	ck_assert_uint_eq(peer_drain(a), 0);
	peer_close(&a);
	over();
}
END_TEST

START_TEST(an_ipv4_client_of_a_dual_stack_listener_is_ipv4)
{
	int a, b;

	given_proxy(_i == 1 ? "--listen :0 --send-proxy 1" : "--listen :0 --send-proxy 2");
	a = client();
	b = accepted();
	if (_i == 1)
		expect(b, "PROXY TCP4 127.0.0.1 127.0.0.1 ");
	else
		expect_bytes(b, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01", 24);
	peer_close(&a);
	peer_close(&b);
	over();
}
END_TEST

START_TEST(a_dead_upstream_is_passed_over)
{
	char options[128];
	int a, b, hole;

	hole = peer_listen(dead, sizeof dead);
	close(hole); /* nobody is there any more */
	listener = peer_listen(upstream, sizeof upstream);
	snprintf(options, sizeof options,
		 "--listen 127.0.0.1:0 --upstream %s --retry-ms 60000 --balance %s", dead,
		 _i ? "least" : "turn");
	given_proxy(options);
	for (int i = 0; i < 20; i++) {
		a = client();
		b = accepted();
		peer_close(&a);
		peer_close(&b);
	}
	over();
}
END_TEST

START_TEST(where_no_upstream_is_left_the_client_is_let_go)
{
	int a;

	given_proxy("--listen 127.0.0.1:0");
	close(listener);
	a = client();
	ck_assert_uint_eq(peer_drain(a), 0);
	peer_close(&a);
	over();
}
END_TEST

START_TEST(sockets_of_systemd_are_served)
{
	char text[32];
	int a, b;

	inherited = peer_listen(text, sizeof text);
	given_proxy("");
	a = client();
	b = accepted();
	peer_send(a, "x", 1);
	expect(b, "x");
	peer_close(&a);
	peer_close(&b);
	over();
	close(inherited);
	inherited = -1;
}
END_TEST

START_TEST(a_pair_on_which_nothing_moves_ends_after_idle_ms)
{
	struct pollfd silent = { .events = POLLIN };
	int c, up;
	uint64_t began;

	given_proxy("--listen 127.0.0.1:0 --idle-ms 2000");
	c = client();
	up = accepted();
	silent.fd = c;
	ck_assert_int_eq(poll(&silent, 1, 500), 0);

	began = now_ms();
	peer_send(c, "x", 1);
	expect(up, "x");

	peer_expect_eof(c);
	ck_assert_uint_ge(now_ms() - began, 1990); /* since the last byte, to a tick of the clock */
	peer_expect_eof(up);
	peer_close(&c);
	peer_close(&up);
	over();
}
END_TEST

START_TEST(a_stop_ends_pairs_that_are_open)
{
	int a, b;

	given_proxy("--listen 127.0.0.1:0");
	a = client();
	b = accepted();
	peer_send(a, "x", 1);
	expect(b, "x");
	over();
	peer_drain(a);
	peer_drain(b);
	peer_close(&a);
	peer_close(&b);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "proxy");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_fin_goes_through_and_the_answer_comes_back);
	tcase_add_test(t, the_upstreams_fin_does_not_stop_the_client);
	tcase_add_loop_test(t, a_reset_is_a_reset_on_the_other_side, 0, 2);
	tcase_add_test(t, a_slow_side_stops_the_fast_one);
	tcase_add_loop_test(t, all_that_came_before_the_fin_reaches_a_reader_that_is_late, 0, 3);
	tcase_add_loop_test(t, headers_are_read_and_passed_on_and_what_is_none_ends_the_connection,
			    0, HEADERS);
	tcase_add_test(t, binary_headers_are_read);
	tcase_add_test(t, a_header_that_does_not_end_in_time_ends_the_connection);
	tcase_add_loop_test(t, an_ipv4_client_of_a_dual_stack_listener_is_ipv4, 1, 3);
	tcase_add_loop_test(t, a_dead_upstream_is_passed_over, 0, 2);
	tcase_add_test(t, where_no_upstream_is_left_the_client_is_let_go);
	tcase_add_test(t, sockets_of_systemd_are_served);
	tcase_add_test(t, a_pair_on_which_nothing_moves_ends_after_idle_ms);
	tcase_add_test(t, a_stop_ends_pairs_that_are_open);
}
