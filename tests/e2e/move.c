/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * move: a connection goes to another poller, and its peer, its senders and its end do not notice
 *
 * The server has three pollers. A request is one byte that says what its handler does: 'm' asks for
 * the next poller, any other byte is echoed. Each answer is the byte and the number of the poller
 * that gave it.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define POLLERS 3

static struct {
	_Atomic(int) left, arrived, closes, disconnects, error, moved, posted, said, wrong_thread;
	_Atomic(struct np_conn *) conn; /* with a reference */
	_Atomic(bool) stop;
	int (*in_move)(struct np_conn *c, bool arrived); /* what on_move does besides */
	bool every_request;
	int idle_ms; /* from the move on */
} ut;

static int here(struct np_conn *c)
{
	return np_conn_poller(c);
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	if (arrived)
		ut.arrived++;
	else
		ut.left++;
	if (np_poller_self() != here(c))
		ut.wrong_thread++;
	if (ut.in_move)
		ut.in_move(c, arrived);
}

static int on_request(struct np_conn *c, void *arg)
{
	const void *p;
	char answer[2];
	int r = np_conn_next(c, 1, &p);

	if (r < 0)
		return r;
	if (!ut.conn)
		ut.conn = np_conn_ref(c);
	answer[0] = *(const char *)p;
	answer[1] = (char)('0' + here(c));
	if (answer[0] == 'm' || ut.every_request)
		ut.moved = np_conn_move(c, (here(c) + 1) % POLLERS);
	if (ut.idle_ms)
		np_conn_set_idle_timeout(c, ut.idle_ms);
	r = np_conn_write(c, answer, 2);
	return r < 0 ? r : np_conn_flush(c);
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	ut.disconnects++;
}

static void on_close(struct np_conn *c, void *arg)
{
	ut.error = np_conn_error(c);
	ut.closes++;
}

static const struct np_handlers handlers = { .sz = sizeof handlers,
					     .on_request = on_request,
					     .on_disconnect = on_disconnect,
					     .on_close = on_close,
					     .on_move = on_move };

static void given(const struct np_server_opts *o)
{
	serve(POLLERS, &handlers, NULL, o);
}

static void leave(void)
{
	struct np_conn *c = ut.conn;

	if (c)
		np_conn_unref(c);
	ck_assert_int_eq(ut.wrong_thread, 0);
	serve_end();
}

/* Return: which poller has answered. */
static int ask(int fd, char request)
{
	char answer[2];

	peer_send(fd, &request, 1);
	peer_recv(fd, answer, 2);
	ck_assert_int_eq(answer[0], request);
	return answer[1] - '0';
}

/* ------------------------------------------------------------------ the promise */

START_TEST(a_connection_goes_on_where_it_was_moved_to)
{
	int fd, first, next;

	given(NULL);
	fd = serve_connect(0);
	first = ask(fd, 'm');
	AWAIT(ut.arrived == 1);
	next = ask(fd, 'x');

	ck_assert_int_eq(ut.moved, 0);
	ck_assert_int_eq(next, (first + 1) % POLLERS);
	ck_assert_int_eq(ut.left, 1);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	ck_assert_int_eq(ut.disconnects, 1);
	leave();
}
END_TEST

START_TEST(it_is_counted_where_it_is_and_nowhere_twice)
{
	struct np_server_stats st = { .sz = sizeof st };
	uint64_t accepted, conns, sum = 0;
	int fd;

	given(NULL);
	fd = serve_connect(0);
	for (int i = 0; i < 10; i++) {
		ask(fd, 'm');
		AWAIT(ut.arrived == i + 1);
	}
	AWAIT(serve_conns() == 1);
	np_server_stats(serve_server, &st);

	ck_assert_uint_eq(st.moved, 10);
	ck_assert_uint_eq(st.accepted, 1);
	for (int i = 0; i < POLLERS; i++) {
		np_server_poller_stats(serve_server, i, &accepted, &conns);
		sum += conns;
	}
	ck_assert_uint_eq(sum, 1);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	AWAIT(serve_conns() == 0);
	leave();
}
END_TEST

