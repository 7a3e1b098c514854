/* SPDX-License-Identifier: BSD-2-Clause */
/* frames: on_frame, which is called for each frame when it is whole, and np_conn_say(). */
#include <errno.h>
#include <netpoll/client.h>
#include <netpoll/linkbuf.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

static struct {
	_Atomic(int) frames, requests, closes, error, arrived, held;
	_Atomic(size_t) bytes;
	_Atomic(struct np_conn *) conn; /* with a reference */
	_Atomic(bool) go_on;
} ut;

static int echo(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	ut.frames++;
	ut.bytes += n;
	return np_conn_say(c, frame, n);
}

static int on_prepare(struct np_conn *c, void *arg)
{
	ut.conn = np_conn_ref(c);
	return 0;
}

static void on_close(struct np_conn *c, void *arg)
{
	ut.error = np_conn_error(c);
	ut.closes++;
}

static struct np_handlers of(int (*on_frame)(struct np_conn *, void *, const void *, size_t),
			     struct np_framing f)
{
	return (struct np_handlers){
		.sz = sizeof(struct np_handlers),
		.on_prepare = on_prepare,
		.on_close = on_close,
		.on_frame = on_frame,
		.framing = f,
	};
}

static const struct np_framing usual = { .width = 4 };

static int given(const struct np_handlers *h, const struct np_server_opts *o)
{
	static struct np_handlers kept;

	kept = *h;
	serve(2, &kept, NULL, o);
	return serve_connect(0);
}

static void over(int fd)
{
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	np_conn_unref(ut.conn);
	serve_end();
}

/* A head of the usual kind. */
static void send_head(int fd, uint32_t len)
{
	unsigned char head[] = { (unsigned char)(len >> 24), (unsigned char)(len >> 16),
				 (unsigned char)(len >> 8), (unsigned char)len };

	peer_send(fd, head, sizeof head);
}

static void send_frame(int fd, const char *payload)
{
	send_head(fd, (uint32_t)strlen(payload));
	peer_send(fd, payload, strlen(payload));
}

static void expect(int fd, const void *want, size_t n)
{
	char *got = malloc(n);

	peer_recv(fd, got, n);
	ck_assert_mem_eq(got, want, n);
	free(got);
}

static void expect_frame(int fd, const char *payload)
{
	char head[4];

	peer_recv(fd, head, sizeof head);
	ck_assert_int_eq(head[3], (int)strlen(payload));
	expect(fd, payload, strlen(payload));
}

/* ------------------------------------------------------------------ what a frame is */

static const struct np_framing kinds[] = {
	{ .width = 4 },
	{ .width = 1 },
	{ .width = 2, .little_endian = true },
	{ .width = 3, .adjust = 6 },           /* HTTP/2 */
	{ .at = 1, .width = 4, .adjust = -4 }, /* PostgreSQL */
	{ .at = 16, .width = 2, .adjust = -18 },
	{ .at = 2, .width = 8, .little_endian = true, .max = 4000 },
};

/* Frame @k at @to: how long it is. */
static size_t make_frame(const struct np_framing *f, size_t k, unsigned char *to)
{
	size_t head = (size_t)f->at + f->width, least = head + (f->adjust > 0 ? 6 : 0);
	size_t n = least + k * 37 % (f->width == 1 ? 200 : 3000);
	size_t number = (size_t)((long long)(n - head) - f->adjust);

	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)(i * 31 + k);
	for (size_t i = 0; i < f->width; i++)
		to[f->at + (f->little_endian ? i : f->width - 1u - i)] =
			(unsigned char)(i < sizeof number ? number >> 8 * i : 0);
	return n;
}

START_TEST(a_frame_of_each_kind_is_found_in_whatever_pieces_it_comes)
{
	enum { FRAMES = 400 };
	struct np_handlers h = of(echo, kinds[_i]);
	unsigned char *all = malloc(FRAMES * 4096);
	size_t len = 0;
	int fd;

	for (size_t k = 0; k < FRAMES; k++)
		len += make_frame(&kinds[_i], k, all + len);
	fd = given(&h, NULL);
	for (size_t at = 0, k; at < len; at += k) {
		k = 1 + at * 7 % 5000;
		k = k < len - at ? k : len - at;
		peer_send(fd, all + at, k);
	}
	expect(fd, all, len);

	ck_assert_int_eq(ut.frames, FRAMES);
	ck_assert_uint_eq(ut.bytes, len);
	free(all);
	over(fd);
}
END_TEST

