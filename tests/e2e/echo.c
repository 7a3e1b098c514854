/* SPDX-License-Identifier: BSD-2-Clause */
/* echo: examples/echo --framed, by frames that are larger than what it holds of them. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "support/example.h"
#include "support/peer.h"
#include "support/test.h"

#define FRAME_MAX (16u << 20)

static struct example echo;

static int given_framed(void)
{
	example_start(&echo, "echo", -1, "--framed --listen 127.0.0.1:0 --steer off --pollers 1");
	return example_connect(&echo);
}

static void over(int fd)
{
	peer_close(&fd);
	example_end(&echo);
}

/* With its length in front. The caller frees it. */
static unsigned char *frame_of(uint32_t n)
{
	unsigned char *f = malloc(4 + (size_t)n);
	uint32_t be = htonl(n);

	ck_assert_ptr_nonnull(f);
	memcpy(f, &be, 4);
	for (uint32_t i = 0; i < n; i++)
		f[4 + i] = (unsigned char)(i * 31 + i / 4096);
	return f;
}

static void expect(int fd, const unsigned char *bytes, size_t n)
{
	unsigned char *got = malloc(n);

	ck_assert_ptr_nonnull(got);
	peer_recv(fd, got, n);
	ck_assert(memcmp(got, bytes, n) == 0);
	free(got);
}

START_TEST(a_large_frame_goes_back_as_it_comes)
{
	enum { N = 1 << 20, HALF = N / 2 };
	unsigned char *frame = frame_of(N);
	int fd = given_framed();

	for (int i = 0; i < 3; i++) {
		peer_send(fd, frame, HALF);
		expect(fd, frame, HALF);
		peer_send(fd, frame + HALF, 4 + N - HALF);
		expect(fd, frame + HALF, 4 + N - HALF);
	}
	free(frame);
	over(fd);
}
END_TEST

START_TEST(frames_of_all_sizes_follow_one_another)
{
	static const uint32_t sizes[] = { 0, 64, 16383, 16384, 1 << 18, 3 << 18, 100, 1 << 20 };
	int fd = given_framed();

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		unsigned char *frame = frame_of(sizes[i]);

		/* the next one's head comes with this one's end */
		peer_send(fd, frame, 4 + (size_t)sizes[i]);
		peer_send(fd, "\0\0\0", 3);
		expect(fd, frame, 4 + (size_t)sizes[i]);
		peer_send(fd, "\1x", 2);
		expect(fd, (const unsigned char *)"\0\0\0\1x", 5);
		free(frame);
	}
	over(fd);
}
END_TEST

START_TEST(a_peer_may_send_all_of_its_frame_before_it_reads)
{
	unsigned char *frame = frame_of(FRAME_MAX);
	int fd = given_framed();

	peer_send(fd, frame, 4 + (size_t)FRAME_MAX);
	expect(fd, frame, 4 + (size_t)FRAME_MAX);
	free(frame);
	over(fd);
}
END_TEST

START_TEST(a_length_over_the_limit_ends_the_connection)
{
	uint32_t be = htonl(FRAME_MAX + 1);
	int fd = given_framed();

	peer_send(fd, &be, 4);
	peer_expect_eof(fd);
	over(fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "framed");

	tcase_add_test(t, a_large_frame_goes_back_as_it_comes);
	tcase_add_test(t, frames_of_all_sizes_follow_one_another);
	tcase_add_test(t, a_peer_may_send_all_of_its_frame_before_it_reads);
	tcase_add_test(t, a_length_over_the_limit_ends_the_connection);
}