/* Half of a frame is buffered, and waited for without a stack, when it goes. */
static int on_frame(struct np_conn *c, void *arg)
{
	const void *p;
	int r;

	if (np_conn_len(c) < 100000) {
		ut.moved = np_conn_move(c, (here(c) + 1) % POLLERS);
		return np_conn_want(c, 100000);
	}
	r = np_conn_next(c, 100000, &p);
	if (r == 0)
		r = np_conn_write(c, p, 100000);
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(input_that_was_buffered_goes_along)
{
	static const struct np_handlers h = {
		.sz = sizeof h, .on_request = on_frame, .on_close = on_close, .on_move = on_move
	};
	char *frame = malloc(100000), *back = malloc(100000);
	int fd;

	for (int i = 0; i < 100000; i++)
		frame[i] = (char)(i * 31 + (i >> 8));
	serve(POLLERS, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, frame, 60000);
	AWAIT(ut.arrived >= 1);
	peer_send(fd, frame + 60000, 40000);
	peer_recv(fd, back, 100000);

	ck_assert_mem_eq(frame, back, 100000);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	free(frame);
	free(back);
	leave();
}
END_TEST

#define BIG (8u << 20)

static char big[BIG];

/* The peer does not read: most of it is unsent when the connection goes. */
static int on_big(struct np_conn *c, void *arg)
{
	int r;

	np_conn_skip(c, np_conn_len(c));
	r = np_conn_write_ref(c, big, BIG, NULL, NULL);
	if (r == 0)
		r = np_conn_flush(c);
	ut.moved = np_conn_move(c, (here(c) + 1) % POLLERS);
	return r;
}

START_TEST(output_that_was_not_sent_goes_along)
{
	static const struct np_handlers h = {
		.sz = sizeof h, .on_request = on_big, .on_close = on_close, .on_move = on_move
	};
	char *back = malloc(BIG);
	int fd;

	for (unsigned i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 + (i >> 8));
	serve(POLLERS, &h, NULL, NP_OPTS(np_server_opts, .limits.out_high = 2 * BIG));
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(ut.arrived == 1);
	peer_recv(fd, back, BIG);

	ck_assert_mem_eq(big, back, BIG);
	free(back);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	leave();
}
END_TEST

/* ------------------------------------------------------------------ other threads */

#define SENDS 3000

static void count_post(struct np_conn *c, void *arg)
{
	if (ut.posted++ != (int)(intptr_t)arg)
		ut.wrong_thread++;
	if (np_poller_self() != here(c))
		ut.wrong_thread++;
}

static void *send_numbers(void *arg)
{
	struct np_conn *c = ut.conn;

	for (uint32_t i = 0; i < SENDS; i++) {
		struct np_linkbuf *b;

		ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
		np_linkbuf_write(b, &i, sizeof i);
		while (np_conn_send(c, &b) == -EAGAIN)
			test_pause();
		ck_assert_ptr_null(b);
		ck_assert_int_eq(np_conn_post(c, count_post, (void *)(intptr_t)i), 0);
	}
	return NULL;
}

static int move_again(struct np_conn *c, bool arrived)
{
	if (arrived && !ut.stop)
		np_conn_move(c, (here(c) + 1) % POLLERS);
	return 0;
}

START_TEST(what_another_thread_sends_and_posts_arrives_in_its_order_while_it_moves)
{
	uint32_t got;
	pthread_t t;
	int fd;

	given(NULL);
	fd = serve_connect(0);
	ask(fd, 'x');
	ut.in_move = move_again;
	ask(fd, 'm');
	pthread_create(&t, NULL, send_numbers, NULL);
	for (uint32_t i = 0; i < SENDS; i++) {
		peer_recv(fd, &got, sizeof got);
		ck_assert_uint_eq(got, i);
	}
	pthread_join(t, NULL);
	AWAIT(ut.posted == SENDS);
	ut.stop = true;

	ck_assert_int_gt(ut.arrived, 1);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	leave();
}
END_TEST

static void *close_it(void *arg)
{
	np_conn_close(ut.conn);
	return NULL;
}

START_TEST(a_close_by_another_thread_finds_it_wherever_it_is)
{
	pthread_t t;
	int fd;

	given(NULL);
	fd = serve_connect(0);
	ask(fd, 'x');
	ut.in_move = move_again;
	ask(fd, 'm');
	AWAIT(ut.arrived > 10);
	pthread_create(&t, NULL, close_it, NULL);
	peer_expect_eof(fd);
	pthread_join(t, NULL);
	peer_close(&fd);
	AWAIT(ut.closes == 1);

	ck_assert_int_eq(ut.error, -NP_ECLOSED);
	leave();
}
END_TEST

START_TEST(the_last_reference_may_go_on_any_thread_after_it_has_moved)
{
	int fd;

	given(NULL);
	fd = serve_connect(0);
	ask(fd, 'm');
	AWAIT(ut.arrived == 1);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	np_conn_unref(ut.conn);
	ut.conn = NULL;
	leave();
}
END_TEST

/* ------------------------------------------------------------------ when it may not */

static int on_waiting(struct np_conn *c, void *arg)
{
	const void *p;
	int r;

	ut.moved = np_conn_move(c, (here(c) + 1) % POLLERS);
	ut.posted++;
	r = np_conn_next(c, 2, &p); /* the second byte comes late */
	if (r == 0)
		r = np_conn_write(c, ut.arrived ? "moved" : "here!", 5);
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(it_does_not_move_while_its_handler_waits)
{
	static const struct np_handlers h = {
		.sz = sizeof h, .on_request = on_waiting, .on_close = on_close, .on_move = on_move
	};
	char answer[5];
	int fd;

	serve(POLLERS, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(ut.posted == 1);
	peer_send(fd, "2", 1);
	peer_recv(fd, answer, 5);

	ck_assert_mem_eq(answer, "here!", 5);
	AWAIT(ut.arrived == 1);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	leave();
}
END_TEST

/* Returns for nothing but an end, or to move. */
static int on_loop(struct np_conn *c, void *arg)
{
	const void *p;
	int r = 0;

	ut.posted++;
	while (r == 0) {
		char answer[2];

		r = np_conn_wait_movable(c, 1);
		if (r == 0)
			r = np_conn_next(c, 1, &p);
		if (r < 0)
			return r;
		answer[0] = *(const char *)p;
		answer[1] = (char)('0' + here(c));
		if (answer[0] == 'm')
			ut.moved = np_conn_move(c, (here(c) + 1) % POLLERS);
		r = np_conn_write(c, answer, 2);
		if (r == 0)
			r = np_conn_flush(c);
	}
	return r;
}

START_TEST(it_moves_while_its_handler_waits_where_it_may)
{
	static const struct np_handlers h = {
		.sz = sizeof h, .on_request = on_loop, .on_close = on_close, .on_move = on_move
	};
	int fd, at;

	serve(POLLERS, &h, NULL, NULL);
	fd = serve_connect(0);
	at = ask(fd, 'x');
	for (int i = 1; i <= 20; i++) {
		ask(fd, 'm');
		AWAIT(ut.arrived == i);
		at = (at + 1) % POLLERS;
		ck_assert_int_eq(ask(fd, 'x'), at);
		ck_assert_int_eq(ut.posted, i + 1);
	}
	ck_assert_int_eq(ut.moved, 0);
	ck_assert_int_eq(ut.wrong_thread, 0);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	leave();
}
END_TEST

static int try_bad_moves(struct np_conn *c, void *arg)
{
	np_conn_skip(c, np_conn_len(c));
	ut.moved = np_conn_move(c, POLLERS) == -EINVAL && np_conn_move(c, -1) == -EINVAL;
	return np_conn_move(c, here(c)); /* nothing to do: 0 */
}

START_TEST(a_poller_that_is_none_is_refused_and_its_own_is_no_move)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = try_bad_moves,
					      .on_close = on_close,
					      .on_move = on_move };
	int fd;

	serve(POLLERS, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(ut.moved == 1);
	peer_close(&fd);
	AWAIT(ut.closes == 1);

	ck_assert_int_eq(ut.left, 0);
	leave();
}
END_TEST

static int move_at_the_end(struct np_conn *c, void *arg)
{
	int r = np_conn_wait(c, 2);

	if (r == 0)
		return np_conn_skip(c, 2);
	ut.said = np_conn_error(c);
	ut.moved = np_conn_move(c, (here(c) + 1) % POLLERS);
	ut.posted = np_conn_move(c, here(c));
	return r;
}

/* A verb tells of it in the turn in which it is read. */
static void expect_end_is_known(void (*end)(int *fd), int why)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = move_at_the_end,
					      .on_close = on_close,
					      .on_move = on_move };
	int fd;

	ut.said = ut.moved = ut.posted = 1;
	serve(POLLERS, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(serve_conns() == 1);
	end(&fd);
	AWAIT(ut.closes == 1);

	ck_assert_int_eq(ut.said, why);
	ck_assert_int_eq(ut.moved, why);
	ck_assert_int_eq(ut.posted, 0);
	ck_assert_int_eq(ut.left, 0);
	leave();
}

START_TEST(behind_the_end_that_a_verb_has_told_of_no_move_is_promised)
{
	expect_end_is_known(peer_close, -NP_EEOF);
}
END_TEST

START_TEST(behind_a_reset_that_a_verb_has_told_of_no_move_is_promised)
{
	expect_end_is_known(peer_reset, -ECONNRESET);
}
END_TEST

START_TEST(without_on_move_nothing_moves)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = on_request,
					      .on_close = on_close };
	int fd;

	serve(POLLERS, &h, NULL, NULL);
	fd = serve_connect(0);
	ask(fd, 'm');

	ck_assert_int_eq(ut.moved, -NP_EUNSUPPORTED);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	leave();
}
END_TEST

