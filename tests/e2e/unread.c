/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unread: what has come on a connection without handlers, whose fiber is elsewhere when the peer
 * leaves
 */
#include <errno.h>
#include <netpoll/client.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/test.h"

static int listener, peer;
static char address[32];
static struct np_conn *conn;

static void setup(void)
{
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF));
	listener = peer_listen(address, sizeof address);
}

static void teardown(void)
{
	close(listener);
	end_pollers();
}

static void on_a_fiber(int (*fn)(void *), void *arg)
{
	ck_assert_int_eq(np_run(pollers, fn, arg), 0);
}

static void some_turns(void)
{
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(np_yield(), 0);
}

/* "bytes" have come, and the peer has left, by FIN or by RST. */
static int left_unread(void *resets)
{
	ck_assert_int_eq(np_dial(NULL, NP_HERE, "tcp", address, NULL, &conn), 0);
	peer = accept(listener, NULL, NULL);
	peer_send(peer, "bytes", 5);
	while (resets && np_conn_len(conn) < 5)
		ck_assert_int_eq(np_yield(), 0);
	if (resets)
		peer_reset(&peer);
	else
		close(peer);
	while (!np_conn_error(conn))
		ck_assert_int_eq(np_yield(), 0);
	some_turns();
	return 0;
}

static int is_read(void *resets)
{
	const void *p;

	left_unread(resets);
	ck_assert_uint_eq(np_conn_len(conn), 5);
	ck_assert_int_eq(np_conn_next(conn, 5, &p), 0);
	ck_assert_mem_eq(p, "bytes", 5);
	ck_assert_int_eq(np_conn_next(conn, 1, &p), resets ? -ECONNRESET : -NP_EEOF);
	while (np_conn_fd(conn) >= 0)
		ck_assert_int_eq(np_yield(), 0);
	np_conn_unref(conn);
	return 0;
}

START_TEST(is_read_later_and_then_the_connection_ends)
{
	on_a_fiber(is_read, _i ? &conn : NULL);
}
END_TEST

static int given_up(void *arg)
{
	left_unread(NULL);
	np_conn_unref(conn);
	return 0;
}

START_TEST(goes_with_the_last_reference_on_whatever_thread)
{
	int before = open_fds();

	on_a_fiber(_i ? left_unread : given_up, NULL);
	if (_i)
		np_conn_unref(conn);
	AWAIT(open_fds() == before);
}
END_TEST

static int is_closed(void *arg)
{
	left_unread(NULL);
	np_conn_close(conn);
	np_conn_unref(conn);
	return 0;
}

START_TEST(goes_with_a_close)
{
	int before = open_fds();

	on_a_fiber(is_closed, NULL);
	AWAIT(open_fds() == before);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "unread");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, is_read_later_and_then_the_connection_ends, 0, 2);
	tcase_add_loop_test(t, goes_with_the_last_reference_on_whatever_thread, 0, 2);
	tcase_add_test(t, goes_with_a_close);
}
