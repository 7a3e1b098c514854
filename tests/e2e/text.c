/* SPDX-License-Identifier: BSD-2-Clause */
/* text: delimiters of several bytes, formatted output, and what is kept of a reserve. */
#include <errno.h>
#include <netpoll/conn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define NOTHING 12345
#define HEAD    "\r\n\r\n"

static struct {
	_Atomic(int) closes, result, bad;
	_Atomic(size_t) heads, bytes;
} saw;

static void on_close(struct np_conn *c, void *arg)
{
	saw.closes++;
}

static int given(int (*on_request)(struct np_conn *, void *), const struct np_server_opts *o)
{
	static struct np_handlers h;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = on_request, .on_close = on_close };
	saw.result = NOTHING;
	serve(1, &h, NULL, o);
	return serve_connect(0);
}

static void over(int fd)
{
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}

/* ------------------------------------------------------------------ delimiters */

/* Head k has k % 61 bytes that begin a delimiter again and again, and then one. */
static size_t head(size_t k, char *to)
{
	static const char almost[] = "\r\n\r\r\n\r.";
	size_t n = k % 61;

	for (size_t i = 0; i < n; i++)
		to[i] = almost[i % 7];
	if (n)
		to[n - 1] = '.'; /* else its end may be the beginning of the delimiter */
	memcpy(to + n, HEAD, 4);
	return n + 4;
}

static int check_heads(struct np_conn *c, void *arg)
{
	char want[80];
	const void *p;
	size_t n;
	int r = np_conn_until_str(c, HEAD, 4, 64, &p, &n);

	if (r == 0 && (n != head(saw.heads, want) || memcmp(p, want, n) != 0))
		r = -EBADMSG;
	if (r == 0)
		saw.heads++;
	else
		saw.result = r;
	return r;
}

START_TEST(a_delimiter_of_four_bytes_is_found_in_whatever_pieces_it_comes)
{
	enum { HEADS = 5000 };
	static char all[HEADS * 64];
	size_t len = 0;
	int fd;

	for (size_t k = 0; k < HEADS; k++)
		len += head(k, all + len);
	fd = given(check_heads, NP_OPTS(np_server_opts, .limits.in_high = 16));
	for (size_t at = 0, k; at < len; at += k) {
		k = _i ? 1 + at * 7 % 97 : 1;
		k = k < len - at ? k : len - at;
		peer_send(fd, all + at, k);
	}
	AWAIT(saw.heads == HEADS || saw.result != NOTHING);
	ck_assert_int_eq(saw.result, NOTHING);
	over(fd);
}
END_TEST

static int check_bounds(struct np_conn *c, void *arg)
{
	char long_one[256] = { 0 };
	const void *p = NULL;
	size_t n = 99;

	saw.bad += np_conn_until_str(c, HEAD, 0, 100, &p, &n) != -EINVAL;
	saw.bad += np_conn_until_str(c, long_one, 256, 1000, &p, &n) != -EINVAL;
	saw.bad += np_conn_until_str(c, HEAD, 4, 0, &p, &n) != -EINVAL;
	saw.bad += np_conn_wait(c, 10) != 0;
	saw.bad += np_conn_until_str(c, HEAD, 4, 3, &p, &n) != -NP_ETOOLONG;
	saw.bad += np_conn_until_str(c, HEAD, 4, 8, &p, &n) != -NP_ETOOLONG;
	saw.bad += p != NULL || n != 99 || np_conn_len(c) < 10;
	saw.bad += np_conn_until_str(c, HEAD, 4, 9, &p, &n) != 0 || n != 9;
	saw.bad += memcmp(p, "Host:" HEAD, 9) != 0;
	/* the end comes in the middle of a delimiter */
	saw.bad += np_conn_until_str(c, HEAD, 4, 100, &p, &n) != -NP_EEOF;
	saw.bad += np_conn_len(c) != 4;
	saw.bad += np_conn_until_str(c, "\r", 1, 100, &p, &n) != 0 || n != 2;
	saw.bad += np_conn_until_str(c, "\n\r", 2, 2, &p, &n) != 0 || n != 2;
	saw.result = 0;
	return -1;
}

