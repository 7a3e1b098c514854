/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover_moments: what happens at one moment of a hand-over: connections go from one poller to
 * another, or an on_export keeps its poller
 *
 * Both servers are of this process, with two pollers each. The old one's pollers are looked at one
 * after the other. @witness is the one connection of the first: it stays, and its on_export makes
 * @mover leave the second for the first, which has been looked at by then.
 */
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

#include "poll/poller_private.h"
#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define KEPT_MS 100 /* a poller, where nothing tells that the others are through */

static struct {
	_Atomic(struct np_conn *) witness, mover; /* of the old server */
	bool loops;                               /* the handler of the mover does not return */
	bool keeps;                               /* the poller that it goes to is kept */
	bool blocks;                              /* on_export of the witness does */
	_Atomic(bool) moves, over;
	struct np_server *next;
	struct np_pollers *next_pollers;
	int socks[2];
	struct np_handed_over handed;
	_Atomic(int) r;
} ut;

/* ------------------------------------------------------------------ a move, at the right moment */

/* Until the hand-over asks for what this poller has: so that is done at its next turn. */
static void await_mail(void)
{
	while (!mailbox_any(&poller_self()->mailbox))
		test_pause();
}

static int move(void *arg)
{
	int r = np_conn_move(ut.mover, 0);

	if (ut.loops) {
		ut.moves = true;
		await_mail();
	}
	return r;
}

static void keep(void *arg)
{
	uint64_t end = now_ms() + KEPT_MS;

	while (!ut.over && now_ms() < end)
		test_pause();
}

/* It does what it may not: it waits, here until the hand-over has ended without it. */
static int await_end(void)
{
	ut.blocks = false;
	while (!ut.over)
		test_pause();
	return 0;
}

static int on_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	if (c != ut.witness)
		return 0;
	if (ut.blocks)
		return await_end();
	if (ut.keeps)
		np_post(pollers, 0, keep, NULL);
	np_go(pollers, 1, move, NULL, NULL);
	while (!ut.moves)
		test_pause();
	return -1;
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	ut.moves = true;
}

static int on_import(struct np_conn *c, void *arg, const void *blob, size_t n)
{
	return 0;
}

/* ------------------------------------------------------------------ servers */

/* The answer to a byte says which server gave it, and on which poller. */
static int answer(struct np_conn *c, void *arg)
{
	char s[2] = { arg ? 'n' : 'o', (char)('0' + np_conn_poller(c)) };
	int r = np_conn_skip(c, 1);

	if (r == 0)
		r = np_conn_write(c, s, sizeof s);
	return r == 0 ? np_conn_flush(c) : r;
}

static int on_request(struct np_conn *c, void *arg)
{
	int r;

	if (!arg && !ut.mover && np_conn_poller(c) == 1)
		ut.mover = c;
	else if (!arg && ut.mover && !ut.witness && np_conn_poller(c) == 0)
		ut.witness = c;
	do {
		r = np_conn_wait_movable(c, 1);
		if (r == 0)
			r = answer(c, arg);
	} while (r == 0 && ut.loops);
	return r;
}

static const struct np_handlers handlers = { .sz = sizeof handlers,
					     .on_request = on_request,
					     .on_move = on_move,
					     .on_export = on_export,
					     .on_import = on_import };

static void expect_answer(int fd, char server, char poller)
{
	char s[2];

	peer_send(fd, "x", 1);
	peer_recv(fd, s, sizeof s);
	ck_assert_int_eq(s[0], server);
	ck_assert_int_eq(s[1], poller);
}

/* The kernel's hash chooses: others are closed. */
static int client_of(char poller)
{
	for (;;) {
		int fd = serve_connect(0);
		char s[2];

		peer_send(fd, "x", 1);
		peer_recv(fd, s, sizeof s);
		if (s[1] == poller)
			return fd;
		peer_close(&fd);
	}
}

