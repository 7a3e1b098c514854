/* SPDX-License-Identifier: BSD-2-Clause */
/* stream_read: how many reads what a peer has sent takes, over a transport that has it all. */
#include "conn/stream.h"

#include <errno.h>
#include <string.h>

#include "netpoll/linkbuf.h"
#include "support/test.h"

static size_t queued;
static unsigned reads;

static size_t take(size_t n)
{
	size_t k = n < queued ? n : queued;

	queued -= k;
	return k;
}

static ssize_t read_queued(struct stream *s, void *p, size_t n)
{
	size_t k = take(n);

	reads++;
	memset(p, 'x', k);
	return k ? (ssize_t)k : -EAGAIN;
}

static ssize_t readv_queued(struct stream *s, const struct iovec *iov, int niov)
{
	size_t k = 0;

	reads++;
	for (int i = 0; i < niov; i++) {
		size_t n = take(iov[i].iov_len);

		memset(iov[i].iov_base, 'x', n);
		k += n;
	}
	return k ? (ssize_t)k : -EAGAIN;
}

static const struct transport whole = { .read = read_queued,
					.readv = readv_queued,
					.short_is_all = true };

static void given_stream(struct stream *s)
{
	stream_init(s, TRANSPORT_TCP, -1);
	s->transport = &whole;
}

/* Reads until there is no more, and takes it all. Return: how many reads that took. */
static unsigned reads_of(struct stream *s, size_t n)
{
	queued = n;
	reads = 0;
	s->goes_on = 0;
	while (stream_read(s, 1u << 20) == STREAM_MORE)
		;
	ck_assert_uint_eq(linkbuf_len(&s->in), n);
	np_linkbuf_skip(&s->in, n);
	stream_release(s);
	return reads;
}

static const struct {
	unsigned n, size, head;
} batches[] = {
	{ 1, 1024, 4 },   { 1, 4096, 4 },    { 1, 16384, 4 },  { 1, 65536, 4 },
	{ 1, 131072, 4 }, { 1, 262144, 64 }, { 16, 16384, 4 }, { 256, 1024, 60 },
};

START_TEST(messages_of_a_power_of_two_with_their_heads_are_one_read_up_to_256_KiB)
{
	size_t n = batches[_i].n * (size_t)(batches[_i].size + batches[_i].head);
	struct stream s;

	given_stream(&s);
	reads_of(&s, n);
	for (int i = 0; i < 40; i++) /* what it has adapted to it keeps */
		ck_assert_uint_eq(reads_of(&s, n), 1);
	stream_fini(&s);
}
END_TEST

START_TEST(a_megabyte_with_its_head_is_four_reads)
{
	struct stream s;

	given_stream(&s);
	reads_of(&s, (1u << 20) + 4);
	ck_assert_uint_eq(reads_of(&s, (1u << 20) + 4), 4);
	stream_fini(&s);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "stream_read");

	tcase_add_loop_test(t,
			    messages_of_a_power_of_two_with_their_heads_are_one_read_up_to_256_KiB,
			    0, sizeof batches / sizeof batches[0]);
	tcase_add_test(t, a_megabyte_with_its_head_is_four_reads);
}
