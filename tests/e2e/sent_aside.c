/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sent_aside: what a handler had flushed reaches its peer although the handler keeps its thread;
 * public headers only
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <stdlib.h>
#include <string.h>

#include "support/blocker.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/test.h"

enum { LARGE = 3000, HUGE_SIZE = 16 << 20, BUILT = 64 * 1024 };

static char *huge;
static _Atomic(bool) heard; /* by the peer of one that builds */
static _Atomic(long) built;

static int write_large(struct np_conn *c)
{
	char s[LARGE];

	memset(s, 'l', sizeof s);
	return np_conn_write(c, s, sizeof s);
}

/* More than the kernel takes. */
static int write_huge(struct np_conn *c)
{
	return np_conn_write_ref(c, huge, HUGE_SIZE, NULL, NULL);
}

/*
 * By the writing verbs of its output, which no other thread may disturb: behind what is on its way
 * it grows, from block to block, and is cut off again.
 */
static int build(struct np_conn *c)
{
	struct np_linkbuf *out = np_conn_out(c);
	size_t n = 0;
	int r = 0;

	while (r == 0 && !heard) {
		r = np_linkbuf_write(out, "built behind it", 15);
		n += 15;
		if (r == 0 && n > BUILT)
			r = np_linkbuf_trim(out, 0);
		n = n > BUILT ? 0 : n;
	}
	built = (long)n;
	return r;
}

static void wait_at_gate(void *arg)
{
	blocker_wait();
}

static int flush_and_wait(struct np_conn *c)
{
	int r = np_conn_flush(c);

	if (r == 0)
		blocker_wait();
	return r;
}

/* One byte says what to do first; it is the answer. */
static int answer(struct np_conn *c, char op)
{
	int r = 0;

	switch (op) {
	case 'b':
		blocker_wait();
		break;
	case 'n':
		r = np_blocking(wait_at_gate, NULL);
		break;
	case 'l':
		r = write_large(c);
		break;
	case 'f':
		r = np_conn_write(c, "f", 1);
		if (r == 0)
			r = flush_and_wait(c);
		break;
	case 'h':
		r = write_huge(c);
		if (r == 0)
			r = flush_and_wait(c);
		break;
	case 'o':
		r = build(c);
		break;
	default:
		break;
	}
	return r < 0 ? r : blocker_answer(c, op);
}

static int on_request(struct np_conn *c, void *arg)
{
	char op;
	int r = blocker_take(c, &op);

	return r < 0 ? r : answer(c, op);
}

static const struct np_server_opts roomy = {
	.sz = sizeof roomy,
	.drain_ms = 1,
	.fresh_ms = 1,
	.linger_ms = 1,
	.steer = NP_STEER_OFF,
	.limits.out_high = 2 * HUGE_SIZE,
};

static void setup(void)
{
	heard = false;
	built = 0;
	huge = malloc(HUGE_SIZE);
	memset(huge, 'h', HUGE_SIZE);
	given_blocker(blocker_handlers(on_request), 0, &roomy);
}

static void teardown(void)
{
	end_blocker();
	free(huge);
}

/* One segment, so that the handler finds all of it. */
static int given_batch(const char *ops)
{
	int fd = blocker_peer();

	peer_send(fd, ops, strlen(ops));
	return fd;
}

/* In one piece each, the byte @op. */
static void must_hear(int fd, char op, size_t n)
{
	char *got = malloc(n);

	peer_recv(fd, got, n);
	for (size_t i = 0; i < n; i++)
		if (got[i] != op)
			ck_abort_msg("byte %zu of %zu: '%c', not '%c'", i, n, got[i], op);
	free(got);
}

/* ------------------------------------------------------------------ what leaves */

START_TEST(the_replies_of_a_batch_before_the_one_that_blocks)
{
	int fd = given_batch("xyzb");

	must_answer(fd, 'x');
	must_answer(fd, 'y');
	must_answer(fd, 'z');
	ck_assert_int_eq(blocker_begun, 1);
	must_go_on(&fd, 'b');
}
END_TEST

START_TEST(replies_that_lie_in_several_blocks)
{
	int fd = given_batch("lllllllllllllllb");

	for (int i = 0; i < 15; i++)
		must_hear(fd, 'l', LARGE + 1);
	must_go_on(&fd, 'b');
}
END_TEST

