/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: the promises of conn.h to a handler, with a plain socket at the other end
 *
 * Each test's handler reports what it saw through `saw`; the test waits for it.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

static struct {
	_Atomic(int) connects, requests, disconnects, closes, result, why, order, left;
	_Atomic(struct np_conn *) conn; /* with a reference */
} saw;

#define NOTHING 12345

static void on_close(struct np_conn *c, void *arg)
{
	saw.why = np_conn_error(c);
	saw.closes++;
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	saw.disconnects++;
}

static void given(int (*on_request)(struct np_conn *, void *))
{
	static struct np_handlers h;

	h = (struct np_handlers){ .sz = sizeof h,
				  .on_request = on_request,
				  .on_close = on_close,
				  .on_disconnect = on_disconnect };
	saw.result = NOTHING;
	serve(1, &h, NULL, NULL);
}

static int skip_all(struct np_conn *c)
{
	return np_conn_skip(c, np_conn_len(c));
}

/* Keeps the connection for the test's own thread, which has to let it go. */
static int hand_out(struct np_conn *c, void *arg)
{
	saw.requests++;
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	return skip_all(c);
}

static struct np_conn *conn_of(int fd)
{
	peer_send(fd, "x", 1);
	AWAIT(saw.conn);
	return saw.conn;
}

/* ------------------------------------------------------------------ waiting */

static int read_with_timeout(struct np_conn *c, void *arg)
{
	const void *p;

	np_conn_set_read_timeout(c, 30);
	saw.result = np_conn_next(c, 10, &p);
	saw.requests = (int)np_conn_len(c);
	return -1;
}

