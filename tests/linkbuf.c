/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf: what each verb of a buffer promises. The order of bytes under random verbs:
 * linkbuf_model.c. */
#include "netpoll/linkbuf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <wchar.h>

#include "buffer/block.h"
#include "buffer/linkbuf.h"
#include "netpoll/block.h"
#include "support/test.h"

static struct np_block_stats stats(void)
{
	struct np_block_stats s = { .sz = sizeof s };

	ck_assert_int_eq(np_block_stats(&s), 0);
	return s;
}

static size_t blocks_in_use(void)
{
	return stats().blocks_in_use;
}

static void nothing_in_use(void)
{
	struct np_block_stats s = stats();

	ck_assert_uint_eq(s.blocks_in_use, 0);
	ck_assert_uint_eq(s.cells_in_use, 0);
}

static struct np_linkbuf *given_empty(size_t hint)
{
	struct np_linkbuf *b;

	ck_assert_int_eq(np_linkbuf_new(hint, &b), 0);
	return b;
}

static void write_str(struct np_linkbuf *b, const char *s)
{
	ck_assert_int_eq(np_linkbuf_write(b, s, strlen(s)), 0);
}

static struct np_linkbuf *given(const char *s)
{
	struct np_linkbuf *b = given_empty(0);

	write_str(b, s);
	np_linkbuf_flush(b);
	return b;
}

/* @n bytes in a block of their own at the end of b, readable: byte i of the whole is (unsigned
 * char)i. */
static void add_block(struct np_linkbuf *b, size_t n)
{
	struct np_linkbuf *o = given_empty(n);
	size_t at = np_linkbuf_len(b);
	unsigned char *p;
	void *v;

	ck_assert_int_eq(np_linkbuf_reserve(o, n, &v), 0);
	p = v;
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(at + i);
	ck_assert_int_eq(np_linkbuf_append(b, &o), 0);
	ck_assert_ptr_null(o);
	np_linkbuf_flush(b);
}

/* Blocks of the given lengths, numbered through. */
static struct np_linkbuf *given_blocks(int n, const size_t *len)
{
	struct np_linkbuf *b = given_empty(0);

	for (int i = 0; i < n; i++)
		add_block(b, len[i]);
	return b;
}
#define GIVEN_BLOCKS(...) \
	given_blocks(sizeof((size_t[]){ __VA_ARGS__ }) / sizeof(size_t), (size_t[]){ __VA_ARGS__ })

static const void *must_next(struct np_linkbuf *b, size_t n)
{
	const void *p = NULL;

	ck_assert_int_eq(np_linkbuf_next(b, n, &p), 0);
	return p;
}

static const void *must_peek(struct np_linkbuf *b, size_t n)
{
	const void *p = NULL;

	ck_assert_int_eq(np_linkbuf_peek(b, n, &p), 0);
	return p;
}

static void ck_numbers(const void *p, size_t from, size_t n)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < n; i++)
		if (c[i] != (unsigned char)(from + i))
			ck_abort_msg("byte %zu of %zu is %u", i, n, c[i]);
}

static void reads_as(struct np_linkbuf *b, const char *s)
{
	ck_assert_uint_eq(np_linkbuf_len(b), strlen(s));
	ck_assert_mem_eq(must_next(b, strlen(s)), s, strlen(s));
}

static int dones;
static void count_done(void *arg)
{
	dones++;
	if (arg)
		++*(int *)arg;
}

/* ------------------------------------------------------------------ life */

