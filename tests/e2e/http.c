/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http: examples/http as clients meet it that nobody else writes: raw bytes, at every seam
 *
 * What it serves out of a folder is in http_files.c; real clients and random requests come in
 * `make check-http`.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/http.h"
#include "support/peer.h"
#include "support/run.h"
#include "support/test.h"

#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

static struct answer a;

/* ------------------------------------------------------------------ what is a request */

#define X1K16 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64
#define X64   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
	const char *request;
	int status;
} heads[] = {
	/* well */
	{ "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 200 },
	{ "\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 200 },
	{ "GET http://a/hello?q HTTP/1.1\r\nHost: b\r\n\r\n", 200 },
	{ "GET /hello HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200 },
	{ "GET /hello HTTP/1.1\r\nhOST:a\r\n\r\n", 200 },
	{ "GET /hello HTTP/1.0\r\n\r\n", 200 },
	{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 204 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 200 },
	/* what the parser takes */
	{ "GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\nHost: a\n\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\n\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\nX: y\rZ: z\r\n\r\n", 400 },
	{ "\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a, b\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a@b\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.9\r\nHost: a\r\n\r\n", 505 },
	{ "GET /hello HTTP/1.2\r\nHost: a\r\n\r\n", 505 },
	{ "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
	{ "GET /hello HTTP/0.9\r\nHost: a\r\n\r\n", 505 },
	{ "GET /hello HTTP/2.0\r\n\r\n", 505 },
	{ "GET /hello\r\n\r\n", 505 },
	{ "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	  400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	  400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	  400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
	  400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", 400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\na", 400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na", 400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", 400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\na", 400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", 400 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", 400 },
	/* codings */
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 501 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 501 },
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	  400 },
	/* methods */
	{ "BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
	{ "get /hello HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
	{ "GETT /hello HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
	{ "POST /hello HTTP/1.1\r\nHost: a\r\n\r\n", 405 },
	{ "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405 },
	{ "TRACE /hello HTTP/1.1\r\nHost: a\r\n\r\n", 405 },
	{ "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405 },
	/* no requests */
	{ " GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "\x16\x03\x01\x02", 400 },
	{ "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET hello HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello  HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1 \r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello HTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.x\r\nHost: a\r\n\r\n", 400 },
	{ "GET /h\xc3\xa4llo HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /h\x7fllo HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello#x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400 },
	{ "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\x01z\r\n\r\n", 400 },
	/* expectations */
	{ "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\na", 417 },
};

#define HEADS (sizeof heads / sizeof *heads)

START_TEST(each_head_gets_its_status_and_what_is_wrong_ends_the_connection)
{
	NEEDS_HTTP();
	http_start("");
	for (size_t i = 0; i < HEADS; i++) {
		int status = http_ask_once(&a, heads[i].request);

		ck_assert_msg(status == heads[i].status, "%s: %d, not %d", heads[i].request, status,
			      heads[i].status);
		ck_assert_msg((status < 400 || status == 405) ||
				      answer_has(&a, "Connection: close"),
			      "%s: the connection stays", heads[i].request);
		answer_must_have(&a, "X-Content-Type-Options: nosniff");
		ck_assert_msg(status != 405 || strstr(a.head, "\r\nAllow: "), "%s", a.head);
	}
	http_end();
}
END_TEST

/* A NUL is no string's, so it is here. */
START_TEST(a_nul_in_a_head_is_refused)
{
	static const char request[] = "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
	int fd;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	peer_send(fd, request, sizeof request - 1);
	http_read(fd, &a);
	ck_assert_int_eq(a.status, 400);
	peer_close(&fd);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ sizes */

/* A request line of @line bytes, its end included, @n more headers, and a head of @all bytes. */
static char *big_head(size_t line, int n, size_t all)
{
	char *text = calloc(1, all + line + 6 * (size_t)n + 64), *at = text;
	size_t pad;

	at += sprintf(at, "GET /hello?");
	memset(at, 'q', line - 22);
	at += line - 22;
	at += sprintf(at, " HTTP/1.1\r\nHost: a\r\n");
	for (int i = 0; i < n; i++)
		at += sprintf(at, "X: y\r\n");
	if (all > (size_t)(at - text) + 7) {
		pad = all - (size_t)(at - text) - 7;
		at += sprintf(at, "P: ");
		memset(at, 'p', pad);
		at += pad;
		at += sprintf(at, "\r\n");
	}
	strcpy(at, "\r\n");
	return text;
}

START_TEST(heads_have_a_limit_which_is_told_to_the_byte)
{
	static const struct {
		size_t line;
		int headers;
		size_t all;
		int status;
	} cases[] = {
		{ 8192, 0, 0, 200 },     { 8193, 0, 0, 414 },      { 100000, 0, 0, 414 },
		{ 100, 99, 0, 200 },     { 100, 100, 0, 431 },     { 100, 1000, 0, 431 },
		{ 100, 0, 16384, 200 },  { 100, 0, 16385, 431 },   { 100, 0, 1 << 20, 431 },
		{ 8192, 0, 16384, 200 }, { 8192, 98, 16384, 200 }, { 8192, 99, 16384, 431 },
	};

	NEEDS_HTTP();
	http_start("");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *text = big_head(cases[i].line, cases[i].headers, cases[i].all);
		int fd = http_connect();

		/* the server may have closed by the time that all is sent */
		ck_assert_int_gt(send(fd, text, strlen(text), MSG_NOSIGNAL), 0);
		http_read(fd, &a);
		ck_assert_msg(a.status == cases[i].status, "case %zu: %d", i, a.status);
		peer_close(&fd);
		free(text);
	}
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ seams */

START_TEST(a_request_may_be_split_at_every_byte)
{
	static const struct {
		const char *request, *body;
	} cases[] = {
		{ "\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n", "hello\n" },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", "abcde" },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "3;x=y\r\nabc\r\n02\r\nde\r\n000\r\nTrailer: x\r\n\r\n",
		  "abcde" },
	};
	int fd;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(cases[i].request);

		for (size_t k = 1; k < n; k++) {
			peer_send(fd, cases[i].request, k);
			test_pause(); /* the server reads the first part alone */
			peer_send(fd, cases[i].request + k, n - k);
			http_read(fd, &a);
			answer_must_be(&a, 200, cases[i].body);
		}
	}
	peer_close(&fd);
	http_end();
}
END_TEST

START_TEST(a_request_may_come_byte_by_byte)
{
	const char *request = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
			      "3\r\nabc\r\n0\r\n\r\n" HELLO;
	int fd;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	for (const char *p = request; *p; p++) {
		peer_send(fd, p, 1);
		test_pause();
	}
	http_read(fd, &a);
	answer_must_be(&a, 200, "abc");
	http_read(fd, &a);
	answer_must_be(&a, 200, "hello\n");
	peer_close(&fd);
	http_end();
}
END_TEST

static char *many_hellos(int n)
{
	char *text = calloc((size_t)n + 1, sizeof HELLO), *at = text;

	for (int i = 0; i < n; i++)
		at = stpcpy(at, HELLO);
	return text;
}

static unsigned segments_in(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof info;

	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_data_segs_in;
}

START_TEST(pipelined_requests_are_answered_in_order_and_in_one_write)
{
	static const int depths[] = { 1, 16, 1000 };
	int fd;

	NEEDS_HTTP();
	http_start("");
	for (int i = 0; i < 3; i++) {
		char *text = many_hellos(depths[i]);

		fd = http_connect();
		http_send(fd, text);
		http_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlast");
		for (int k = 0; k < depths[i]; k++) {
			http_read(fd, &a);
			answer_must_be(&a, 200, "hello\n");
			ck_assert(depths[i] != 16 || k || segments_in(fd) <= 2);
		}
		http_read(fd, &a);
		answer_must_be(&a, 200, "last");
		peer_close(&fd);
		free(text);
	}
	http_end();
}
END_TEST

START_TEST(a_client_that_has_sent_its_fin_gets_all_its_answers)
{
	char *text = many_hellos(16);
	int fd;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	http_send(fd, text);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	for (int k = 0; k < 16; k++) {
		http_read(fd, &a);
		answer_must_be(&a, 200, "hello\n");
	}
	peer_expect_eof(fd);
	peer_close(&fd);
	free(text);
	http_end();
}
END_TEST

START_TEST(a_body_that_ends_too_soon_is_a_bad_request)
{
	static const char *const requests[] = {
		"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc",
		"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5",
	};

	NEEDS_HTTP();
	http_start("");
	for (int i = 0; i < 4; i++) {
		int fd = http_connect();

		http_send(fd, requests[i]);
		ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
		http_read(fd, &a);
		ck_assert_int_eq(a.status, 400);
		peer_expect_eof(fd);
		peer_close(&fd);
	}
	http_end();
}
END_TEST

START_TEST(a_reset_in_the_middle_of_a_body_harms_nobody_else)
{
	int fd, other;

	NEEDS_HTTP();
	http_start("");
	other = http_connect();
	for (int i = 0; i < 2; i++) {
		fd = http_connect();
		http_send(fd,
			  "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
		http_read_head(fd, &a); /* it is at work on it */
		ck_assert_int_eq(http_ask(other, &a, HELLO), 200);
		peer_reset(&fd);
		ck_assert_int_eq(http_ask(other, &a, HELLO), 200);
	}
	peer_close(&other);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ bodies */

START_TEST(chunks_are_read_by_the_letter)
{
	static const struct {
		const char *chunks;
		int status;
	} cases[] = {
		{ "0\r\n\r\n", 200 },
		{ "1;a=b;c=\"d\"\r\nx\r\n0;e\r\nT: u\r\nV: w\r\n\r\n", 200 },
		{ "A\r\n0123456789\r\n0\r\n\r\n", 200 },
		{ "g\r\n", 400 },
		{ "\r\n", 400 },
		{ "-1\r\n", 400 },
		{ "0x1\r\nx\r\n", 400 },
		{ " 1\r\nx\r\n", 400 },
		{ "1 \r\nx\r\n", 400 },
		{ "1\nx\r\n0\r\n\r\n", 400 },
		{ "1\r\nxyz0\r\n\r\n", 400 },
		{ "1\r\nx\n\n0\r\n\r\n", 400 },
		{ "1;a\rb\r\nx\r\n0\r\n\r\n", 400 },
		{ "0\r\nT: u\n\r\n", 400 },
		{ "10000000000000000\r\n", 400 },
		{ "ffffffffffffffff\r\n", 413 },
		{ "1;" X1K16 "\r\nx\r\n0\r\n\r\n", 400 },
	};
	char text[4096];

	NEEDS_HTTP();
	http_start("");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(text, sizeof text,
			 "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s",
			 cases[i].chunks);
		http_ask_once(&a, text);
		ck_assert_msg(a.status == cases[i].status, "%s: %d", cases[i].chunks, a.status);
	}
	http_end();
}
END_TEST

START_TEST(chunks_go_out_as_they_come_in)
{
	int fd;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	http_send(
		fd,
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
	http_read_head(fd, &a);
	answer_must_have(&a, "Transfer-Encoding: chunked");
	peer_recv(fd, a.body, 8); /* before the body has ended */
	ck_assert_mem_eq(a.body, "3\r\nabc\r\n", 8);
	http_send(fd, "0\r\n\r\n");
	peer_recv(fd, a.body, 5);
	ck_assert_mem_eq(a.body, "0\r\n\r\n", 5);
	ck_assert_int_eq(http_ask(fd, &a, HELLO), 200);
	peer_close(&fd);
	http_end();
}
END_TEST

START_TEST(a_body_over_the_limit_is_refused_before_it_is_read)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{ "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789", 200 },
		{ "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413 },
		{ "POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n",
		  413 },
		{ "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "5\r\n01234\r\n5\r\n01234\r\n0\r\n\r\n",
		  200 },
		{ "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "5\r\n01234\r\n6\r\n",
		  413 },
	};

	NEEDS_HTTP();
	http_start("--body-max 10");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		http_ask_once(&a, cases[i].request);
		ck_assert_msg(a.status == cases[i].status, "%s: %d", cases[i].request, a.status);
	}
	http_end();
}
END_TEST

START_TEST(a_client_that_waits_for_100_is_told_to_go_on)
{
	const char *head = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
			   "Content-Length: 3\r\n\r\n";
	int fd;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	http_send(fd, head);
	http_read_head(fd, &a);
	ck_assert_int_eq(a.status, 100);
	http_send(fd, "abc");
	http_read(fd, &a);
	answer_must_be(&a, 200, "abc");
	/* one that does not wait need not be told */
	http_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n"
		      "Content-Length: 3\r\n\r\nabc");
	http_read(fd, &a);
	answer_must_be(&a, 200, "abc");
	peer_close(&fd);
	http_end();
}
END_TEST

/* What stands where a request should is a body that nobody read: it is not taken for one. */
START_TEST(a_body_that_is_not_read_ends_the_connection)
{
	int fd;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	http_send(fd, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n" HELLO HELLO);
	http_read(fd, &a);
	ck_assert_int_eq(a.status, 405);
	answer_must_have(&a, "Connection: close");
	peer_expect_eof(fd);
	peer_close(&fd);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ connections */

START_TEST(who_keeps_a_connection_is_what_the_versions_say)
{
	static const struct {
		const char *request, *line; /* NULL: none about the connection */
	} cases[] = {
		{ "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", NULL },
		{ "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		  "Connection: close" },
		{ "GET /hello HTTP/1.0\r\n\r\n", "Connection: close" },
		{ "GET /hello HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
		  "Connection: keep-alive" },
	};

	NEEDS_HTTP();
	http_start("");
	for (int i = 0; i < 4; i++) {
		http_ask_once(&a, cases[i].request);
		answer_must_be(&a, 200, "hello\n");
		if (cases[i].line)
			answer_must_have(&a, cases[i].line);
		else
			ck_assert_ptr_null(strstr(a.head, "Connection:"));
	}
	http_end();
}
END_TEST

START_TEST(head_is_get_without_its_body)
{
	int fd;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	http_send(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n"
		      "HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);
	http_read_head(fd, &a);
	ck_assert_int_eq(a.status, 200);
	answer_must_have(&a, "Content-Length: 6");
	http_read_head(fd, &a);
	ck_assert_int_eq(a.status, 404);
	http_read(fd, &a);
	answer_must_be(&a, 200, "hello\n");
	peer_close(&fd);
	http_end();
}
END_TEST

START_TEST(the_methods_of_a_path_are_told)
{
	static const struct {
		const char *request, *allow;
		int status;
	} cases[] = {
		{ "OPTIONS /hello HTTP/1.1\r\nHost: a\r\n\r\n", "Allow: GET, HEAD, OPTIONS", 204 },
		{ "OPTIONS /echo HTTP/1.1\r\nHost: a\r\n\r\n", "Allow: POST, PUT, OPTIONS", 204 },
		{ "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n", "Allow: GET, HEAD, OPTIONS", 405 },
		{ "GET /upload HTTP/1.1\r\nHost: a\r\n\r\n", "Allow: POST, PUT, OPTIONS", 405 },
	};

	NEEDS_HTTP();
	http_start("");
	for (int i = 0; i < 4; i++) {
		http_ask_once(&a, cases[i].request);
		ck_assert_int_eq(a.status, cases[i].status);
		answer_must_have(&a, cases[i].allow);
	}
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ time */

/* Sends a byte of @text now and then, as long as nothing comes back. */
static void drip(int fd, const char *text)
{
	struct pollfd p = { fd, POLLIN, 0 };
	uint64_t end = now_ms() + AWAIT_MS;

	while (poll(&p, 1, 5) == 0) {
		ck_assert_uint_lt(now_ms(), end);
		ck_assert_int_eq(send(fd, text, 1, MSG_NOSIGNAL), 1);
	}
}

START_TEST(a_head_that_does_not_end_in_time_is_told_so_however_it_drips)
{
	int fd;

	NEEDS_HTTP();
	http_start("--head-ms 100");
	for (int i = 0; i < 2; i++) {
		fd = http_connect();
		http_send(fd, "GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
		if (i)
			drip(fd, "x");
		http_read(fd, &a);
		ck_assert_int_eq(a.status, 408);
		answer_must_have(&a, "Connection: close");
		peer_close(&fd);
	}
	http_end();
}
END_TEST

START_TEST(a_body_that_does_not_end_in_time_is_told_so_however_it_drips)
{
	static const char *const heads[] = {
		"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
		"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
		"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;",
	};
	int fd;

	NEEDS_HTTP();
	http_start("--request-ms 100");
	for (int i = 0; i < 3; i++) {
		fd = http_connect();
		http_send(fd, heads[i]);
		if (i < 2)
			drip(fd, "x");
		http_read(fd, &a);
		ck_assert_int_eq(a.status, 408);
		peer_close(&fd);
	}
	http_end();
}
END_TEST

START_TEST(an_idle_connection_is_closed_without_a_word)
{
	int fd;

	NEEDS_HTTP();
	http_start("--idle-ms 100");
	fd = http_connect();
	peer_expect_eof(fd);
	peer_close(&fd);
	fd = http_connect();
	ck_assert_int_eq(http_ask(fd, &a, HELLO), 200);
	peer_expect_eof(fd);
	peer_close(&fd);
	http_end();
}
END_TEST

/* ------------------------------------------------------------------ the end */

START_TEST(a_drain_lets_a_kept_connection_ask_once_more)
{
	int fd, busy;

	NEEDS_HTTP();
	http_start("");
	fd = http_connect();
	busy = http_connect();
	ck_assert_int_eq(http_ask(fd, &a, HELLO), 200);
	http_send(busy, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
	http_read_head(busy, &a);
	peer_recv(busy, a.body, 3);

	ck_assert_int_eq(kill(http.child.pid, SIGTERM), 0);
	do {
		ck_assert_int_eq(http_ask(fd, &a, HELLO), 200);
	} while (!answer_has(&a, "Connection: close")); /* it learns of it a moment later */
	peer_expect_eof(fd);
	http_send(busy, "def");
	peer_recv(busy, a.body, 3);
	ck_assert_mem_eq(a.body, "def", 3);
	peer_close(&fd);
	peer_close(&busy);
	http_ended();
}
END_TEST

/* ------------------------------------------------------------------ what it tells */

START_TEST(the_log_has_a_line_for_each_answer_and_a_client_cannot_write_another)
{
	char options[300], path[256], text[4096] = "";
	char *dir = temp_dir();
	FILE *f;

	NEEDS_HTTP();
	snprintf(path, sizeof path, "%s/log", dir);
	snprintf(options, sizeof options, "--log %s", path);
	http_start(options);
	http_ask_once(&a, "GET /hello HTTP/1.1\r\nHost: a\r\nUser-Agent: \"a\\ \xc3\xa4\t\r\n"
			  "Referer: http://a/\r\n\r\n");
	http_ask_once(&a, "GET /\x1b[2J HTTP/1.1\nHost: a\n\n");
	http_ask_once(&a, "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
			  "3\r\nabc\r\n0\r\n\r\n");
	http_end();
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	ck_assert_msg(
		strstr(text,
		       "\"GET /hello HTTP/1.1\" 200 6 \"http://a/\" \"\\x22a\\x5c \\xc3\\xa4\"\n"),
		"%s", text);
	ck_assert_msg(strstr(text, "\"GET /\\x1b[2J HTTP/1.1\\x0aHost: a\\x0a\\x0a\" 400 "), "%s",
		      text);
	ck_assert_msg(strstr(text, "\"POST /upload HTTP/1.1\" 200 2 \"-\" \"-\"\n"), "%s", text);
	ck_assert_msg(!strncmp(text, "127.0.0.1 - - [", 15), "%s", text);
	remove_tree(&dir);
}
END_TEST

static unsigned long metric(int fd, const char *name)
{
	const char *at;
	char line[64];

	ck_assert_int_eq(http_ask(fd, &a, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
	snprintf(line, sizeof line, "\n%s ", name);
	at = strstr(a.body, line);
	ck_assert_msg(at != NULL, "no %s in\n%s", name, a.body);
	return strtoul(at + strlen(line), NULL, 10);
}

START_TEST(a_log_that_takes_nothing_stops_no_request)
{
	static char request[3200];
	char options[300], path[256];
	char *dir = temp_dir();
	int fd, fifo;

	NEEDS_HTTP();
	snprintf(path, sizeof path, "%s/fifo", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	fifo = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* it reads nothing */
	snprintf(options, sizeof options, "--metrics --log %s", path);
	http_start(options);
	snprintf(request, sizeof request,
		 "GET /hello?%s HTTP/1.1\r\nHost: a\r\nReferer: %s\r\n\r\n", X1K16, X1K16);
	fd = http_connect();
	for (int i = 0; i < 200 || !metric(fd, "http_log_lines_dropped_total"); i++) {
		ck_assert_int_lt(i, 100000);
		ck_assert_int_eq(http_ask(fd, &a, request), 200);
	}
	peer_close(&fd);
	http_end();
	close(fifo);
	remove_tree(&dir);
}
END_TEST

START_TEST(metrics_tell_what_was_answered)
{
	int fd;

	NEEDS_HTTP();
	http_start("");
	ck_assert_int_eq(http_ask_once(&a, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), 404);
	http_end();
	http_start("--metrics");
	http_ask_once(&a, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
	http_ask_once(&a, "GET /none HTTP/1.1\r\n\r\n");
	fd = http_connect();
	ck_assert_int_eq(http_ask(fd, &a, HELLO), 200);
	ck_assert_uint_eq(metric(fd, "http_answers_total{class=\"4xx\"}"), 2);
	ck_assert_uint_eq(metric(fd, "http_answers_total{class=\"2xx\"}"), 2);
	ck_assert_ptr_nonnull(strstr(a.body, "# TYPE np_")); /* the library's, too */
	peer_close(&fd);
	http_end();
}
END_TEST

START_TEST(a_wrong_option_is_named)
{
	static const char *const options[] = { "--head-ms 0",    "--head-ms x",     "--idle-ms -2",
					       "--body-max -1",  "--pollers 0",     "--steer maybe",
					       "--max-conns 1x", "--request-ms ''", "more" };
	const char *build = getenv("NP_BUILD");
	struct ran r;

	NEEDS_HTTP();
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		sh(&r, "%s/examples/http/http --listen 127.0.0.1:0 %s", build ? build : "build",
		   options[i]);
		ck_assert_msg(r.code == 2 && strstr(r.err, "see http --help"), "%s: %d %s",
			      options[i], r.code, r.err);
		ran_free(&r);
	}
	sh(&r, "%s/examples/http/http --listen 127.0.0.1:0 --folder /none",
	   build ? build : "build");
	ck_assert_int_eq(r.code, 1);
	ck_assert_str_eq(r.err, "http: /none: No such file or directory\n");
	ran_free(&r);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "http");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, each_head_gets_its_status_and_what_is_wrong_ends_the_connection);
	tcase_add_test(t, a_nul_in_a_head_is_refused);
	tcase_add_test(t, heads_have_a_limit_which_is_told_to_the_byte);
	tcase_add_test(t, a_request_may_be_split_at_every_byte);
	tcase_add_test(t, a_request_may_come_byte_by_byte);
	tcase_add_test(t, pipelined_requests_are_answered_in_order_and_in_one_write);
	tcase_add_test(t, a_client_that_has_sent_its_fin_gets_all_its_answers);
	tcase_add_test(t, a_body_that_ends_too_soon_is_a_bad_request);
	tcase_add_test(t, a_reset_in_the_middle_of_a_body_harms_nobody_else);
	tcase_add_test(t, chunks_are_read_by_the_letter);
	tcase_add_test(t, chunks_go_out_as_they_come_in);
	tcase_add_test(t, a_body_over_the_limit_is_refused_before_it_is_read);
	tcase_add_test(t, a_client_that_waits_for_100_is_told_to_go_on);
	tcase_add_test(t, a_body_that_is_not_read_ends_the_connection);
	tcase_add_test(t, who_keeps_a_connection_is_what_the_versions_say);
	tcase_add_test(t, head_is_get_without_its_body);
	tcase_add_test(t, the_methods_of_a_path_are_told);
	tcase_add_test(t, a_head_that_does_not_end_in_time_is_told_so_however_it_drips);
	tcase_add_test(t, a_body_that_does_not_end_in_time_is_told_so_however_it_drips);
	tcase_add_test(t, an_idle_connection_is_closed_without_a_word);
	tcase_add_test(t, a_drain_lets_a_kept_connection_ask_once_more);
	tcase_add_test(t, the_log_has_a_line_for_each_answer_and_a_client_cannot_write_another);
	tcase_add_test(t, a_log_that_takes_nothing_stops_no_request);
	tcase_add_test(t, metrics_tell_what_was_answered);
	tcase_add_test(t, a_wrong_option_is_named);
}
