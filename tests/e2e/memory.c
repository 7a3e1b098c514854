/* SPDX-License-Identifier: BSD-2-Clause */
/* memory: what connections hold, and what is given back; by the library's own count. Public headers
 * only. */
#include <arpa/inet.h>
#include <netpoll/block.h>
#include <netpoll/conn.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define PEERS      200
#define FRAME      (64u << 10)
#define BLOCKED_MS 3000 /* what looks after blocks does that each second */

static struct np_block_stats blocks(void)
{
	struct np_block_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_block_stats(&st), 0);
	return st;
}

/* Waits for a whole frame and answers with one byte. */
static int take_frame(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, FRAME, &p);

	if (r == 0)
		r = np_conn_write(c, p, 1);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers handlers = { .sz = sizeof handlers, .on_request = take_frame };

/* Until all blocks of it are free again. */
static void burst(int fd[])
{
	static char half[FRAME / 2];
	char c;

	for (unsigned i = 0; i < PEERS; i++)
		fd[i] = serve_connect(0);
	for (unsigned i = 0; i < PEERS; i++)
		peer_send(fd[i], half, sizeof half);
	AWAIT(blocks().bytes_in_use >= PEERS * sizeof half);
	for (unsigned i = 0; i < PEERS; i++)
		peer_send(fd[i], half, sizeof half);
	for (unsigned i = 0; i < PEERS; i++)
		peer_recv(fd[i], &c, 1);

	AWAIT(blocks().blocks_in_use == 0);
}

static void expect_blocks_go_back(int fd[])
{
	AWAIT(blocks().bytes_mapped <= 512u << 10);
	ck_assert_uint_eq(serve_conns(), PEERS);

	for (unsigned i = 0; i < PEERS; i++)
		peer_close(&fd[i]);
	serve_end();
}

START_TEST(blocks_of_a_burst_go_back_while_its_connections_stay)
{
	int fd[PEERS];

	serve(1, &handlers, NULL, NULL);
	burst(fd);
	expect_blocks_go_back(fd);
}
END_TEST

static _Atomic(bool) kept, timed;

static void note_time(void *arg)
{
	timed = true;
}

static void keep_thread(void *arg)
{
	kept = true;
	while (!timed)
		test_pause();
}

static int keep_for_a_while(void *arg)
{
	struct np_timer *t = NULL;
	int r = np_timer_start(BLOCKED_MS, note_time, NULL, &t);

	if (r == 0)
		r = np_blocking(keep_thread, NULL);
	np_timer_stop(&t);
	return r;
}

/* What looks after them fires meanwhile, on the thread that has taken the poller over. */
START_TEST(blocks_of_a_thread_that_was_left_alone_behind_a_burst_go_back_too)
{
	int fd[PEERS];
	struct np_task *t;

	serve(1, &handlers, NULL, NULL);
	burst(fd);
	t = given_task(0, keep_for_a_while, NULL);
	AWAIT(kept);
	ck_assert_int_eq(joined(t), 0);
	ck_assert_uint_eq(pollers_stats().handoffs, 1);
	expect_blocks_go_back(fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "memory");

	tcase_add_test(t, blocks_of_a_burst_go_back_while_its_connections_stay);
	tcase_add_test(t, blocks_of_a_thread_that_was_left_alone_behind_a_burst_go_back_too);
}
