/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf_write: what is reserved, trimmed, referred to, inserted and appended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "given_linkbuf.h"

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

/* Such as the -1 of a read(2) that failed: the counts of the buffer would begin anew at 0. */
START_TEST(a_reference_that_no_memory_can_hold_is_refused)
{
	struct np_linkbuf *b = given_empty(0);
	int done = 0;

	ck_assert_int_eq(np_linkbuf_write(b, "ab", 2), 0);
	ck_assert_int_eq(np_linkbuf_write_ref(b, "", SIZE_MAX, count_done, &done), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_write_direct(b, "", SIZE_MAX, 1, count_done, &done), -ENOMEM);
	ck_assert_uint_eq(np_linkbuf_pending(b), 2);
	np_linkbuf_free(&b);
	ck_assert_int_eq(done, 0);
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

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "writing");

	tcase_add_test(t, reserve_is_contiguous_and_trim_gives_back_the_rest);
	tcase_add_test(t, trim_cuts_across_blocks_and_references);
	tcase_add_test(t, nothing_is_written_into_a_trimmed_reference);
	tcase_add_test(t, nothing_is_written_behind_a_reference);
	tcase_add_test(t, trim_to_nothing_leaves_an_empty_buffer_without_a_block);
	tcase_add_test(t, a_reference_is_not_copied_and_done_runs_once);
	tcase_add_test(t, a_reference_that_no_memory_can_hold_is_refused);
	tcase_add_test(t, done_runs_wherever_a_reference_ends);
	tcase_add_test(t, write_direct_inserts_into_what_is_reserved);
	tcase_add_test(t, write_direct_can_come_before_all_that_is_unflushed);
	tcase_add_test(t, trim_after_write_direct_keeps_the_first_bytes_in_order);
	tcase_add_test(t, append_takes_everything_and_copies_nothing);
	tcase_add_test(t, what_was_read_goes_back_when_the_rest_is_appended);
	tcase_add_test(t, appending_an_embedded_buffer_empties_it);
}