START_TEST(a_byte_at_a_time_makes_a_frame)
{
	struct np_handlers h = of(echo, usual);
	char frame[] = "\0\0\0\5hello\0\0\0\0";
	int fd = given(&h, NULL);

	for (size_t i = 0; i < 13; i++)
		peer_send(fd, frame + i, 1);
	expect(fd, frame, 13);
	ck_assert_int_eq(ut.frames, 2);
	over(fd);
}
END_TEST

/* The number is all ones: what is added to it must not make a short frame of it. */
static const struct {
	const char *bytes;
	size_t n;
	struct np_framing f;
	int error;
} bad[] = {
	{ "Q\0\0\0\3", 5, { .at = 1, .width = 4, .adjust = -4 }, -EBADMSG },
	{ "\0\0\0\7", 4, { .width = 4, .max = 10 }, -NP_ETOOLONG },
	{ "\0\0\0\0", 4, { .width = 4, .max = 3 }, -NP_ETOOLONG },
	{ "\0\0\0\3", 4, { .width = 4, .adjust = -4 }, -EBADMSG },
	{ "\377\377\377\377\377\377\377\377", 8, { .width = 8, .adjust = 9 }, -NP_ETOOLONG },
	{ "\377\377\377\377", 4, { .width = 4 }, -NP_ETOOLONG }, /* in_max */
	{ "\0\0\0\7half", 8, { .width = 4 }, -NP_EEOF },
	{ "\0\0", 2, { .width = 4 }, -NP_EEOF },
};

START_TEST(what_is_no_frame_ends_the_connection_and_on_frame_is_not_called)
{
	struct np_handlers h = of(echo, bad[_i].f);
	int fd = given(&h, NULL);

	peer_send(fd, bad[_i].bytes, bad[_i].n);
	if (bad[_i].error == -NP_EEOF)
		shutdown(fd, SHUT_WR);
	peer_expect_eof(fd);
	AWAIT(ut.closes == 1);
	ck_assert_int_eq(ut.error, bad[_i].error);
	ck_assert_int_eq(ut.frames, 0);
	over(fd);
}
END_TEST

START_TEST(the_frames_in_front_of_a_fin_are_answered)
{
	struct np_handlers h = of(echo, usual);
	int fd = given(&h, NULL);

	send_frame(fd, "one");
	send_frame(fd, "two");
	shutdown(fd, SHUT_WR);
	expect_frame(fd, "one");
	expect_frame(fd, "two");
	peer_expect_eof(fd);
	AWAIT(ut.closes == 1);
	ck_assert_int_eq(ut.error, -NP_EEOF);
	over(fd);
}
END_TEST

START_TEST(a_frame_may_be_longer_than_what_is_buffered_otherwise)
{
	enum { N = 3 << 20 };
	struct np_handlers h = of(echo, usual);
	char *payload = calloc(1, N), *back = malloc(N + 4);
	int fd = given(&h, NP_OPTS(np_server_opts, .limits.in_high = 4096, .limits.in_max = N + 4));

	for (size_t i = 0; i < N; i++)
		payload[i] = (char)(i * 7 + i / 4096);
	send_head(fd, N);
	peer_send(fd, payload, N);
	peer_recv(fd, back, N + 4);

	ck_assert_mem_eq(back + 4, payload, N);
	ck_assert_int_eq(ut.frames, 1);
	free(payload);
	free(back);
	over(fd);
}
END_TEST

START_TEST(a_framing_without_a_number_is_refused)
{
	struct np_handlers h = of(echo, (struct np_framing){ .width = _i ? 9 : 0 });
	struct np_server *s = NULL;

	ck_assert_int_eq(np_server_new(NULL, &h, NULL, NULL, &s), -EINVAL);
	ck_assert_ptr_null(s);
}
END_TEST

/* ------------------------------------------------------------------ whose the bytes are */