START_TEST(a_delimiter_has_bounds_and_where_there_is_none_nothing_is_consumed)
{
	int fd = given(check_bounds, NULL);

	peer_send(fd, "Host:" HEAD "x", 10);
	peer_send(fd, "\r\n\r", 3);
	shutdown(fd, SHUT_WR);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.bad, 0);
	over(fd);
}
END_TEST

static int read_a_mebibyte(struct np_conn *c, void *arg)
{
	char delim[255];
	const void *p;
	size_t n;
	int r;

	memset(delim, 'a', sizeof delim);
	delim[254] = 'b';
	r = np_conn_until_str(c, delim, sizeof delim, 2u << 20, &p, &n);
	saw.bytes = r == 0 ? n : 0;
	saw.result = r;
	return r;
}

START_TEST(a_long_delimiter_that_seems_to_begin_at_every_byte_is_found_at_the_end)
{
	size_t n = 1u << 20;
	char *text = malloc(n);
	int fd = given(read_a_mebibyte, NULL);

	memset(text, 'a', n);
	text[n - 1] = 'b';
	peer_send(fd, text, n);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, 0);
	ck_assert_uint_eq(saw.bytes, n);
	free(text);
	over(fd);
}
END_TEST

/* ------------------------------------------------------------------ formatted */

#define LINES 20000

/* Above out_high it waits, again and again, for a peer that reads late. */
static int print_lines(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 1);

	for (int i = 0; r == 0 && i < LINES; i++) {
		r = np_conn_printf(c, "%d: %*s;\n", i, i % 100, "x");
		if (r == 0 && i % 100 == 0)
			r = np_conn_flush(c);
	}
	saw.result = r;
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(what_is_printed_arrives_whole_whatever_the_kernel_takes_at_a_time)
{
	char want[160], got[160];
	int fd = given(print_lines, NP_OPTS(np_server_opts, .limits.out_high = 4096));

	peer_send(fd, "?", 1);
	for (int i = 0; i < LINES; i++) {
		int n = snprintf(want, sizeof want, "%d: %*s;\n", i, i % 100, "x");

		peer_recv(fd, got, (size_t)n);
		ck_assert_mem_eq(got, want, (size_t)n);
	}
	ck_assert_int_eq(saw.result, 0);
	over(fd);
}
END_TEST

