/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf_space: room for what a socket brings, its commit, and what is shown of the whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "given_linkbuf.h"

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

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "space");

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
}