START_TEST(a_read_timeout_says_so_and_consumes_nothing)
{
	int fd;

	given(read_with_timeout);
	fd = serve_connect(0);
	peer_send(fd, "half", 4);
	peer_expect_eof(fd);
	ck_assert_int_eq(saw.result, -NP_EREADTIMEOUT);
	ck_assert(np_err_is_timeout(saw.result));
	ck_assert_int_eq(saw.requests, 4);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int read_past_deadline(struct np_conn *c, void *arg)
{
	const void *p;

	np_conn_set_read_deadline(c, 1);
	saw.result = np_conn_next(c, 10, &p);
	return -1;
}

START_TEST(an_expired_read_deadline_ends_the_wait)
{
	int fd;

	given(read_past_deadline);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	peer_expect_eof(fd);
	ck_assert_int_eq(saw.result, -NP_EREADTIMEOUT);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int read_more_than_comes(struct np_conn *c, void *arg)
{
	const void *p;

	saw.result = np_conn_next(c, 100, &p);
	saw.requests = (int)np_conn_len(c);
	return skip_all(c);
}

START_TEST(fin_in_the_middle_of_a_wait_is_eof_and_the_rest_stays_readable)
{
	int fd;

	given(read_more_than_comes);
	fd = serve_connect(0);
	peer_send(fd, "half", 4);
	shutdown(fd, SHUT_WR);
	peer_expect_eof(fd);
	ck_assert_int_eq(saw.result, -NP_EEOF);
	ck_assert_int_eq(saw.requests, 4);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(a_reset_in_the_middle_of_a_wait_is_econnreset)
{
	int fd;

	given(read_more_than_comes);
	fd = serve_connect(0);
	peer_send(fd, "half", 4);
	AWAIT(serve_conns() == 1);
	peer_reset(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.result, -ECONNRESET);
	ck_assert_int_eq(saw.why, -ECONNRESET);
	ck_assert_int_eq(saw.disconnects, 1);
	serve_end();
}
END_TEST

static int until_newline(struct np_conn *c, void *arg)
{
	const void *p;
	size_t n = 0;
	int r = np_conn_until(c, '\n', 16, &p, &n);

	saw.result = r < 0 ? r : (int)n;
	if (r == 0)
		r = np_conn_write(c, p, n);
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(until_takes_a_line_that_comes_in_pieces)
{
	char back[6];
	int fd;

	given(until_newline);
	fd = serve_connect(0);
	peer_send(fd, "he", 2);
	peer_send(fd, "llo", 3);
	peer_send(fd, "\n", 1);
	peer_recv(fd, back, 6);
	ck_assert_mem_eq(back, "hello\n", 6);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(until_refuses_a_line_over_its_maximum)
{
	int fd;

	given(until_newline);
	fd = serve_connect(0);
	peer_send(fd, "0123456789abcdef0123", 20);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.result, -NP_ETOOLONG);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int want_eight(struct np_conn *c, void *arg)
{
	saw.requests++;
	if (np_conn_len(c) < 8)
		return np_conn_want(c, 8);
	saw.result = (int)np_conn_len(c);
	return skip_all(c);
}

START_TEST(want_calls_again_when_the_bytes_are_there_and_not_before)
{
	int fd;

	given(want_eight);
	fd = serve_connect(0);
	peer_send(fd, "123", 3);
	AWAIT(saw.requests == 1);
	peer_send(fd, "456", 3);
	peer_send(fd, "78", 2);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, 8);
	ck_assert_int_eq(saw.requests, 2);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int leave_it(struct np_conn *c, void *arg)
{
	saw.requests++;
	return 0;
}

/* netpoll's livelock: a handler that consumes nothing was called for ever. */
START_TEST(a_handler_that_consumes_nothing_is_called_again_only_for_new_bytes)
{
	int fd;

	given(leave_it);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(saw.requests == 1);
	peer_send(fd, "2", 1);
	AWAIT(saw.requests == 2);
	shutdown(fd, SHUT_WR);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.requests, 3); /* once more at EOF */
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ two at once */

static void read_too(struct np_conn *c, void *arg)
{
	const void *p;

	saw.order = np_conn_next(c, 1, &p);
}

static int reader_is_parked(struct np_conn *c, void *arg)
{
	const void *p;

	np_conn_post(c, read_too, NULL);
	saw.result = np_conn_next(c, 2, &p);
	return 0;
}

START_TEST(a_second_reader_is_refused_with_its_own_code)
{
	int fd;

	given(reader_is_parked);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(saw.order != 0);
	ck_assert_int_eq(saw.order, -NP_ECONCURRENT);
	peer_send(fd, "2", 1);
	AWAIT(saw.result == 0);
	peer_close(&fd);
	serve_end();
}
END_TEST

static void task_waits(struct np_conn *c, void *arg)
{
	saw.order = 1;
}

static int take_four(void *arg)
{
	struct np_conn *c = arg;
	const void *p;

	np_conn_post(c, task_waits, NULL);
	saw.result = np_conn_next(c, 4, &p);
	np_conn_release(c);
	np_conn_unref(c);
	return 0;
}

/* The first request begins a task that reads, too; of those behind it the length is noted. */
static int begin_task(struct np_conn *c, void *arg)
{
	if (saw.requests++)
		saw.left = (int)np_conn_len(c);
	else
		np_go(NULL, NP_HERE, take_four, np_conn_ref(c), NULL);
	return skip_all(c);
}

START_TEST(what_a_task_leaves_of_the_input_it_has_waited_for_is_the_handlers)
{
	int fd;

	given(begin_task);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.order);
	peer_send(fd, "1234rest", 8);
	AWAIT(saw.requests == 2);
	ck_assert_int_eq(saw.result, 0);
	ck_assert_int_eq(saw.left, 4);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(and_what_had_come_when_its_wait_failed)
{
	int fd;

	given(begin_task);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.order);
	peer_send(fd, "12", 2);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	AWAIT(saw.requests == 2);
	ck_assert_int_eq(saw.result, -NP_EEOF);
	ck_assert_int_eq(saw.left, 2);
	AWAIT(saw.closes);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* Returns when half of what its task waits for is here. */
static int leave_half(struct np_conn *c, void *arg)
{
	int r = begin_task(c, arg);

	while (r == 0 && np_conn_len(c) < 2)
		r = np_sleep(1);
	saw.connects++;
	return r;
}

START_TEST(a_handler_is_not_called_for_what_a_task_waits_for)
{
	int fd;

	given(leave_half);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.order);
	peer_send(fd, "12", 2);
	AWAIT(saw.connects);
	peer_send(fd, "34", 2);
	AWAIT(saw.result == 0);
	ck_assert_int_eq(saw.requests, 1);
	peer_close(&fd);
	serve_end();
}
END_TEST

static void read_off_a_fiber(struct np_conn *c, void *arg)
{
	const void *p;

	saw.result = np_conn_next(c, 1, &p);
}

START_TEST(a_verb_that_would_park_off_a_fiber_is_refused)
{
	struct np_conn *c;
	int fd;

	given(hand_out);
	fd = serve_connect(0);
	c = conn_of(fd);
	ck_assert_int_eq(np_conn_post(c, read_off_a_fiber, NULL), 0);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, -NP_ENOTFIBER);
	np_conn_unref(c);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ other threads */

START_TEST(close_from_another_thread_wakes_a_parked_handler_and_ends_once)
{
	struct np_conn *c;
	int fd;

	given(hand_out);
	fd = serve_connect(0);
	c = conn_of(fd);
	np_conn_close(c);
	np_conn_close(c);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -NP_ECLOSED);
	ck_assert(!np_conn_is_active(c));
	np_conn_close(c); /* still harmless */
	np_conn_unref(c);
	ck_assert_int_eq(saw.disconnects, 0); /* it was our own close */
	serve_end();
}
END_TEST

static int park_for_ever(struct np_conn *c, void *arg)
{
	const void *p;

	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	saw.result = np_conn_next(c, 1000, &p);
	return 0;
}

START_TEST(a_parked_reader_wakes_with_closed)
{
	struct np_conn *c;
	int fd;

	given(park_for_ever);
	fd = serve_connect(0);
	c = conn_of(fd);
	np_conn_close(c);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, -NP_ECLOSED);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	np_conn_unref(c);
	serve_end();
}
END_TEST

START_TEST(abort_resets)
{
	struct np_conn *c;
	char b;
	int fd;

	given(hand_out);
	fd = serve_connect(0);
	c = conn_of(fd);
	np_conn_abort(c);
	ck_assert_int_eq((int)recv(fd, &b, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	np_conn_unref(c);
	serve_end();
}
END_TEST

START_TEST(shutdown_write_sends_fin_and_reading_goes_on)
{
	struct np_conn *c;
	int fd;

	given(hand_out);
	fd = serve_connect(0);
	c = conn_of(fd);
	np_conn_shutdown_write(c);
	peer_expect_eof(fd);
	peer_send(fd, "y", 1);
	AWAIT(saw.requests == 2);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	np_conn_unref(c);
	serve_end();
}
END_TEST

#define SENDERS 4
#define EACH    2000

static void *send_in_order(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		unsigned msg[2] = { id, i };
		struct np_linkbuf *b;

		if (np_linkbuf_new(0, &b) < 0 || np_linkbuf_write(b, msg, sizeof msg) < 0)
			abort();
		while (np_conn_send(saw.conn, &b) == -EAGAIN)
			test_pause();
		if (b)
			abort();
	}
	return NULL;
}

/* netpoll's ShardQueue gave no order; here each sender's messages arrive as it sent them. */
START_TEST(send_from_any_thread_keeps_each_senders_order)
{
	unsigned next[SENDERS] = { 0 }, msg[2];
	pthread_t t[SENDERS];
	struct np_conn *c;
	int fd;

	given(hand_out);
	fd = serve_connect(0);
	c = conn_of(fd);
	for (uintptr_t i = 0; i < SENDERS; i++)
		pthread_create(&t[i], NULL, send_in_order, (void *)i);
	for (int i = 0; i < SENDERS * EACH; i++) {
		peer_recv(fd, msg, sizeof msg);
		if (msg[0] >= SENDERS || msg[1] != next[msg[0]]++)
			ck_abort_msg("message %u of sender %u is out of order", msg[1], msg[0]);
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(t[i], NULL);
	np_conn_unref(c);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(what_was_sent_after_the_end_is_given_back)
{
	struct np_linkbuf *b;
	struct np_conn *c;
	int fd;

	given(hand_out);
	fd = serve_connect(0);
	c = conn_of(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_conn_send(c, &b), -NP_ECLOSED);
	ck_assert_ptr_nonnull(b);
	np_linkbuf_free(&b);
	np_conn_unref(c);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ flow */

static int write_without_end(struct np_conn *c, void *arg)
{
	static char block[65536];
	int r;

	np_conn_set_write_timeout(c, 50);
	do {
		r = np_conn_write(c, block, sizeof block);
		if (r == 0)
			r = np_conn_flush(c);
	} while (r == 0);
	saw.result = r;
	saw.order = np_conn_flush(c); /* it sticks */
	return -1;
}

/* netpoll's flush returned success with 3.9 MB unsent after its deadline had passed. */
START_TEST(a_write_timeout_is_told_and_sticks)
{
	int fd;

	given(write_without_end);
	fd = serve_connect(0);
	peer_send(fd, "go", 2);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, -NP_EWRITETIMEOUT);
	AWAIT(saw.order != 0);
	ck_assert_int_eq(saw.order, -NP_EWRITETIMEOUT);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static int pause_first(struct np_conn *c, void *arg)
{
	np_conn_pause_read(c);
	saw.requests++;
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	return skip_all(c);
}

static void resume(struct np_conn *c, void *arg)
{
	np_conn_resume_read(c);
}

START_TEST(a_paused_connection_reads_nothing_until_it_is_resumed)
{
	struct np_conn *c;
	int fd, unread = 0;

	given(pause_first);
	fd = serve_connect(0);
	c = conn_of(fd);
	peer_send(fd, "later", 5);
	/* The bytes are acknowledged by the kernel and stay there. */
	AWAIT(ioctl(np_conn_fd(c), FIONREAD, &unread) == 0 && unread == 5);
	ck_assert_int_eq(saw.requests, 1);
	np_conn_post(c, resume, NULL);
	AWAIT(saw.requests == 2);
	np_conn_unref(c);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(input_nobody_reads_stops_at_the_watermark)
{
	static char block[1 << 20];
	int fd, sent = 0, size = 65536;
	ssize_t n;

	given(leave_it);
	fd = serve_connect(0);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	/* Until neither side's kernel nor our buffer takes any more for a while. */
	for (struct pollfd p = { .fd = fd, .events = POLLOUT };
	     poll(&p, 1, 300) == 1 && sent < 256 << 20;) {
		n = send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += (int)n;
	}
	ck_assert_int_lt(sent, 64 << 20);
	peer_reset(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ life */

START_TEST(an_idle_connection_is_closed_after_its_timeout)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = leave_it, .on_close = on_close };
	int fd;

	serve(1, &h, NULL, NP_OPTS(np_server_opts, .idle_timeout_ms = 40));
	fd = serve_connect(0);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.why, -ETIMEDOUT);
	serve_end();
}
END_TEST

static void first_added(struct np_conn *c, void *arg)
{
	saw.order = saw.order * 10 + 1;
	saw.result = np_conn_add_close_callback(c, first_added, NULL);
}

static void second_added(struct np_conn *c, void *arg)
{
	saw.order = saw.order * 10 + 2;
	ck_assert_int_ge(np_conn_fd(c), 0);
}

static int add_callbacks(struct np_conn *c, void *arg)
{
	np_conn_add_close_callback(c, first_added, NULL);
	np_conn_add_close_callback(c, second_added, NULL);
	return skip_all(c);
}

START_TEST(close_callbacks_run_newest_first_and_none_can_be_added_after)
{
	int fd;

	given(add_callbacks);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.order, 21);
	ck_assert_int_eq(saw.result, -NP_ECLOSED);
	serve_end();
}
END_TEST

static int other_handler(struct np_conn *c, void *arg)
{
	saw.result = *(int *)arg;
	return skip_all(c);
}

static int replace_handler(struct np_conn *c, void *arg)
{
	static int word = 77;

	return np_conn_set_on_request(c, other_handler, &word);
}

START_TEST(set_on_request_inside_on_connect_takes_effect)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_connect = replace_handler,
				 .on_request = leave_it,
				 .on_close = on_close };
	int fd;

	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.result == 77);
	ck_assert_int_eq(saw.requests, 0);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int speak_first(struct np_conn *c, void *arg)
{
	int r = np_conn_write(c, "hello", 5);

	saw.connects++;
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(the_server_may_speak_first)
{
	struct np_handlers h = { .sz = sizeof h, .on_connect = speak_first, .on_close = on_close };
	char b[5];
	int fd;

	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_recv(fd, b, 5);
	ck_assert_mem_eq(b, "hello", 5);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static int refuse(struct np_conn *c, void *arg)
{
	return 1;
}

START_TEST(a_connection_refused_by_on_prepare_gets_no_further_callback)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_prepare = refuse,
				 .on_connect = speak_first,
				 .on_disconnect = on_disconnect,
				 .on_close = on_close };
	int fd;

	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_expect_eof(fd);
	peer_close(&fd);
	ck_assert_int_eq(saw.connects + saw.disconnects + saw.closes, 0);
	serve_end();
}
END_TEST

static int wait_in_connect(struct np_conn *c, void *arg)
{
	const void *p;

	np_conn_next(c, 5, &p);
	saw.connects++;
	ck_assert_int_eq(saw.disconnects, 0);
	return 0;
}

START_TEST(on_disconnect_never_comes_before_on_connect_has_ended)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_connect = wait_in_connect,
				 .on_disconnect = on_disconnect,
				 .on_close = on_close };
	int fd;

	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.connects, 1);
	ck_assert_int_eq(saw.disconnects, 1);
	serve_end();
}
END_TEST