START_TEST(an_empty_buffer_holds_no_block)
{
	struct np_linkbuf *b = given_empty(0), embedded;
	void *p;

	linkbuf_init(&embedded);
	ck_assert_uint_eq(blocks_in_use(), 0);
	np_linkbuf_reserve(b, 64, &p);
	np_linkbuf_flush(b);
	ck_assert_uint_eq(blocks_in_use(), 1);

	must_next(b, 64);
	np_linkbuf_release(b);

	ck_assert_uint_eq(blocks_in_use(), 0);
	linkbuf_fini(&embedded);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(free_gives_back_what_was_neither_read_nor_flushed)
{
	struct np_linkbuf *b = given("flushed");

	write_str(b, "unflushed");
	np_linkbuf_free(&b);
	ck_assert_ptr_null(b);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(free_gives_back_what_was_pulled_together)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(600, 600, 600, 600);

	must_peek(b, 700);
	must_next(b, 1300);
	must_peek(b, 1100);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(a_hint_sizes_the_first_block_and_takes_none)
{
	const size_t hints[][2] = {
		{ 0, 2048 }, { 1, 512 }, { 513, 1024 }, { 30000, 32768 }, { 1 << 30, 65536 }
	};
	void *p;

	for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
		struct np_linkbuf *b = given_empty(hints[i][0]);

		ck_assert_uint_eq(blocks_in_use(), 0);
		np_linkbuf_reserve(b, 1, &p);
		ck_assert_uint_eq(stats().bytes_in_use, hints[i][1]);
		np_linkbuf_free(&b);
	}
}
END_TEST

/* What does not fit is never split; large data lies in few blocks. */
START_TEST(the_blocks_of_a_chain_double)
{
	struct np_linkbuf *b = given_empty(0);
	struct iovec iov[64];
	void *p;
	int n;

	for (size_t i = 0; i < 1000; i++) {
		ck_assert_int_eq(np_linkbuf_reserve(b, 1000, &p), 0);
		memset(p, (int)i, 1000);
	}
	np_linkbuf_flush(b);

	n = np_linkbuf_iov(b, iov, 64);
	ck_assert_uint_eq(iov[0].iov_len, 2000);
	ck_assert_uint_eq(iov[1].iov_len, 4000);
	ck_assert_uint_eq(iov[2].iov_len, 8000);
	ck_assert_uint_eq(iov[n - 2].iov_len, 65000);
	ck_assert_int_le(n, 5 + 1000000 / 65000);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(what_is_written_is_unseen_until_flush)
{
	struct np_linkbuf *b = given_empty(0);
	const void *p = b;
	void *v;

	ck_assert_int_eq(np_linkbuf_next(b, 1, &p), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_peek(b, 1, &p), -NP_ESHORT);
	ck_assert_ptr_eq(p, b);
	ck_assert_int_eq(np_linkbuf_reserve(b, 128, &v), 0);
	memset(v, 'x', 128);
	ck_assert_uint_eq(np_linkbuf_len(b), 0);
	ck_assert_uint_eq(np_linkbuf_pending(b), 128);
	ck_assert_int_eq(np_linkbuf_next(b, 1, &p), -NP_ESHORT);

	ck_assert_int_eq(np_linkbuf_flush(b), 0);

	ck_assert_uint_eq(np_linkbuf_len(b), 128);
	ck_assert_uint_eq(np_linkbuf_pending(b), 0);
	must_next(b, 28);
	ck_assert_uint_eq(np_linkbuf_len(b), 100);
	must_peek(b, 28);
	ck_assert_uint_eq(np_linkbuf_len(b), 100);
	np_linkbuf_free(&b);
}
END_TEST

/* Also where the unflushed bytes are in a block of their own. */
START_TEST(reading_stops_where_nothing_is_flushed)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(5), *o = given("67890");
	struct iovec iov[4];
	const void *p;
	char *s;

	np_linkbuf_append(b, &o);
	ck_assert_uint_eq(np_linkbuf_len(b), 5);
	ck_assert_int_eq(np_linkbuf_next(b, 6, &p), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_peek(b, 6, &p), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_dup(b, 6, &s), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_iov(b, iov, 4), 1);
	ck_assert_uint_eq(iov[0].iov_len, 5);
	ck_numbers(must_next(b, 5), 0, 5);
	ck_assert_int_eq(np_linkbuf_skip(b, 1), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_iov(b, iov, 4), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(a_second_flush_changes_nothing)
{
	struct np_linkbuf *b = given_empty(0);

	write_str(b, "01234");
	np_linkbuf_flush(b);
	np_linkbuf_flush(b);
	np_linkbuf_skip(b, 2);
	np_linkbuf_flush(b);
	write_str(b, "56");
	ck_assert_uint_eq(np_linkbuf_len(b), 3);
	np_linkbuf_flush(b);

	reads_as(b, "23456");
	np_linkbuf_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ reading */

/* A slice from next() outlives later writes and dies at release(), not before. */
START_TEST(next_is_valid_until_release)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(6, 6);
	const void *first = must_next(b, 6);

	must_next(b, 3);
	write_str(b, "more");
	ck_numbers(first, 0, 6);
	ck_assert_uint_eq(blocks_in_use(), 2);

	np_linkbuf_release(b);
	ck_assert_uint_eq(blocks_in_use(), 1);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(reading_within_a_block_copies_nothing)
{
	struct np_linkbuf *b = given("hello world");
	size_t before = stats().bytes_copied;
	const char *p = must_peek(b, 5), *q = must_next(b, 5);

	ck_assert_ptr_eq(p, q);
	ck_assert_ptr_eq((const char *)must_next(b, 6), p + 5);
	ck_assert_uint_eq(stats().bytes_copied, before);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(reading_across_blocks_is_contiguous)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(5, 1, 7, 300);

	ck_numbers(must_peek(b, 4), 0, 4);
	ck_numbers(must_peek(b, 6), 0, 6);
	ck_numbers(must_peek(b, 13), 0, 13);
	ck_numbers(must_next(b, 7), 0, 7);
	ck_numbers(must_next(b, 306), 7, 306);
	ck_assert_uint_eq(np_linkbuf_len(b), 0);
	np_linkbuf_release(b);
	ck_assert_uint_eq(blocks_in_use(), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(a_longer_peek_leaves_the_shorter_ones_valid)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(100, 100, 100, 3000);
	const void *p[4] = { must_peek(b, 50), must_peek(b, 150), must_peek(b, 250),
			     must_peek(b, 3300) };

	ck_numbers(p[0], 0, 50);
	ck_numbers(p[1], 0, 150);
	ck_numbers(p[2], 0, 250);
	ck_numbers(p[3], 0, 3300);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(growing_peeks_copy_at_most_twice_the_data)
{
	struct np_linkbuf *b = given_empty(0);
	size_t before, n;

	for (int i = 0; i < 1000; i++)
		add_block(b, 37);
	before = stats().bytes_copied;
	for (n = 1; n <= 37000; n += 37)
		ck_numbers(must_peek(b, n), 0, n);

	ck_assert_uint_le(stats().bytes_copied - before, 2 * 37000);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(peeking_again_takes_no_more_memory)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(1000, 1000, 1000);
	size_t before, mapped;

	must_peek(b, 2500);
	before = stats().bytes_in_use;
	mapped = stats().bytes_mapped;
	for (int i = 0; i < 1024; i++)
		ck_numbers(must_peek(b, 2500), 0, 2500);
	for (int i = 0; i < 10; i++)
		must_peek(b, 100);

	ck_assert_uint_eq(stats().bytes_in_use, before);
	ck_assert_uint_eq(stats().bytes_mapped, mapped);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(skip_crosses_blocks)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(5, 1, 7);

	ck_assert_int_eq(np_linkbuf_skip(b, 3), 0);
	ck_assert_int_eq(np_linkbuf_skip(b, 4), 0);
	ck_numbers(must_next(b, 3), 7, 3);
	ck_assert_int_eq(np_linkbuf_skip(b, 4), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_skip(b, 3), 0);
	np_linkbuf_release(b);
	ck_assert_uint_eq(blocks_in_use(), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(release_frees_only_blocks_that_are_read_to_their_end)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(5, 5, 5);

	must_next(b, 5);
	must_next(b, 2);
	np_linkbuf_release(b);
	ck_assert_uint_eq(blocks_in_use(), 2);
	np_linkbuf_release(b);
	ck_assert_uint_eq(blocks_in_use(), 2);
	ck_numbers(must_next(b, 8), 7, 8);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(reading_steps_over_blocks_that_are_used_up)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(5, 5, 5);

	must_next(b, 5);
	ck_numbers(must_peek(b, 5), 5, 5);
	ck_numbers(must_next(b, 4), 5, 4);
	ck_numbers(must_next(b, 1), 9, 1);
	ck_numbers(must_next(b, 5), 10, 5);
	ck_assert_int_eq(np_linkbuf_peek(b, 1, &(const void *){ NULL }), -NP_ESHORT);
	ck_assert_uint_eq(blocks_in_use(), 3);
	np_linkbuf_free(&b);
}
END_TEST

/* copy() consumes like next(): what it leaves behind stays for older pointers. */
START_TEST(a_pointer_survives_copies_behind_it)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(10, 10, 10, 10);
	const void *first = must_next(b, 4), *second;
	unsigned char to[40];

	ck_assert_int_eq(np_linkbuf_copy(b, to, 21), 0);
	ck_numbers(to, 4, 21);
	second = must_next(b, 3);
	ck_assert_int_eq(np_linkbuf_copy(b, to, 4), 0);
	ck_numbers(to, 28, 4);
	ck_numbers(first, 0, 4);
	ck_numbers(second, 25, 3);
	ck_assert_uint_eq(blocks_in_use(), 4);

	np_linkbuf_release(b);
	ck_assert_uint_eq(blocks_in_use(), 1);
	add_block(b, 5);
	ck_assert_int_eq(np_linkbuf_copy(b, to, 8), 0);
	ck_numbers(to, 32, 8);
	ck_assert_int_eq(np_linkbuf_copy(b, to, 5), 0);
	np_linkbuf_release(b);
	ck_assert_uint_eq(blocks_in_use(), 0);
	np_linkbuf_free(&b);
}
END_TEST

/* 5 GiB of the same mebibyte. */
START_TEST(lengths_are_counted_beyond_32_bits)
{
	static char mib[1 << 20];
	struct np_linkbuf *b = given_empty(0), *s;
	const size_t all = (size_t)5120 << 20;

	for (int i = 0; i < 5120; i++)
		ck_assert_int_eq(np_linkbuf_write_ref(b, mib, sizeof mib, count_done, NULL), 0);
	ck_assert_uint_eq(np_linkbuf_pending(b), all);
	np_linkbuf_flush(b);
	ck_assert_int_eq(np_linkbuf_slice(b, all - 5, &s), 0);
	ck_assert_uint_eq(np_linkbuf_len(s), all - 5);
	ck_assert_int_eq(np_linkbuf_skip(s, all - 6), 0);
	ck_assert_uint_eq(np_linkbuf_len(s), 1);
	ck_assert_uint_eq(np_linkbuf_len(b), 5);
	np_linkbuf_free(&s);
	np_linkbuf_free(&b);
	ck_assert_int_eq(dones, 5120);
	nothing_in_use();
}
END_TEST

START_TEST(until_takes_the_delimiter_and_no_more)
{
	struct np_linkbuf *b = given("GET /\r\nHost");
	const void *p;
	size_t n;

	ck_assert_int_eq(np_linkbuf_until(b, '\n', 7, &p, &n), 0);
	ck_assert_uint_eq(n, 7);
	ck_assert_mem_eq(p, "GET /\r\n", 7);
	ck_assert_int_eq(np_linkbuf_until(b, '\n', 100, &p, &n), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_until(b, '\n', 4, &p, &n), -NP_ETOOLONG);
	ck_assert_int_eq(np_linkbuf_until(b, 't', 3, &p, &n), -NP_ETOOLONG);
	ck_assert_int_eq(np_linkbuf_until(b, 't', 0, &p, &n), -EINVAL);
	ck_assert_uint_eq(n, 7);
	ck_assert_uint_eq(np_linkbuf_len(b), 4);
	write_str(b, "t\n");
	ck_assert_int_eq(np_linkbuf_until(b, '\n', 100, &p, &n), -NP_ESHORT);
	np_linkbuf_flush(b);
	ck_assert_int_eq(np_linkbuf_until(b, '\n', 100, &p, &n), 0);
	ck_assert_mem_eq(p, "Hostt\n", 6);
	np_linkbuf_free(&b);
}
END_TEST

static size_t found(const struct np_linkbuf *b, char delim, size_t from, size_t max)
{
	const unsigned char c = (unsigned char)delim;
	struct linkbuf_mark m = { .seen = from };

	return linkbuf_find_on(b, &(struct linkbuf_delim){ .s = &c, .n = 1 }, &m, max);
}

START_TEST(until_finds_a_delimiter_in_any_block)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(10, 10, 1000);
	const void *p;
	size_t n;

	ck_assert_uint_eq(found(b, 15, 0, 100), 16);
	ck_assert_uint_eq(found(b, 15, 15, 100), 16);
	ck_assert_uint_eq(found(b, 15, 16, 100), 0);
	ck_assert_uint_eq(found(b, 15, 16, 1020), 272);
	ck_assert_uint_eq(found(b, 15, 2000, 1020), 0);
	ck_assert_int_eq(np_linkbuf_until(b, 19, 20, &p, &n), 0);
	ck_numbers(p, 0, 20);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(find_goes_on_where_the_last_one_ended)
{
	struct np_linkbuf *b = given_empty(0);
	char line[1001];

	memset(line, 'a', 1000);
	line[500] = 'b';
	for (size_t i = 0; i < 1000; i += 100)
		np_linkbuf_write(b, line + i, 100);
	np_linkbuf_flush(b);
	ck_assert_uint_eq(found(b, 'b', 0, 1000), 501);
	ck_assert_uint_eq(found(b, 'b', 500, 1000), 501);
	ck_assert_uint_eq(found(b, 'b', 501, 1000), 0);
	np_linkbuf_free(&b);
}
END_TEST

/* Over two letters, so that beginnings of the delimiter lie inside of it and everywhere else. */
START_TEST(a_delimiter_of_any_length_is_found_over_any_borders_as_memmem_finds_it)
{
	char text[40], delim[8];
	unsigned char back[LINKBUF_DELIM_MAX];

	srandom(1);
	for (int run = 0; run < 20000; run++) {
		size_t n = 1 + (size_t)random() % (sizeof delim - 1), found = 0;
		struct np_linkbuf *b = given_empty(0);
		struct linkbuf_mark m = { 0 };
		struct linkbuf_delim d;
		const char *at;

		for (size_t i = 0; i < sizeof text; i++)
			text[i] = "ab"[random() % 2];
		for (size_t i = 0; i < n; i++)
			delim[i] = "ab"[random() % 2];
		linkbuf_delim_init(&d, delim, n, back);
		for (size_t i = 0, k; i < sizeof text && !found; i += k) {
			k = 1 + (size_t)random() % 7;
			k = k < sizeof text - i ? k : sizeof text - i;
			np_linkbuf_write_ref(b, text + i, k, NULL, NULL);
			np_linkbuf_flush(b);
			found = linkbuf_find_on(b, &d, &m, sizeof text);
		}
		at = memmem(text, sizeof text, delim, n);
		ck_assert_uint_eq(found, at ? (size_t)(at - text) + n : 0);
		np_linkbuf_free(&b);
	}
}
END_TEST

static int print(struct np_linkbuf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = linkbuf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

START_TEST(formatted_text_of_any_length_is_whole_at_the_end_of_a_block_and_behind_it)
{
	for (int n = 0; n < 9000; n++) {
		struct np_linkbuf *b = given_empty(0);
		const void *p;

		ck_assert_int_eq(print(b, "%*s", n, ""), 0);
		ck_assert_uint_eq(np_linkbuf_pending(b), (size_t)n);
		ck_assert_int_eq(print(b, "%s%d", "x", 12), 0);
		np_linkbuf_flush(b);
		ck_assert_uint_eq(np_linkbuf_len(b), (size_t)n + 3);
		np_linkbuf_skip(b, (size_t)n);
		ck_assert_int_eq(np_linkbuf_next(b, 3, &p), 0);
		ck_assert_mem_eq(p, "x12", 3);
		np_linkbuf_free(&b);
	}
	nothing_in_use();
}
END_TEST

START_TEST(an_empty_text_and_one_that_cannot_be_formatted_hold_no_block)
{
	const wchar_t no_such[] = { 0x110000, 0 };
	struct np_linkbuf *b = given_empty(0);

	ck_assert_int_eq(print(b, "%s", ""), 0);
	ck_assert_int_eq(print(b, "%ls", no_such), -EILSEQ);
	ck_assert_uint_eq(np_linkbuf_pending(b), 0);
	ck_assert_uint_eq(blocks_in_use(), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(copy_dup_and_byte_consume_into_the_callers_memory)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(3, 3, 10);
	unsigned char c, to[5];
	char *s;

	ck_assert_int_eq(np_linkbuf_byte(b, &c), 0);
	ck_assert_uint_eq(c, 0);
	ck_assert_int_eq(np_linkbuf_copy(b, to, 5), 0);
	ck_numbers(to, 1, 5);
	ck_assert_int_eq(np_linkbuf_dup(b, 10, &s), 0);
	ck_numbers(s, 6, 10);
	ck_assert_int_eq(s[10], 0);
	free(s);
	ck_assert_int_eq(np_linkbuf_byte(b, &c), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_copy(b, to, 1), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_copy(b, to, 0), 0);
	ck_assert_int_eq(np_linkbuf_dup(b, 1, &s), -NP_ESHORT);
	ck_assert_int_eq(np_linkbuf_dup(b, 0, &s), 0);
	ck_assert_str_eq(s, "");
	free(s);
	np_linkbuf_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ slices */

START_TEST(a_slice_shares_memory_and_outlives_its_parent)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(10, 10), *s, *t;
	size_t before = stats().bytes_copied;

	ck_assert_int_eq(np_linkbuf_slice(b, 15, &s), 0);
	ck_assert_uint_eq(np_linkbuf_len(s), 15);
	ck_assert_uint_eq(np_linkbuf_len(b), 5);
	ck_assert_int_eq(np_linkbuf_slice(s, 12, &t), 0);
	ck_assert_uint_eq(stats().bytes_copied, before);
	ck_assert_uint_eq(blocks_in_use(), 2);

	np_linkbuf_free(&b);
	ck_assert_uint_eq(blocks_in_use(), 2);
	ck_numbers(must_next(s, 3), 12, 3);
	np_linkbuf_free(&s);
	ck_numbers(must_next(t, 12), 0, 12);
	np_linkbuf_free(&t);
	nothing_in_use();
}
END_TEST

START_TEST(a_slice_keeps_its_bytes_while_the_parent_goes_on_writing)
{
	struct np_linkbuf *b = given("first,"), *s;

	ck_assert_int_eq(np_linkbuf_slice(b, 6, &s), 0);
	np_linkbuf_release(b);
	for (int i = 0; i < 2000; i++)
		write_str(b, "overwrite");
	np_linkbuf_flush(b);
	np_linkbuf_skip(b, 18000);
	np_linkbuf_release(b);

	reads_as(s, "first,");
	np_linkbuf_free(&s);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(each_end_of_a_slice_frees_what_it_alone_holds)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(10, 10, 10), *s;

	ck_assert_int_eq(np_linkbuf_slice(b, 25, &s), 0);
	np_linkbuf_release(b);
	ck_assert_uint_eq(blocks_in_use(), 3); /* the slice has them all */
	ck_numbers(must_next(s, 12), 0, 12);
	np_linkbuf_release(s);
	ck_assert_uint_eq(blocks_in_use(), 2);
	np_linkbuf_free(&s);
	ck_assert_uint_eq(blocks_in_use(), 1);
	ck_numbers(must_next(b, 5), 25, 5);
	np_linkbuf_release(b);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(what_is_written_to_a_slice_leaves_the_parent_alone)
{
	struct np_linkbuf *b = given("parent"), *s;

	ck_assert_int_eq(np_linkbuf_slice(b, 3, &s), 0);
	write_str(s, "XYZ");
	np_linkbuf_flush(s);

	reads_as(b, "ent");
	reads_as(s, "parXYZ");
	np_linkbuf_free(&s);
	np_linkbuf_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ writing */

START_TEST(reserve_is_contiguous_and_trim_gives_back_the_rest)
{
	struct np_linkbuf *b = given("<");
	void *p;

	ck_assert_int_eq(np_linkbuf_reserve(b, 100000, &p), 0);
	memcpy(p, "abcdef", 6);
	memset((char *)p + 6, 'x', 100000 - 6);
	ck_assert_int_eq(np_linkbuf_trim(b, 100001), -EINVAL);
	ck_assert_int_eq(np_linkbuf_trim(b, 6), 0);
	ck_assert_uint_eq(np_linkbuf_pending(b), 6);
	write_str(b, ">");
	np_linkbuf_flush(b);

	reads_as(b, "<abcdef>");
	ck_assert_int_eq(np_linkbuf_trim(b, 1), -EINVAL);
	ck_assert_int_eq(np_linkbuf_trim(b, 0), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(trim_cuts_across_blocks_and_references)
{
	struct np_linkbuf *b = given("keep ");
	char big[5000];
	int done = 0;

	memset(big, 'b', sizeof big);
	write_str(b, "this");
	np_linkbuf_write(b, big, sizeof big);
	np_linkbuf_write_ref(b, big, sizeof big, count_done, &done);
	np_linkbuf_write(b, big, sizeof big);

	ck_assert_int_eq(np_linkbuf_trim(b, 4), 0);
	ck_assert_int_eq(done, 1);
	ck_assert_uint_eq(blocks_in_use(), 1);
	write_str(b, "!");
	np_linkbuf_flush(b);

	reads_as(b, "keep this!");
	np_linkbuf_free(&b);
}
END_TEST

/* A cut reference ends where it was cut: nothing is ever written into the caller's memory. */
START_TEST(nothing_is_written_into_a_trimmed_reference)
{
	struct np_linkbuf *b = given_empty(0);
	char mine[] = "0123456789";

	np_linkbuf_write_ref(b, mine, 10, NULL, NULL);
	np_linkbuf_trim(b, 4);
	write_str(b, "abc");
	np_linkbuf_flush(b);

	reads_as(b, "0123abc");
	ck_assert_str_eq(mine, "0123456789");
	np_linkbuf_free(&b);
}
END_TEST

/* Memory behind a reference is not the buffer's, however much room there is. */
START_TEST(nothing_is_written_behind_a_reference)
{
	struct np_linkbuf *b = given_empty(0);
	char mine[64] = "mine";
	struct iovec iov[4];

	np_linkbuf_write_ref(b, mine, 4, NULL, NULL);
	write_str(b, "more");
	np_linkbuf_write_byte(b, '!');
	np_linkbuf_flush(b);
	np_linkbuf_space(b, 100, iov, 2);
	memset(iov[0].iov_base, '?', iov[0].iov_len);
	np_linkbuf_commit(b, 1);

	reads_as(b, "minemore!?");
	for (size_t i = 4; i < sizeof mine; i++)
		ck_assert_int_eq(mine[i], 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(trim_to_nothing_leaves_an_empty_buffer_without_a_block)
{
	struct np_linkbuf *b = given_empty(0);
	void *p;

	np_linkbuf_reserve(b, 100, &p);
	np_linkbuf_trim(b, 0);

	ck_assert_uint_eq(blocks_in_use(), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(a_reference_is_not_copied_and_done_runs_once)
{
	static const char bytes[] = "borrowed";
	struct np_linkbuf *b = given_empty(0), *s;
	size_t before = stats().bytes_copied;
	int done = 0;

	ck_assert_int_eq(np_linkbuf_write_ref(b, bytes, 8, count_done, &done), 0);
	np_linkbuf_flush(b);
	ck_assert_int_eq(np_linkbuf_slice(b, 4, &s), 0);
	ck_assert_ptr_eq(must_next(b, 4), bytes + 4);
	ck_assert_uint_eq(stats().bytes_copied, before);

	np_linkbuf_release(b);
	ck_assert_int_eq(done, 0);
	ck_assert_ptr_eq(must_next(s, 4), bytes);
	np_linkbuf_free(&s);
	ck_assert_int_eq(done, 1);
	np_linkbuf_free(&b);
	ck_assert_int_eq(done, 1);
	nothing_in_use();
}
END_TEST

START_TEST(done_runs_wherever_a_reference_ends)
{
	int done = 0;
	struct np_linkbuf *a = given_empty(0), *b = given_empty(0);

	ck_assert_int_eq(np_linkbuf_write_ref(a, "", 0, count_done, &done), 0);
	ck_assert_int_eq(done, 1);
	np_linkbuf_write_ref(a, "read", 4, count_done, &done);
	np_linkbuf_write_ref(a, "appended", 8, count_done, &done);
	np_linkbuf_append(b, &a);
	np_linkbuf_flush(b);
	np_linkbuf_skip(b, 4);
	ck_assert_int_eq(done, 1);
	np_linkbuf_release(b);
	ck_assert_int_eq(done, 2);
	np_linkbuf_write_ref(b, "unflushed", 9, count_done, &done);
	np_linkbuf_write_ref(b, "nobody is told", 14, NULL, NULL);
	np_linkbuf_free(&b);
	ck_assert_int_eq(done, 4);
	nothing_in_use();
}
END_TEST

START_TEST(write_direct_inserts_into_what_is_reserved)
{
	struct np_linkbuf *b = given("|");
	char *p;
	void *v;

	np_linkbuf_reserve(b, 10, &v);
	p = v;
	ck_assert_int_eq(np_linkbuf_write_direct(b, "cde", 3, 8, NULL, NULL), 0);
	ck_assert_int_eq(np_linkbuf_write_direct(b, "hi", 2, 6, NULL, NULL), 0);
	ck_assert_int_eq(np_linkbuf_write_direct(b, "tuvw", 4, 3, NULL, NULL), 0);
	ck_assert_int_eq(np_linkbuf_write_direct(b, "!", 1, 0, NULL, NULL), 0);
	ck_assert_int_eq(np_linkbuf_write_direct(b, "?", 1, 21, NULL, NULL), -EINVAL);
	memcpy(p, "abfgqrsxyz", 10);
	np_linkbuf_flush(b);

	reads_as(b, "|abcdefghiqrstuvwxyz!");
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(write_direct_can_come_before_all_that_is_unflushed)
{
	struct np_linkbuf *b = given("ab");

	must_next(b, 1);
	write_str(b, "yz");
	ck_assert_int_eq(np_linkbuf_write_direct(b, "c", 1, 2, NULL, NULL), 0);
	ck_assert_int_eq(np_linkbuf_trim(b, 2), 0);
	write_str(b, "!");
	np_linkbuf_flush(b);

	reads_as(b, "bcy!");
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(trim_after_write_direct_keeps_the_first_bytes_in_order)
{
	for (size_t keep = 0; keep <= 12; keep++) {
		struct np_linkbuf *b = given("|");
		void *p;

		np_linkbuf_reserve(b, 9, &p);
		memcpy(p, "abcghijkl", 9);
		ck_assert_int_eq(np_linkbuf_write_direct(b, "def", 3, 6, count_done, NULL), 0);
		ck_assert_int_eq(np_linkbuf_trim(b, keep), 0);
		write_str(b, "+");
		np_linkbuf_flush(b);
		np_linkbuf_reserve(b, 3, &p);
		memcpy(p, "xyz", 3);
		np_linkbuf_flush(b);

		ck_assert_uint_eq(np_linkbuf_len(b), 1 + keep + 4);
		np_linkbuf_skip(b, 1);
		ck_assert_mem_eq(must_peek(b, keep + 1), "abcdefghijkl", keep);
		np_linkbuf_skip(b, keep);
		reads_as(b, "+xyz");
		np_linkbuf_free(&b);
		ck_assert_int_eq(dones, (int)keep + 1);
	}
	nothing_in_use();
}
END_TEST

START_TEST(append_takes_everything_and_copies_nothing)
{
	struct np_linkbuf *a = given("one "), *b = given("two "), *none = NULL;
	size_t before;

	write_str(b, "three");
	before = stats().bytes_copied;
	ck_assert_int_eq(np_linkbuf_append(a, &none), 0);
	ck_assert_int_eq(np_linkbuf_append(a, &a), -EINVAL);
	ck_assert_int_eq(np_linkbuf_append(a, &b), 0);
	ck_assert_ptr_null(b);
	ck_assert_uint_eq(np_linkbuf_len(a), 4);
	ck_assert_uint_eq(np_linkbuf_pending(a), 9);
	np_linkbuf_flush(a);
	ck_assert_uint_eq(stats().bytes_copied, before);

	reads_as(a, "one two three");
	np_linkbuf_free(&a);
	nothing_in_use();
}
END_TEST

START_TEST(what_was_read_goes_back_when_the_rest_is_appended)
{
	struct np_linkbuf *a = given("a"), *b = GIVEN_BLOCKS(10, 10), *c = GIVEN_BLOCKS(10);

	must_next(b, 12);
	must_next(c, 10);
	np_linkbuf_append(a, &b);
	ck_assert_uint_eq(blocks_in_use(), 3);
	np_linkbuf_append(a, &c);
	ck_assert_uint_eq(blocks_in_use(), 2);
	ck_assert_uint_eq(np_linkbuf_pending(a), 8);
	np_linkbuf_free(&a);
	nothing_in_use();
}
END_TEST

START_TEST(appending_an_embedded_buffer_empties_it)
{
	struct np_linkbuf in, *p = &in, *b = given_empty(0);

	linkbuf_init(&in);
	write_str(&in, "from within");
	ck_assert_int_eq(np_linkbuf_append(b, &p), 0);
	np_linkbuf_flush(b);
	ck_assert_ptr_null(p);
	write_str(&in, "again");
	p = &in;
	ck_assert_int_eq(np_linkbuf_append(b, &p), 0);
	np_linkbuf_flush(b);

	reads_as(b, "from withinagain");
	linkbuf_fini(&in);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

/* ------------------------------------------------------------------ space, commit, iov */

static size_t iov_bytes(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* As readv(2) of @n bytes numbered from @from. */
static void fill(const struct iovec *iov, int niov, size_t from, size_t n)
{
	for (int i = 0; i < niov; i++)
		for (size_t k = 0; k < iov[i].iov_len && n; k++, n--)
			((unsigned char *)iov[i].iov_base)[k] = (unsigned char)from++;
	ck_assert_uint_eq(n, 0);
}

static unsigned char *space_of(struct np_linkbuf *b, size_t n)
{
	struct iovec iov;

	ck_assert_int_eq(np_linkbuf_space(b, n, &iov, 1), 1);
	ck_assert_uint_eq(iov.iov_len, n);
	return iov.iov_base;
}

START_TEST(space_takes_any_burst_in_one_read)
{
	struct np_linkbuf *b = given_empty(0);
	struct iovec iov[2];
	int n = np_linkbuf_space(b, 60000, iov, 2);

	ck_assert_int_eq(n, 2);
	ck_assert_uint_eq(iov_bytes(iov, n), 60000);
	fill(iov, n, 0, 60000);
	ck_assert_int_eq(np_linkbuf_commit(b, 60001), -EINVAL);
	ck_assert_int_eq(np_linkbuf_commit(b, 60000), 0);

	ck_assert_uint_eq(np_linkbuf_len(b), 60000);
	ck_numbers(must_next(b, 60000), 0, 60000);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

/* What a connection takes for its first read, without an iovec. */
START_TEST(the_common_read_takes_one_stretch_of_an_empty_buffer)
{
	struct np_linkbuf *b = given_empty(0), *other = given("so that a block is cached");
	unsigned char *p;

	/* more than one block of the first size or four */
	ck_assert_ptr_null(linkbuf_space(b, 100000));
	np_linkbuf_free(&other);
	p = linkbuf_space(b, 2000);
	if (!p)
		p = space_of(b, 2000); /* nothing is cached where each block is apart */
	ck_assert(!linkbuf_has(b, 1));
	memcpy(p, "abc", 3);
	ck_assert_int_eq(np_linkbuf_commit(b, 2001), -EINVAL);
	ck_assert_int_eq(np_linkbuf_commit(b, 3), 0);
	ck_assert_ptr_null(linkbuf_space(b, 100));

	ck_assert(linkbuf_has(b, 3));
	ck_assert_ptr_eq(b->read->r, p);
	ck_assert(!linkbuf_has(b, 4));
	add_block(b, 2);
	ck_assert(!linkbuf_has(b, 4));
	linkbuf_consume(b, 4);
	ck_assert_uint_eq(linkbuf_len(b), 1);
	linkbuf_consume(b, 1);
	ck_assert_uint_eq(blocks_in_use(), 0);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(commit_gives_the_unused_block_back)
{
	struct np_linkbuf *b = given_empty(0);
	struct iovec iov[2];

	ck_assert_int_eq(np_linkbuf_space(b, 60000, iov, 2), 2);
	fill(iov, 2, 0, 100);
	ck_assert_int_eq(np_linkbuf_commit(b, 100), 0);
	ck_assert_uint_eq(blocks_in_use(), 1);
	ck_assert_int_eq(np_linkbuf_space(b, 60000, iov, 2), 2);
	ck_assert_int_eq(np_linkbuf_commit(b, 0), 0);
	ck_assert_uint_eq(blocks_in_use(), 1);
	ck_assert_int_eq(np_linkbuf_commit(b, 1), -EINVAL);
	np_linkbuf_skip(b, 100);
	np_linkbuf_release(b);
	ck_assert_int_eq(np_linkbuf_space(b, 60000, iov, 2), 2);
	ck_assert_int_eq(np_linkbuf_commit(b, 0), 0);

	ck_assert_uint_eq(blocks_in_use(), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(space_uses_the_rest_of_the_last_block_first)
{
	struct np_linkbuf *b = given("0123456789");
	const char *p = must_peek(b, 10);
	struct iovec iov[2];

	ck_assert_int_eq(np_linkbuf_space(b, 100, iov, 2), 1);
	ck_assert_ptr_eq(iov[0].iov_base, p + 10);
	ck_assert_uint_eq(iov[0].iov_len, 100);
	ck_assert_int_eq(np_linkbuf_space(b, 5000, iov, 2), 2);
	ck_assert_ptr_eq(iov[0].iov_base, p + 10);
	ck_assert_uint_eq(iov_bytes(iov, 2), 5000);
	ck_assert_int_eq(np_linkbuf_space(b, 5000, iov, 1), 1);
	ck_assert_int_eq(np_linkbuf_space(b, 5000, iov, 0), -EINVAL);
	ck_assert_int_eq(np_linkbuf_commit(b, 0), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(reading_goes_on_between_space_and_commit)
{
	struct np_linkbuf *b = given("0123456789");
	struct iovec iov[2];
	int n = np_linkbuf_space(b, 5000, iov, 2);

	ck_assert_mem_eq(must_next(b, 4), "0123", 4);
	np_linkbuf_skip(b, 2);
	fill(iov, n, 'A', 3);
	ck_assert_int_eq(np_linkbuf_commit(b, 3), 0);

	reads_as(b, "6789ABC");
	np_linkbuf_free(&b);
}
END_TEST

/*
 * One that a reader has emptied meanwhile, too: what space() gave is not what release() gives back.
 */
START_TEST(release_between_space_and_commit_leaves_the_space)
{
	struct np_linkbuf *b = given("0123456789"), *o = given_empty(0);
	struct iovec iov[2];
	int n = np_linkbuf_space(b, 100, iov, 2);

	np_linkbuf_skip(b, 10);
	np_linkbuf_release(b);
	write_str(o, "another's");
	fill(iov, n, 'A', 3);
	ck_assert_int_eq(np_linkbuf_commit(b, 3), 0);
	np_linkbuf_flush(o);

	reads_as(b, "ABC");
	reads_as(o, "another's");
	np_linkbuf_free(&o);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

START_TEST(space_is_refused_while_bytes_are_unflushed)
{
	struct np_linkbuf *b = given_empty(0);
	struct iovec iov[2];

	write_str(b, "x");
	ck_assert_int_eq(np_linkbuf_space(b, 100, iov, 2), -EBUSY);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(writing_instead_of_commit_takes_the_space_back)
{
	struct np_linkbuf *b = given("abc");
	struct iovec iov[2];
	char big[4000];

	memset(big, 'x', sizeof big);
	ck_assert_int_eq(np_linkbuf_space(b, 60000, iov, 2), 2);
	ck_assert_int_eq(np_linkbuf_write(b, big, sizeof big), 0);
	ck_assert_int_eq(np_linkbuf_commit(b, 1), -EINVAL);
	np_linkbuf_flush(b);

	ck_assert_uint_eq(np_linkbuf_len(b), 4003);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

/* A frame that starts in one block and ends in the next costs a copy of its start, and no block. */
START_TEST(a_frame_across_two_reads_copies_only_its_start)
{
	struct np_linkbuf *b = given_empty(0);
	struct iovec iov[2];
	size_t before;
	int n;

	n = np_linkbuf_space(b, 60000, iov, 2);
	fill(iov, n, 0, 20000);
	np_linkbuf_commit(b, 20000);
	before = stats().bytes_copied;

	ck_numbers(must_next(b, 20000), 0, 20000);
	ck_assert_uint_le(stats().bytes_copied - before, 2048);
	ck_assert_uint_eq(blocks_in_use(), 2);
	np_linkbuf_free(&b);
}
END_TEST

/* A reader that waits for 1 MiB says so in want; then only what came first is copied. */
START_TEST(a_large_frame_is_read_into_one_block)
{
	struct np_linkbuf *b = given_empty(0);
	const size_t frame = 1 << 20;
	struct iovec iov[2];
	size_t before = stats().bytes_copied, k;
	int n;

	while (np_linkbuf_len(b) < frame) {
		n = np_linkbuf_space(b, frame - np_linkbuf_len(b), iov, 2);
		ck_assert_int_gt(n, 0);
		k = iov_bytes(iov, n) < 65536 ? iov_bytes(iov, n) : 65536;
		fill(iov, n, np_linkbuf_len(b), k);
		ck_assert_int_eq(np_linkbuf_commit(b, k), 0);
	}
	ck_numbers(must_next(b, frame), 0, frame);

	ck_assert_uint_le(stats().bytes_copied - before, frame / 8);
	np_linkbuf_free(&b);
}
END_TEST

/* One frame behind another, each read as far as it goes and at least 16 KiB, in pieces of any
 * length. */
static double copied_for_each_byte(size_t frame)
{
	struct np_linkbuf *b = given_empty(0);
	size_t before = stats().bytes_copied, got, k, ahead = 0;
	unsigned random = 1;
	struct iovec iov[2];
	int n;

	for (int i = 0; i < 200; i++) {
		while ((got = np_linkbuf_len(b)) < frame) {
			n = np_linkbuf_space(b, frame - got > 16384 ? frame - got : 16384, iov, 2);
			random = random * 1103515245 + 12345;
			k = 1 + (random >> 8) % iov_bytes(iov, n);
			fill(iov, n, ahead, k);
			ahead += k;
			ck_assert_int_eq(np_linkbuf_commit(b, k), 0);
		}
		ck_numbers(must_next(b, frame), frame * (size_t)i, frame);
		np_linkbuf_release(b);
	}
	np_linkbuf_free(&b);
	return (double)(stats().bytes_copied - before) / (double)(frame * 200);
}

START_TEST(frames_that_do_not_fit_the_blocks_are_not_copied_whole)
{
	ck_assert_double_lt(copied_for_each_byte(100), 0.01);
	ck_assert_double_lt(copied_for_each_byte(16388), 0.4);
	ck_assert_double_lt(copied_for_each_byte(65540), 0.2);
	ck_assert_double_lt(copied_for_each_byte(262148), 0.3);
}
END_TEST

START_TEST(a_claimed_length_takes_memory_as_bytes_arrive)
{
	struct np_linkbuf *b = given_empty(0);
	struct iovec iov[2];
	int n = np_linkbuf_space(b, 1 << 30, iov, 2);

	ck_assert_uint_le(iov_bytes(iov, n), 128 << 10);
	np_linkbuf_commit(b, 10);
	n = np_linkbuf_space(b, 1 << 30, iov, 2);
	ck_assert_uint_le(iov_bytes(iov, n), 128 << 10);
	np_linkbuf_free(&b);
}
END_TEST

/* The first block grows with what one read brings, and shrinks again. */
START_TEST(appetite_follows_the_traffic_both_ways)
{
	struct np_linkbuf *b = given_empty(0);
	struct iovec iov[2];

	for (int i = 0; i < 2; i++) {
		np_linkbuf_space(b, 65536, iov, 2);
		np_linkbuf_commit(b, 40000);
		np_linkbuf_skip(b, 40000);
		np_linkbuf_release(b);
	}
	ck_assert_int_eq(np_linkbuf_space(b, 65536, iov, 2), 1);
	for (int i = 0; i < 200; i++) {
		np_linkbuf_commit(b, 64);
		np_linkbuf_skip(b, 64);
		np_linkbuf_release(b);
		np_linkbuf_space(b, 65536, iov, 2);
	}

	ck_assert_uint_eq(iov[0].iov_len, 2048);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(iov_shows_what_is_readable_and_nothing_else)
{
	struct np_linkbuf *b = GIVEN_BLOCKS(5, 6, 7);
	struct iovec iov[8];

	must_next(b, 5);
	write_str(b, "unseen");
	ck_assert_int_eq(np_linkbuf_iov(b, iov, 8), 2);
	ck_assert_uint_eq(iov[0].iov_len, 6);
	ck_numbers(iov[0].iov_base, 5, 6);
	ck_assert_uint_eq(iov[1].iov_len, 7);
	ck_assert_int_eq(np_linkbuf_iov(b, iov, 1), 1);
	ck_assert_int_eq(np_linkbuf_iov(b, iov, 0), 0);
	ck_assert_int_eq(np_linkbuf_iov(b, iov, -1), -EINVAL);
	np_linkbuf_skip(b, 13);
	ck_assert_int_eq(np_linkbuf_iov(b, iov, 8), 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(iov_adds_up_to_all_there_is)
{
	static char bytes[1000000];
	struct np_linkbuf *b = given_empty(0);
	struct iovec iov[256];
	size_t all = 0;
	int n;

	for (size_t k = 1; k <= sizeof bytes; k *= 10, all += k / 10) {
		ck_assert_int_eq(np_linkbuf_write(b, bytes, k), 0);
		ck_assert_int_eq(np_linkbuf_flush(b), 0);
	}
	ck_assert_uint_eq(np_linkbuf_len(b), all);
	n = np_linkbuf_iov(b, iov, 256);
	ck_assert_int_lt(n, 256);
	ck_assert_uint_eq(iov_bytes(iov, n), all);
	np_linkbuf_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ wrong arguments */

START_TEST(an_n_of_nothing_or_of_too_much_changes_nothing)
{
	struct np_linkbuf *b = given("abc"), *s = NULL;
	const void *p;
	void *v;

	for (size_t n = 0; n - 1 != (size_t)-6; n--) {
		int want = n ? -NP_ESHORT : 0;

		ck_assert_int_eq(np_linkbuf_next(b, n, &p), want);
		ck_assert_int_eq(np_linkbuf_peek(b, n, &p), want);
		ck_assert_int_eq(np_linkbuf_skip(b, n), want);
		ck_assert_int_eq(np_linkbuf_slice(b, n, &s), want);
		ck_assert_int_eq(np_linkbuf_reserve(b, n, &v), n ? -ENOMEM : 0);
		ck_assert_int_eq(np_linkbuf_trim(b, n), n ? -EINVAL : 0);
		ck_assert_int_eq(np_linkbuf_commit(b, n), n ? -EINVAL : 0);
		np_linkbuf_free(&s);
	}
	ck_assert_int_eq(np_linkbuf_write(b, NULL, 0), 0);

	ck_assert_uint_eq(np_linkbuf_pending(b), 0);
	reads_as(b, "abc");
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("linkbuf");
	TCase *t = tcase_create("life");

	tcase_add_test(t, an_empty_buffer_holds_no_block);
	tcase_add_test(t, free_gives_back_what_was_neither_read_nor_flushed);
	tcase_add_test(t, free_gives_back_what_was_pulled_together);
	tcase_add_test(t, a_hint_sizes_the_first_block_and_takes_none);
	tcase_add_test(t, the_blocks_of_a_chain_double);
	tcase_add_test(t, what_is_written_is_unseen_until_flush);
	tcase_add_test(t, reading_stops_where_nothing_is_flushed);
	tcase_add_test(t, a_second_flush_changes_nothing);
	suite_add_tcase(s, t);

	t = tcase_create("reading");
	tcase_add_test(t, next_is_valid_until_release);
	tcase_add_test(t, reading_within_a_block_copies_nothing);
	tcase_add_test(t, reading_across_blocks_is_contiguous);
	tcase_add_test(t, a_longer_peek_leaves_the_shorter_ones_valid);
	tcase_add_test(t, growing_peeks_copy_at_most_twice_the_data);
	tcase_add_test(t, peeking_again_takes_no_more_memory);
	tcase_add_test(t, reading_steps_over_blocks_that_are_used_up);
	tcase_add_test(t, a_pointer_survives_copies_behind_it);
	tcase_add_test(t, lengths_are_counted_beyond_32_bits);
	tcase_add_test(t, skip_crosses_blocks);
	tcase_add_test(t, until_takes_the_delimiter_and_no_more);
	tcase_add_test(t, until_finds_a_delimiter_in_any_block);
	tcase_add_test(t, find_goes_on_where_the_last_one_ended);
	tcase_add_test(t, a_delimiter_of_any_length_is_found_over_any_borders_as_memmem_finds_it);
	tcase_add_test(t,
		       formatted_text_of_any_length_is_whole_at_the_end_of_a_block_and_behind_it);
	tcase_add_test(t, an_empty_text_and_one_that_cannot_be_formatted_hold_no_block);
	tcase_add_test(t, copy_dup_and_byte_consume_into_the_callers_memory);
	tcase_add_test(t, release_frees_only_blocks_that_are_read_to_their_end);
	suite_add_tcase(s, t);

	t = tcase_create("slices");
	tcase_add_test(t, a_slice_shares_memory_and_outlives_its_parent);
	tcase_add_test(t, a_slice_keeps_its_bytes_while_the_parent_goes_on_writing);
	tcase_add_test(t, each_end_of_a_slice_frees_what_it_alone_holds);
	tcase_add_test(t, what_is_written_to_a_slice_leaves_the_parent_alone);
	suite_add_tcase(s, t);

	t = tcase_create("writing");
	tcase_add_test(t, reserve_is_contiguous_and_trim_gives_back_the_rest);
	tcase_add_test(t, trim_cuts_across_blocks_and_references);
	tcase_add_test(t, nothing_is_written_into_a_trimmed_reference);
	tcase_add_test(t, nothing_is_written_behind_a_reference);
	tcase_add_test(t, trim_to_nothing_leaves_an_empty_buffer_without_a_block);
	tcase_add_test(t, a_reference_is_not_copied_and_done_runs_once);
	tcase_add_test(t, done_runs_wherever_a_reference_ends);
	tcase_add_test(t, write_direct_inserts_into_what_is_reserved);
	tcase_add_test(t, write_direct_can_come_before_all_that_is_unflushed);
	tcase_add_test(t, trim_after_write_direct_keeps_the_first_bytes_in_order);
	tcase_add_test(t, append_takes_everything_and_copies_nothing);
	tcase_add_test(t, what_was_read_goes_back_when_the_rest_is_appended);
	tcase_add_test(t, appending_an_embedded_buffer_empties_it);
	suite_add_tcase(s, t);

	t = tcase_create("space");
	tcase_add_test(t, space_takes_any_burst_in_one_read);
	tcase_add_test(t, the_common_read_takes_one_stretch_of_an_empty_buffer);
	tcase_add_test(t, commit_gives_the_unused_block_back);
	tcase_add_test(t, space_uses_the_rest_of_the_last_block_first);
	tcase_add_test(t, reading_goes_on_between_space_and_commit);
	tcase_add_test(t, release_between_space_and_commit_leaves_the_space);
	tcase_add_test(t, space_is_refused_while_bytes_are_unflushed);
	tcase_add_test(t, writing_instead_of_commit_takes_the_space_back);
	tcase_add_test(t, a_frame_across_two_reads_copies_only_its_start);
	tcase_add_test(t, a_large_frame_is_read_into_one_block);
	tcase_add_test(t, frames_that_do_not_fit_the_blocks_are_not_copied_whole);
	tcase_add_test(t, a_claimed_length_takes_memory_as_bytes_arrive);
	tcase_add_test(t, appetite_follows_the_traffic_both_ways);
	tcase_add_test(t, iov_shows_what_is_readable_and_nothing_else);
	tcase_add_test(t, iov_adds_up_to_all_there_is);
	suite_add_tcase(s, t);

	t = tcase_create("arguments");
	tcase_add_test(t, an_n_of_nothing_or_of_too_much_changes_nothing);
	suite_add_tcase(s, t);
	return run_suite(s);
}