static void *hand_over(void *arg)
{
	char where[16];

	snprintf(where, sizeof where, "fd:%d", ut.socks[0]);
	ut.handed = (struct np_handed_over){ .sz = sizeof ut.handed };
	ut.r = np_server_hand_over(serve_server, where,
				   NP_OPTS(np_hand_over_opts, .work_ms = ut.blocks ? 1 : AWAIT_MS,
					   .answer_ms = ut.blocks ? 1000 : AWAIT_MS),
				   &ut.handed);
	ut.over = true;
	return NULL;
}

static void given_next(void)
{
	char where[16];

	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 2, .pin = NP_OFF),
					  &ut.next_pollers),
			 0);
	ck_assert_int_eq(np_server_new(ut.next_pollers, &handlers, &ut, NULL, &ut.next), 0);
	snprintf(where, sizeof where, "fd:%d", ut.socks[1]);
	ck_assert_int_eq(np_server_take_over(ut.next, where, AWAIT_MS), 1);
	ck_assert_int_eq(np_server_start(ut.next), 0);
}

static void end_next(void)
{
	ck_assert_int_eq(np_server_stop(ut.next, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_free(&ut.next), 0);
	ck_assert_int_eq(np_pollers_stop(ut.next_pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&ut.next_pollers), 0);
}

/* ------------------------------------------------------------------ the promise */

static int witness, mover; /* their peers */

static void hand_all_over(void)
{
	pthread_t t;

	serve(2, &handlers, NULL, NP_OPTS(np_server_opts, .steer = NP_STEER_OFF));
	mover = client_of('1');
	witness = client_of('0');
	AWAIT(serve_conns() == 2);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ut.socks), 0);
	pthread_create(&t, NULL, hand_over, NULL);
	given_next();
	AWAIT(ut.over);
	pthread_join(t, NULL);
	ck_assert_int_eq(ut.r, 0);
}

static void end(void)
{
	peer_close(&mover);
	peer_close(&witness);
	end_next();
	serve_end();
}

static void one_that_moves_goes_along(void)
{
	hand_all_over();

	ck_assert_uint_eq(ut.handed.handed, 1);
	ck_assert_uint_eq(ut.handed.stays, 1);
	ck_assert_uint_eq(ut.handed.busy, 0);
	expect_answer(mover, 'n', '0');
	expect_answer(witness, 'o', '0');
	end();
}

START_TEST(one_that_moves_to_a_poller_that_was_looked_at_is_not_lost)
{
	one_that_moves_goes_along();
}
END_TEST

START_TEST(one_that_is_on_its_way_to_a_poller_that_is_kept_is_waited_for)
{
	ut.keeps = true;
	one_that_moves_goes_along();
}
END_TEST

START_TEST(one_whose_handler_is_being_sent_home_for_a_move_is_waited_for)
{
	ut.loops = true;
	one_that_moves_goes_along();
}
END_TEST

/* Nothing is lost: what it gives in the end is taken back. */
START_TEST(an_on_export_that_does_not_return_ends_the_hand_over_in_its_time)
{
	ut.blocks = true;
	hand_all_over();

	ck_assert_uint_eq(ut.handed.handed, 1);
	ck_assert_uint_eq(ut.handed.busy, 1);
	ck_assert_uint_eq(ut.handed.because[NP_STAYS_AT_WORK], 1);
	expect_answer(mover, 'n', '1');
	expect_answer(witness, 'o', '0');
	end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "handover_moments");

	tcase_add_test(t, one_that_moves_to_a_poller_that_was_looked_at_is_not_lost);
	tcase_add_test(t, one_that_is_on_its_way_to_a_poller_that_is_kept_is_waited_for);
	tcase_add_test(t, one_whose_handler_is_being_sent_home_for_a_move_is_waited_for);
	tcase_add_test(t, an_on_export_that_does_not_return_ends_the_hand_over_in_its_time);
}