static int reply_then_close(struct np_conn *c, void *arg)
{
	static char big[1 << 20];
	int r;

	memset(big, 'b', sizeof big);
	r = np_conn_write(c, big, sizeof big);
	if (r == 0)
		r = np_conn_flush(c);
	return r < 0 ? r : -1;
}

/* close(2) with unread input would send RST and destroy what the peer has not read yet. */
START_TEST(a_reply_in_flight_survives_close_with_garbage_behind_the_request)
{
	static char garbage[200000], back[1 << 20];
	int fd;

	given(reply_then_close);
	fd = serve_connect(0);
	peer_send(fd, garbage, sizeof garbage);
	peer_recv(fd, back, sizeof back);
	ck_assert_int_eq(back[sizeof back - 1], 'b');
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static int detach(struct np_conn *c, void *arg)
{
	struct np_linkbuf *in = NULL;
	const void *p;
	int fd, r;

	if (np_conn_skip(c, 1) < 0)
		return -1;
	r = np_conn_detach(c, &fd, &in);
	if (r == 0 && in && np_linkbuf_len(in) == 4 && np_linkbuf_next(in, 4, &p) == 0 &&
	    !memcmp(p, "rest", 4))
		r = (int)write(fd, "mine", 4);
	np_linkbuf_free(&in);
	close(fd);
	saw.result = r;
	return 0;
}

START_TEST(detach_hands_over_the_descriptor_and_the_unread_bytes)
{
	char b[4];
	int fd;

	given(detach);
	fd = serve_connect(0);
	peer_send(fd, "1rest", 5);
	peer_recv(fd, b, 4);
	ck_assert_mem_eq(b, "mine", 4);
	AWAIT(saw.result == 4);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static void called(struct np_conn *c, void *arg)
{
	saw.order = np_conn_fd(c);
	saw.requests++;
}

static int post_and_detach(struct np_conn *c, void *arg)
{
	int r = np_conn_post(c, called, NULL);

	return r < 0 ? r : detach(c, arg);
}

/* A call that waits is no output. */
START_TEST(detach_does_not_wait_for_what_was_posted)
{
	char b[4];
	int fd;

	given(post_and_detach);
	fd = serve_connect(0);
	peer_send(fd, "1rest", 5);
	peer_recv(fd, b, 4);
	AWAIT(saw.requests == 1);
	ck_assert_int_eq(saw.order, -1);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static int send_and_detach(struct np_conn *c, void *arg)
{
	struct np_linkbuf *b;
	int fd = -1, r = np_linkbuf_new(0, &b);

	np_conn_skip(c, np_conn_len(c));
	if (r == 0)
		r = np_linkbuf_write(b, "sent", 4);
	if (r == 0)
		r = np_conn_send(c, &b);
	saw.result = r < 0 ? r : np_conn_detach(c, &fd, NULL);
	return 0;
}

START_TEST(detach_is_busy_while_a_message_waits_and_the_message_arrives)
{
	char b[4];
	int fd;

	given(send_and_detach);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	peer_recv(fd, b, 4);
	ck_assert_mem_eq(b, "sent", 4);
	AWAIT(saw.result == -EBUSY);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static void answer_late(struct np_conn *c, void *arg)
{
	struct np_linkbuf *b;

	if (np_linkbuf_new(0, &b) == 0 && np_linkbuf_write(b, "late", 4) == 0)
		np_conn_send(c, &b);
	np_conn_unhold(c);
}

static int hold(struct np_conn *c, void *arg)
{
	np_conn_hold(c);
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	return skip_all(c);
}

START_TEST(a_held_connection_outlives_the_peers_fin_for_its_answer)
{
	struct np_conn *c;
	char b[4];
	int fd;

	given(hold);
	fd = serve_connect(0);
	c = conn_of(fd);
	shutdown(fd, SHUT_WR);
	AWAIT(saw.disconnects == 1);
	np_conn_post(c, answer_late, NULL);
	peer_recv(fd, b, 4);
	ck_assert_mem_eq(b, "late", 4);
	peer_expect_eof(fd);
	np_conn_unref(c);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "waiting");

	tcase_add_test(t, a_read_timeout_says_so_and_consumes_nothing);
	tcase_add_test(t, an_expired_read_deadline_ends_the_wait);
	tcase_add_test(t, fin_in_the_middle_of_a_wait_is_eof_and_the_rest_stays_readable);
	tcase_add_test(t, a_reset_in_the_middle_of_a_wait_is_econnreset);
	tcase_add_test(t, until_takes_a_line_that_comes_in_pieces);
	tcase_add_test(t, until_refuses_a_line_over_its_maximum);
	tcase_add_test(t, want_calls_again_when_the_bytes_are_there_and_not_before);
	tcase_add_test(t, a_handler_that_consumes_nothing_is_called_again_only_for_new_bytes);
	t = add_case(s, "two at once");
	tcase_add_test(t, a_second_reader_is_refused_with_its_own_code);
	tcase_add_test(t, what_a_task_leaves_of_the_input_it_has_waited_for_is_the_handlers);
	tcase_add_test(t, and_what_had_come_when_its_wait_failed);
	tcase_add_test(t, a_handler_is_not_called_for_what_a_task_waits_for);
	tcase_add_test(t, a_verb_that_would_park_off_a_fiber_is_refused);
	t = add_case(s, "other threads");
	tcase_add_test(t, close_from_another_thread_wakes_a_parked_handler_and_ends_once);
	tcase_add_test(t, a_parked_reader_wakes_with_closed);
	tcase_add_test(t, abort_resets);
	tcase_add_test(t, shutdown_write_sends_fin_and_reading_goes_on);
	tcase_add_test(t, send_from_any_thread_keeps_each_senders_order);
	tcase_add_test(t, what_was_sent_after_the_end_is_given_back);
	t = add_case(s, "flow");
	tcase_add_test(t, a_write_timeout_is_told_and_sticks);
	tcase_add_test(t, a_paused_connection_reads_nothing_until_it_is_resumed);
	tcase_add_test(t, input_nobody_reads_stops_at_the_watermark);
	t = add_case(s, "life");
	tcase_add_test(t, an_idle_connection_is_closed_after_its_timeout);
	tcase_add_test(t, close_callbacks_run_newest_first_and_none_can_be_added_after);
	tcase_add_test(t, set_on_request_inside_on_connect_takes_effect);
	tcase_add_test(t, the_server_may_speak_first);
	tcase_add_test(t, a_connection_refused_by_on_prepare_gets_no_further_callback);
	tcase_add_test(t, on_disconnect_never_comes_before_on_connect_has_ended);
	tcase_add_test(t, a_reply_in_flight_survives_close_with_garbage_behind_the_request);
	tcase_add_test(t, detach_hands_over_the_descriptor_and_the_unread_bytes);
	tcase_add_test(t, detach_does_not_wait_for_what_was_posted);
	tcase_add_test(t, detach_is_busy_while_a_message_waits_and_the_message_arrives);
	tcase_add_test(t, a_held_connection_outlives_the_peers_fin_for_its_answer);
}
