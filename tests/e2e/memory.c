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

#define PEERS 200
#define FRAME (64u << 10)

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

START_TEST(blocks_of_a_burst_go_back_while_its_connections_stay)
{
	static char half[FRAME / 2];
	int fd[PEERS];
	char c;

	serve(1, &handlers, NULL, NULL);
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
	AWAIT(blocks().bytes_mapped <= 512u << 10);
	ck_assert_uint_eq(serve_conns(), PEERS);

	for (unsigned i = 0; i < PEERS; i++)
		peer_close(&fd[i]);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "memory");

	tcase_add_test(t, blocks_of_a_burst_go_back_while_its_connections_stay);
}