/* The first byte of the payload says what the handler takes beside its frame. */
static int take(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	char how = ((const char *)frame)[4];
	int r = 0;

	ut.frames++;
	if (how == 'm')
		r = np_conn_skip(c, 6); /* a frame of two bytes behind it as well */
	return r < 0 ? r : np_conn_say(c, (const char *)frame + 4, n - 4);
}

START_TEST(a_frame_is_consumed_and_its_handler_may_take_what_is_behind_it)
{
	struct np_handlers h = of(take, usual);
	int fd = given(&h, NULL);

	send_frame(fd, "one");
	send_frame(fd, "more");
	send_frame(fd, "xx");
	send_frame(fd, "last");
	expect(fd, "onemorelast", 11);

	ck_assert_int_eq(ut.frames, 3);
	over(fd);
}
END_TEST

static int pass_long(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, 4 + 100, &p);

	ut.requests++;
	return r < 0 ? r : np_conn_say(c, "long", 4);
}

START_TEST(what_is_longer_than_max_is_on_requests)
{
	struct np_handlers h = of(echo, (struct np_framing){ .width = 4, .max = 20 });
	char payload[100] = { 0 };
	int fd;

	h.on_request = pass_long;
	fd = given(&h, NULL);
	send_frame(fd, "before");
	send_head(fd, sizeof payload);
	peer_send(fd, payload, sizeof payload);
	send_frame(fd, "behind");

	expect_frame(fd, "before");
	expect(fd, "long", 4);
	expect_frame(fd, "behind");
	ck_assert_int_eq(ut.frames, 2);
	ck_assert_int_eq(ut.requests, 1);
	over(fd);
}
END_TEST

/* Up to a full stop there are no frames. */
static int take_text(struct np_conn *c, void *arg)
{
	const void *p;
	size_t n;
	int r = np_conn_until(c, '.', 100, &p, &n);

	ut.requests++;
	if (r == 0)
		r = np_conn_set_on_request(c, NULL, NULL);
	return r < 0 ? r : np_conn_say(c, p, n);
}

static int upgrade(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	int r = ut.frames++ ? 0 : np_conn_set_on_request(c, take_text, NULL);

	return r < 0 ? r : np_conn_say(c, frame, n);
}

START_TEST(a_handler_of_the_connections_own_comes_first)
{
	struct np_handlers h = of(upgrade, usual);
	int fd = given(&h, NULL);

	send_frame(fd, "begin");
	expect_frame(fd, "begin");
	peer_send(fd, "text.", 5);
	expect(fd, "text.", 5);
	send_frame(fd, "end");
	expect_frame(fd, "end");

	ck_assert_int_eq(ut.frames, 2);
	ck_assert_int_eq(ut.requests, 1);
	over(fd);
}
END_TEST

/* ------------------------------------------------------------------ a frame that is to come */

static int here;

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	if (arrived)
		ut.arrived++;
}

/* Once, when half of the frame has come. */
static void move_half(struct np_conn *c, void *arg)
{
	if (ut.held == 6 || np_conn_len(c) < 6)
		return;
	ut.held = 6;
	here = np_conn_poller(c);
	ck_assert_int_eq(np_conn_move(c, !here), 0);
}

static int say_where(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	char where = (char)('0' + np_conn_poller(c));

	return np_conn_say(c, &where, 1);
}

START_TEST(half_a_frame_is_no_work_and_its_connection_may_move)
{
	struct np_handlers h = of(say_where, usual);
	char where;
	int fd;

	h.on_move = on_move;
	fd = given(&h, NULL);
	send_head(fd, 4);
	peer_send(fd, "ha", 2);
	AWAIT(ut.conn && (np_conn_post(ut.conn, move_half, NULL), ut.held == 6));
	AWAIT(ut.arrived == 1);
	peer_send(fd, "lf", 2);
	peer_recv(fd, &where, 1);

	ck_assert_int_eq(where, '0' + !here);
	over(fd);
}
END_TEST

START_TEST(the_request_timeout_is_for_all_of_a_frame)
{
	struct np_handlers h = of(echo, usual);
	int fd = given(&h, NP_OPTS(np_server_opts, .request_timeout_ms = 100));

	send_head(fd, 4);
	peer_send(fd, "ha", 2);
	peer_expect_eof(fd);
	AWAIT(ut.closes == 1);
	ck_assert_int_eq(ut.error, -ETIMEDOUT);
	over(fd);
}
END_TEST

