/* SPDX-License-Identifier: BSD-2-Clause */
/* given_linkbuf: buffers of known bytes, and what a test asks of any of them */
#ifndef TESTS_GIVEN_LINKBUF_H
#define TESTS_GIVEN_LINKBUF_H

#include <string.h>

#include "buffer/block.h"
#include "buffer/linkbuf.h"
#include "netpoll/block.h"
#include "netpoll/linkbuf.h"
#include "support/test.h"

#define helper __attribute__((unused)) static

helper struct np_block_stats stats(void)
{
	struct np_block_stats s = { .sz = sizeof s };

	ck_assert_int_eq(np_block_stats(&s), 0);
	return s;
}

helper size_t blocks_in_use(void)
{
	return stats().blocks_in_use;
}

helper void nothing_in_use(void)
{
	struct np_block_stats s = stats();

	ck_assert_uint_eq(s.blocks_in_use, 0);
	ck_assert_uint_eq(s.cells_in_use, 0);
}

helper struct np_linkbuf *given_empty(size_t hint)
{
	struct np_linkbuf *b;

	ck_assert_int_eq(np_linkbuf_new(hint, &b), 0);
	return b;
}

helper void write_str(struct np_linkbuf *b, const char *s)
{
	ck_assert_int_eq(np_linkbuf_write(b, s, strlen(s)), 0);
}

helper struct np_linkbuf *given(const char *s)
{
	struct np_linkbuf *b = given_empty(0);

	write_str(b, s);
	np_linkbuf_flush(b);
	return b;
}

/* @n bytes in a block of their own at the end of b, readable: byte i of the whole is (unsigned
 * char)i. */
helper void add_block(struct np_linkbuf *b, size_t n)
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
helper struct np_linkbuf *given_blocks(int n, const size_t *len)
{
	struct np_linkbuf *b = given_empty(0);

	for (int i = 0; i < n; i++)
		add_block(b, len[i]);
	return b;
}
#define GIVEN_BLOCKS(...) \
	given_blocks(sizeof((size_t[]){ __VA_ARGS__ }) / sizeof(size_t), (size_t[]){ __VA_ARGS__ })

helper const void *must_next(struct np_linkbuf *b, size_t n)
{
	const void *p = NULL;

	ck_assert_int_eq(np_linkbuf_next(b, n, &p), 0);
	return p;
}

helper const void *must_peek(struct np_linkbuf *b, size_t n)
{
	const void *p = NULL;

	ck_assert_int_eq(np_linkbuf_peek(b, n, &p), 0);
	return p;
}

helper void ck_numbers(const void *p, size_t from, size_t n)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < n; i++)
		if (c[i] != (unsigned char)(from + i))
			ck_abort_msg("byte %zu of %zu is %u", i, n, c[i]);
}

helper void reads_as(struct np_linkbuf *b, const char *s)
{
	ck_assert_uint_eq(np_linkbuf_len(b), strlen(s));
	ck_assert_mem_eq(must_next(b, strlen(s)), s, strlen(s));
}

__attribute__((unused)) static int dones;

helper void count_done(void *arg)
{
	dones++;
	if (arg)
		++*(int *)arg;
}

#undef helper

#endif
