/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * move_memory: each calloc(3) of a move fails in turn, and the connection goes on or ends
 *
 * What the system refuses (slabs, blocks, epoll) is tests/faults.c's part.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "support/peer.h"
#include "support/sanitizer.h"
#include "support/serve.h"
#include "support/test.h"

#ifndef OTHERS_MALLOC
static _Atomic(int) fail_in, failed;

#pragma GCC visibility push(default)
void *__libc_calloc(size_t n, size_t m);

void *calloc(size_t n, size_t m)
{
	if (fail_in && !--fail_in) {
		failed++;
		return NULL;
	}
	return __libc_calloc(n, m);
}
#pragma GCC visibility pop

static _Atomic(int) left, arrived, closes;

static void on_move(struct np_conn *c, void *arg, bool here)
{
	if (here)
		arrived++;
	else
		left++;
}

static void on_close(struct np_conn *c, void *arg)
{
	closes++;
}

static int on_request(struct np_conn *c, void *arg)
{
	const char *p;
	int r = np_conn_next(c, 1, (const void **)&p);

	if (r == 0)
		r = np_conn_write(c, p, 1);
	if (r == 0 && *p == 'm' && np_conn_move(c, 1 - np_conn_poller(c)) == -ENOMEM)
		r = np_conn_write(c, "!", 1);
	return r < 0 ? r : np_conn_flush(c);
}

/* Return: whether the @nth was asked for. */
static bool move_without(int nth)
{
	static const struct np_handlers h = {
		.sz = sizeof h, .on_request = on_request, .on_close = on_close, .on_move = on_move
	};
	char answer[2];
	int fd;

	left = arrived = closes = failed = 0;
	serve(2, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	peer_recv(fd, answer, 1);
	fail_in = nth;
	peer_send(fd, "m", 1);
	peer_recv(fd, answer, 1);
	AWAIT(failed || (left && arrived == left));
	fail_in = 0;
	peer_send(fd, "y", 1);
	peer_recv(fd, answer, 1);
	if (answer[0] == '!')
		peer_recv(fd, answer, 1);
	ck_assert_int_eq(answer[0], 'y');
	peer_close(&fd);
	AWAIT(closes == 1);
	serve_end();
	return failed;
}
#endif

START_TEST(a_move_for_which_there_is_no_memory_leaves_the_connection_as_it_was)
{
#ifdef OTHERS_MALLOC
	SKIP("the sanitizer has its own malloc");
#else
	int nth = 1;

	while (move_without(nth))
		nth++;
	ck_assert_int_ge(nth, 3); /* what it is to move to, and the parcel */
#endif
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "move_memory");

	tcase_add_test(t, a_move_for_which_there_is_no_memory_leaves_the_connection_as_it_was);
}