/* ------------------------------------------------------------------ where it may wait */

static int wait_for_more(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	int r = ut.frames++ ? 0 : np_conn_wait(c, n);

	return r < 0 ? r : np_conn_say(c, frame, n);
}

START_TEST(a_handler_may_wait_for_what_comes_behind_its_frame)
{
	struct np_handlers h = of(wait_for_more, usual);
	int fd = given(&h, NULL);

	send_frame(fd, "head");
	AWAIT(ut.frames == 1);
	send_frame(fd, "body");
	expect_frame(fd, "head");
	expect_frame(fd, "body");
	over(fd);
}
END_TEST

/* Keeps its thread until the other connection has been answered. */
static int block(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	ut.frames++;
	if (((const char *)frame)[4] == 'b')
		AWAIT(ut.go_on);
	return np_conn_say(c, frame, n);
}

START_TEST(a_handler_that_keeps_its_thread_is_left_alone_with_its_frame)
{
	struct np_handlers h = of(block, usual);
	int fd, other;

	h.flags = NP_MAY_BLOCK;
	h.on_prepare = NULL;
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .handoff_ms = 5));
	serve_at(&serve_server, &h, NULL, NULL, "tcp", "127.0.0.1:0");
	fd = serve_connect(0);
	other = serve_connect(0);
	send_frame(fd, "blocks");
	AWAIT(ut.frames == 1);
	send_frame(fd, "later");
	send_frame(other, "quick");
	expect_frame(other, "quick");
	ut.go_on = true;
	expect_frame(fd, "blocks");
	expect_frame(fd, "later");

	peer_close(&fd);
	peer_close(&other);
	AWAIT(ut.closes == 2);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ np_conn_say() */

static int say_a_lot(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	static char much[8 << 20];
	int r = np_conn_say(c, much, sizeof much); /* above out_high: waits for the peer */

	ut.frames++;
	return r < 0 ? r : np_conn_say(c, "", 0);
}

START_TEST(what_is_said_waits_for_a_peer_that_reads_late_and_all_of_it_comes)
{
	struct np_handlers h = of(say_a_lot, usual);
	char *back = malloc(8 << 20);
	int fd = given(&h, NULL);

	send_frame(fd, "more");
	await_fd(fd, POLLIN);
	ck_assert_int_eq(ut.frames, 0);
	peer_recv(fd, back, 8 << 20);
	AWAIT(ut.frames == 1);
	free(back);
	over(fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "what a frame is");

	tcase_add_loop_test(tc, a_frame_of_each_kind_is_found_in_whatever_pieces_it_comes, 0,
			    sizeof kinds / sizeof kinds[0]);
	tcase_add_test(tc, a_byte_at_a_time_makes_a_frame);
	tcase_add_loop_test(tc, what_is_no_frame_ends_the_connection_and_on_frame_is_not_called, 0,
			    sizeof bad / sizeof bad[0]);
	tcase_add_test(tc, the_frames_in_front_of_a_fin_are_answered);
	tcase_add_test(tc, a_frame_may_be_longer_than_what_is_buffered_otherwise);
	tcase_add_loop_test(tc, a_framing_without_a_number_is_refused, 0, 2);
	tc = add_case(s, "whose the bytes are");
	tcase_add_test(tc, a_frame_is_consumed_and_its_handler_may_take_what_is_behind_it);
	tcase_add_test(tc, what_is_longer_than_max_is_on_requests);
	tcase_add_test(tc, a_handler_of_the_connections_own_comes_first);
	tc = add_case(s, "a frame that is to come");
	tcase_add_test(tc, half_a_frame_is_no_work_and_its_connection_may_move);
	tcase_add_test(tc, the_request_timeout_is_for_all_of_a_frame);
	tc = add_case(s, "waits");
	tcase_add_test(tc, a_handler_may_wait_for_what_comes_behind_its_frame);
	tcase_add_test(tc, a_handler_that_keeps_its_thread_is_left_alone_with_its_frame);
	tc = add_case(s, "say");
	tcase_add_test(tc, what_is_said_waits_for_a_peer_that_reads_late_and_all_of_it_comes);
}
