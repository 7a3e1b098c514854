/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linkbuf: the life of a buffer, its slices, and arguments that are none
 *
 * Its verbs are in linkbuf_read.c, linkbuf_write.c and linkbuf_space.c; the order of bytes under
 * random ones in linkbuf_model.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "given_linkbuf.h"

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

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "life");

	tcase_add_test(t, an_empty_buffer_holds_no_block);
	tcase_add_test(t, free_gives_back_what_was_neither_read_nor_flushed);
	tcase_add_test(t, free_gives_back_what_was_pulled_together);
	tcase_add_test(t, a_hint_sizes_the_first_block_and_takes_none);
	tcase_add_test(t, the_blocks_of_a_chain_double);
	tcase_add_test(t, what_is_written_is_unseen_until_flush);
	tcase_add_test(t, reading_stops_where_nothing_is_flushed);
	tcase_add_test(t, a_second_flush_changes_nothing);

	t = add_case(s, "slices");
	tcase_add_test(t, a_slice_shares_memory_and_outlives_its_parent);
	tcase_add_test(t, a_slice_keeps_its_bytes_while_the_parent_goes_on_writing);
	tcase_add_test(t, each_end_of_a_slice_frees_what_it_alone_holds);
	tcase_add_test(t, what_is_written_to_a_slice_leaves_the_parent_alone);

	t = add_case(s, "arguments");
	tcase_add_test(t, an_n_of_nothing_or_of_too_much_changes_nothing);
}
