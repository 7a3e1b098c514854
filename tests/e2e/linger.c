/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linger: the values of a linger, set for one connection or for a server: -1 no limit, 0 what the
 * next one up says, NP_NOW none at all
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define LARGE    (16u << 20) /* more than all buffers of the kernel on a way */
#define SHORT_MS 800         /* for one that ends at once a busy machine takes less */

enum { NO_LIMIT, NEXT_ONE_UP, NOW, VALUES };

static const int values[VALUES] = { -1, 0, NP_NOW };
static struct {
	_Atomic(bool) closed;
	_Atomic(int) why;
} saw[VALUES];
static char *bytes;

static int reply_and_close(struct np_conn *c, void *arg)
{
	const unsigned char *which;
	int r = np_conn_next(c, 1, (const void **)&which);

	if (r < 0)
		return r;
	np_conn_set_data(c, &saw[*which]);
	if (!arg) { /* the last one set counts */
		np_conn_set_linger(c, *which == NEXT_ONE_UP ? -1 : SHORT_MS);
		r = np_conn_set_linger(c, values[*which]);
	}
	if (r == 0)
		r = np_conn_write_ref(c, bytes, LARGE, NULL, NULL);
	if (r == 0)
		r = np_conn_flush(c);
	return r < 0 ? r : np_conn_close(c);
}

static void on_close(struct np_conn *c, void *arg)
{
	_Atomic(bool) *closed = np_conn_data(c);
	size_t i = (size_t)((char *)closed - (char *)saw) / sizeof saw[0];

	saw[i].why = np_conn_error(c);
	saw[i].closed = true;
}

static void given_server(int linger_ms, bool by_server)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = reply_and_close,
					      .on_close = on_close };

	bytes = calloc(1, LARGE);
	serve(1, &h, by_server ? saw : NULL,
	      NP_OPTS(np_server_opts, .linger_ms = linger_ms, .limits.out_high = 2 * LARGE,
		      .min_rate = 1 << 30));
}

static int given_closed(unsigned char which)
{
	int fd = serve_connect(0);

	peer_send(fd, &which, 1);
	return fd;
}

static void end(void)
{
	serve_end();
	free(bytes);
}

/* What a peer gets that begins to read only now. */
static void expect_all(int *fd, unsigned char which)
{
	char *got = malloc(LARGE);

	peer_recv(*fd, got, LARGE);
	peer_expect_eof(*fd);
	peer_close(fd);
	free(got);
	AWAIT(saw[which].closed);
	ck_assert_int_eq(saw[which].why, -NP_ECLOSED);
}

static void expect_cut(int *fd, unsigned char which)
{
	AWAIT(saw[which].closed);
	ck_assert_int_eq(saw[which].why, -NP_EWRITETIMEOUT);
	ck_assert_uint_lt(peer_drain(*fd), LARGE);
	peer_close(fd);
}

START_TEST(none_is_at_once_the_servers_is_short_and_no_limit_outlives_both)
{
	int fd[VALUES];

	given_server(SHORT_MS, false);
	for (unsigned char i = 0; i < VALUES; i++)
		fd[i] = given_closed(i);
	AWAIT(saw[NOW].closed);
	ck_assert(!saw[NEXT_ONE_UP].closed);
	expect_cut(&fd[NOW], NOW);
	expect_cut(&fd[NEXT_ONE_UP], NEXT_ONE_UP);
	ck_assert(!saw[NO_LIMIT].closed);
	expect_all(&fd[NO_LIMIT], NO_LIMIT);
	end();
}
END_TEST

/* A second is the default. */
START_TEST(a_server_may_have_no_limit_or_no_linger)
{
	unsigned char which = (unsigned char)_i;
	uint64_t began = now_ms();
	int fd;

	given_server(values[which], true);
	fd = given_closed(which);
	if (which == NO_LIMIT) {
		AWAIT(now_ms() > began + 1700);
		ck_assert(!saw[which].closed);
		expect_all(&fd, which);
	} else {
		expect_cut(&fd, which);
	}
	end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "values");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, none_is_at_once_the_servers_is_short_and_no_limit_outlives_both);
	tcase_add_loop_test(t, a_server_may_have_no_limit_or_no_linger, 0, VALUES);
}