static int take_it_back(struct np_conn *c, bool arrived)
{
	return arrived ? 0 : np_conn_move(c, here(c));
}

START_TEST(on_move_may_take_the_request_back)
{
	int fd, first;

	given(NULL);
	ut.in_move = take_it_back;
	fd = serve_connect(0);
	first = ask(fd, 'm');
	AWAIT(ut.left == 1);

	ck_assert_int_eq(ask(fd, 'x'), first);
	ck_assert_int_eq(ut.arrived, 0);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	leave();
}
END_TEST

static int close_on_arrival(struct np_conn *c, bool arrived)
{
	return arrived ? np_conn_close(c) : 0;
}

START_TEST(on_move_may_close_it)
{
	int fd;

	given(NULL);
	ut.in_move = close_on_arrival;
	fd = serve_connect(0);
	ask(fd, 'm');
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(ut.closes == 1);

	ck_assert_int_eq(ut.error, -NP_ECLOSED);
	leave();
}
END_TEST

/* ------------------------------------------------------------------ its times and its end */

START_TEST(its_idle_timeout_goes_along)
{
	int fd;

	given(NULL);
	ut.idle_ms = 1000;
	fd = serve_connect(0);
	ask(fd, 'm');
	AWAIT(ut.arrived == 1);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(ut.closes == 1);

	ck_assert_int_eq(ut.error, -ETIMEDOUT);
	leave();
}
END_TEST