static int print_bounds(struct np_conn *c, void *arg)
{
	const wchar_t no_such[] = { 0x110000, 0 };
	int r = np_conn_skip(c, 1);

	saw.bad += np_conn_printf(c, "%s", "") != 0 || np_conn_pending(c) != 0;
	saw.bad += np_conn_write(c, "<", 1) != 0;
	saw.bad += np_conn_printf(c, "%ls", no_such) != -EILSEQ || np_conn_pending(c) != 1;
	saw.bad += np_conn_printf(c, "%*d", 300000, 7) != 0 || np_conn_pending(c) != 300001;
	saw.bad += np_conn_write(c, ">", 1) != 0;
	saw.result = 0;
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(an_empty_text_a_wrong_one_and_one_above_every_block)
{
	char *got = malloc(300002);
	int fd = given(print_bounds, NULL);

	peer_send(fd, "?", 1);
	peer_recv(fd, got, 300002);
	ck_assert_int_eq(saw.bad, 0);
	ck_assert_int_eq(got[0], '<');
	ck_assert_uint_eq(strspn(got + 1, " "), 299999);
	ck_assert_mem_eq(got + 300000, "7>", 2);
	free(got);
	over(fd);
}
END_TEST

/* ------------------------------------------------------------------ of a reserve */

/* Reserves more than it fills; the blocks of the output end where they like. */
static int fill_some(struct np_conn *c, void *arg)
{
	void *p;
	int r = np_conn_skip(c, 1);

	for (size_t i = 0; r == 0 && i < 2000; i++) {
		size_t room = 1 + i * 37 % 9000, n = i * 11 % (room + 1);

		r = np_conn_reserve(c, room, &p);
		if (r == 0)
			memset(p, 'a' + (int)(i % 26), n);
		if (r == 0)
			r = np_conn_commit(c, n);
		if (r == 0 && i % 50 == 0)
			r = np_conn_flush(c);
	}
	saw.result = r;
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(of_a_reserve_exactly_what_was_committed_arrives)
{
	char got[9001], want[9001];
	int fd = given(fill_some, NP_OPTS(np_server_opts, .limits.out_high = 4096));

	peer_send(fd, "?", 1);
	for (size_t i = 0; i < 2000; i++) {
		size_t n = i * 11 % (1 + i * 37 % 9000 + 1);

		memset(want, 'a' + (int)(i % 26), n);
		peer_recv(fd, got, n);
		ck_assert_mem_eq(got, want, n);
	}
	ck_assert_int_eq(saw.result, 0);
	over(fd);
}
END_TEST

static int commit_wrongly(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 1);
	void *p;

	saw.bad += np_conn_commit(c, 1) != -EINVAL;
	saw.bad += np_conn_reserve(c, 8, &p) != 0 || np_conn_commit(c, 9) != -EINVAL;
	memcpy(p, "12345678", 8);
	saw.bad += np_conn_commit(c, 8) != 0 || np_conn_pending(c) != 8;
	saw.bad += np_conn_commit(c, 4) != -EINVAL; /* it was */
	saw.bad += np_conn_reserve(c, 8, &p) != 0 || np_conn_write(c, "w", 1) != 0;
	saw.bad += np_conn_commit(c, 4) != -EINVAL || np_conn_trim(c, 8) != 0;
	saw.bad += np_conn_reserve(c, 8, &p) != 0 || np_conn_trim(c, 8) != 0;
	saw.bad += np_conn_write(c, "9abcdefg", 8) != 0 || np_conn_commit(c, 4) != -EINVAL;
	saw.bad += np_conn_reserve(c, 8, &p) != 0 || np_conn_commit(c, 0) != 0;
	saw.bad += np_conn_pending(c) != 16;
	saw.bad += np_conn_flush(c) != 0 || np_conn_write(c, "h", 1) != 0;
	saw.bad += np_conn_reserve(c, 8, &p) != 0 || np_conn_flush(c) != 0;
	saw.bad += np_conn_write(c, "i12345678", 9) != 0 || np_conn_commit(c, 4) != -EINVAL;
	saw.bad += np_conn_reserve(c, 0, &p) != 0 || np_conn_commit(c, 0) != 0;
	saw.result = 0;
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(a_commit_that_means_no_reserve_is_refused)
{
	char got[34];
	int fd = given(commit_wrongly, NULL);

	peer_send(fd, "?", 1);
	peer_recv(fd, got, sizeof got);
	ck_assert_int_eq(saw.bad, 0);
	ck_assert_mem_eq(got, "123456789abcdefgh", 17);
	ck_assert_mem_eq(got + 25, "i12345678", 9);
	over(fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "text");

	tcase_add_loop_test(t, a_delimiter_of_four_bytes_is_found_in_whatever_pieces_it_comes, 0,
			    2);
	tcase_add_test(t, a_delimiter_has_bounds_and_where_there_is_none_nothing_is_consumed);
	tcase_add_test(t, a_long_delimiter_that_seems_to_begin_at_every_byte_is_found_at_the_end);
	tcase_add_test(t, what_is_printed_arrives_whole_whatever_the_kernel_takes_at_a_time);
	tcase_add_test(t, an_empty_text_a_wrong_one_and_one_above_every_block);
	tcase_add_test(t, of_a_reserve_exactly_what_was_committed_arrives);
	tcase_add_test(t, a_commit_that_means_no_reserve_is_refused);
}