START_TEST(what_the_handler_flushed_itself_before_it_blocks)
{
	int fd = given_batch("xfy");

	must_answer(fd, 'x');
	must_answer(fd, 'f');
	blocker_let();
	must_answer(fd, 'f');
	must_answer(fd, 'y');
	peer_close(&fd);
}
END_TEST

START_TEST(the_replies_of_each_one_of_a_crowd)
{
	enum { N = 8 };
	int fd[N];

	for (int i = 0; i < N; i++)
		fd[i] = given_batch("xb");
	for (int i = 0; i < N; i++)
		must_answer(fd[i], 'x');
	for (int i = 0; i < N; i++)
		blocker_let();
	for (int i = 0; i < N; i++) {
		must_answer(fd[i], 'b');
		peer_close(&fd[i]);
	}
}
END_TEST

START_TEST(where_all_threads_are_taken_nothing_waits_for_another)
{
	int a, b;

	end_blocker();
	given_blocker(blocker_handlers(on_request), 1, &roomy);
	a = given_left_alone('b');
	b = given_batch("xb");
	must_answer(b, 'x');
	blocker_let();
	blocker_let();
	must_answer(a, 'b');
	must_answer(b, 'b');
	peer_close(&a);
	peer_close(&b);
}
END_TEST

static const struct np_handlers unflagged = {
	.sz = sizeof unflagged,
	.on_request = on_request,
};

START_TEST(the_replies_before_a_call_of_np_blocking)
{
	int fd;

	end_blocker();
	given_blocker(_i ? blocker_handlers(on_request) : &unflagged, 0, &roomy);
	fd = given_batch("xyn");
	must_answer(fd, 'x');
	must_answer(fd, 'y');
	must_go_on(&fd, 'n');
}
END_TEST

/* ------------------------------------------------------------------ and what does not */

/* What it builds meanwhile is its own until it is flushed. */
START_TEST(beside_a_handler_that_builds_on)
{
	int fd = given_batch("llxo");
	char s[15];
	long n = 0;

	must_hear(fd, 'l', LARGE + 1);
	must_hear(fd, 'l', LARGE + 1);
	must_answer(fd, 'x');
	heard = true;
	for (peer_recv(fd, s, 1); s[0] != 'o'; peer_recv(fd, s, 1)) {
		peer_recv(fd, s + 1, sizeof s - 1);
		ck_assert_mem_eq(s, "built behind it", sizeof s);
		n += (long)sizeof s;
	}
	ck_assert_int_eq(n, built);
	peer_close(&fd);
}
END_TEST

/* ------------------------------------------------------------------ its peer */

START_TEST(what_the_kernel_did_not_take_at_once_follows_when_it_does)
{
	int fd = given_batch("xh");

	must_answer(fd, 'x');
	must_hear(fd, 'h', HUGE_SIZE);
	ck_assert_int_eq(blocker_begun, 1);
	must_go_on(&fd, 'h');
}
END_TEST

START_TEST(of_a_peer_that_reset_it_the_handler_hears_when_it_is_back)
{
	int fd = given_batch("xh");

	must_answer(fd, 'x');
	AWAIT(pollers_stats().away == 1);
	peer_reset(&fd);
	must_serve();
	AWAIT(blocker_closed == 1); /* the other one */
	blocker_let();
	AWAIT(blocker_closed == 2);
	ck_assert_int_ne(blocker_error, 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "sent although its handler keeps its thread");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_replies_of_a_batch_before_the_one_that_blocks);
	tcase_add_test(t, replies_that_lie_in_several_blocks);
	tcase_add_test(t, what_the_handler_flushed_itself_before_it_blocks);
	tcase_add_test(t, the_replies_of_each_one_of_a_crowd);
	tcase_add_test(t, where_all_threads_are_taken_nothing_waits_for_another);
	tcase_add_loop_test(t, the_replies_before_a_call_of_np_blocking, 0, 2);
	tcase_add_test(t, beside_a_handler_that_builds_on);
	tcase_add_test(t, what_the_kernel_did_not_take_at_once_follows_when_it_does);
	tcase_add_test(t, of_a_peer_that_reset_it_the_handler_hears_when_it_is_back);
}