#define MANY 64

/* All move at every request while their peers come and go, and the server stops in the middle. */
START_TEST(a_stop_in_the_middle_of_moves_ends_each_once)
{
	int fd[MANY];

	given(NULL);
	ut.every_request = true;
	for (int i = 0; i < MANY; i++)
		fd[i] = serve_connect(0);
	for (int round = 0; round < 20; round++)
		for (int i = 0; i < MANY; i++)
			ask(fd[i], 'x');
	for (int i = 0; i < MANY; i++)
		peer_send(fd[i], "y", 1);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);

	ck_assert_int_eq(ut.closes, MANY);
	for (int i = 0; i < MANY; i++)
		peer_close(&fd[i]);
	leave();
}
END_TEST

/* ------------------------------------------------------------------ a poller that is full */

static uint64_t conns_of(int poller)
{
	uint64_t accepted, conns;

	ck_assert_int_eq(np_server_poller_stats(serve_server, poller, &accepted, &conns), 0);
	return conns;
}

static int to_the_first(struct np_conn *c, void *arg)
{
	return np_conn_move(c, 0);
}

START_TEST(a_poller_that_has_its_share_takes_none_and_one_that_comes_to_it_is_full)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = to_the_first,
					      .on_request = on_request,
					      .on_close = on_close,
					      .on_move = on_move };
	int fd[2 * POLLERS];
	uint64_t elsewhere;

	/* Wherever the kernel puts them, those that fit go to the first, and the others stay. */
	serve(POLLERS, &h, NULL, NP_OPTS(np_server_opts, .max_conns = 2 * POLLERS));
	for (int i = 0; i < 2 * POLLERS; i++) {
		fd[i] = serve_connect(0);
		ask(fd[i], 'x');
		ck_assert_uint_le(conns_of(0), 2);
	}
	AWAIT(serve_conns() == 2 * POLLERS);
	elsewhere = conns_of(1) + conns_of(2);
	ck_assert_uint_eq(conns_of(0), 2);
	ck_assert_uint_eq(elsewhere, 2 * POLLERS - 2);
	ck_assert_uint_ge(serve_stats(serve_server).at_limit, 3);
	ck_assert_int_eq(ut.left, ut.arrived);

	for (int i = 0; i < 2 * POLLERS; i++)
		peer_close(&fd[i]);
	AWAIT(ut.closes == 2 * POLLERS);
	fd[0] = serve_connect(0);
	ask(fd[0], 'x');
	peer_close(&fd[0]);
	leave();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "move");

	tcase_add_test(t, a_connection_goes_on_where_it_was_moved_to);
	tcase_add_test(t, it_is_counted_where_it_is_and_nowhere_twice);
	tcase_add_test(t, input_that_was_buffered_goes_along);
	tcase_add_test(t, output_that_was_not_sent_goes_along);
	tcase_add_test(t, what_another_thread_sends_and_posts_arrives_in_its_order_while_it_moves);
	tcase_add_test(t, a_close_by_another_thread_finds_it_wherever_it_is);
	tcase_add_test(t, the_last_reference_may_go_on_any_thread_after_it_has_moved);
	tcase_add_test(t, it_does_not_move_while_its_handler_waits);
	tcase_add_test(t, it_moves_while_its_handler_waits_where_it_may);
	tcase_add_test(t, a_poller_that_is_none_is_refused_and_its_own_is_no_move);
	tcase_add_test(t, behind_the_end_that_a_verb_has_told_of_no_move_is_promised);
	tcase_add_test(t, behind_a_reset_that_a_verb_has_told_of_no_move_is_promised);
	tcase_add_test(t, without_on_move_nothing_moves);
	tcase_add_test(t, on_move_may_take_the_request_back);
	tcase_add_test(t, on_move_may_close_it);
	tcase_add_test(t, its_idle_timeout_goes_along);
	tcase_add_test(t, a_stop_in_the_middle_of_moves_ends_each_once);
	tcase_add_test(t, a_poller_that_has_its_share_takes_none_and_one_that_comes_to_it_is_full);
}
