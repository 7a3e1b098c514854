/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf_read: what each verb that reads promises of bytes, pointers and memory. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "given_linkbuf.h"

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

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "reading");

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
}
