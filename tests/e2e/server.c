/* SPDX-License-Identifier: BSD-2-Clause */
/* server: what a user of np_server_* and a peer on the wire are promised. Public headers only. */
#include <errno.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/run.h"
#include "support/test.h"

static struct np_pollers *pollers;
static struct np_server *server;
static int fds_before;
static struct {
	_Atomic(int) prepared, connected, requests, disconnected, closed, why;
} seen;

static int on_prepare(struct np_conn *c, void *arg)
{
	seen.prepared++;
	return 0;
}

static int on_connect(struct np_conn *c, void *arg)
{
	seen.connected++;
	return 0;
}

static int echo_all(struct np_conn *c, void *arg)
{
	struct np_linkbuf *b = NULL;
	int r = np_conn_slice(c, np_conn_len(c), &b);

	seen.requests++;
	if (r == 0)
		r = np_conn_append(c, &b);
	np_linkbuf_free(&b);
	return r < 0 ? r : np_conn_flush(c);
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	seen.disconnected++;
}

static void on_close(struct np_conn *c, void *arg)
{
	seen.why = np_conn_error(c);
	seen.closed++;
}

static const struct np_handlers echo = {
	.sz = sizeof echo,
	.on_prepare = on_prepare,
	.on_connect = on_connect,
	.on_request = echo_all,
	.on_disconnect = on_disconnect,
	.on_close = on_close,
};

static void given_pollers(int n)
{
	fds_before = open_fds();
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = n), &pollers), 0);
}

static void given_server(const struct np_handlers *h, void *arg, const struct np_server_opts *o)
{
	struct np_server_opts own = { .sz = sizeof own };

	if (o)
		own = *o;
	/* what is about idle peers at a stop is in grace.c */
	own.drain_ms = own.drain_ms ? own.drain_ms : 1;
	own.fresh_ms = own.fresh_ms ? own.fresh_ms : 1;
	if (!pollers)
		given_pollers(2);
	ck_assert_int_eq(np_server_new(pollers, h, arg, &own, &server), 0);
}

static void listening(const char *network, const char *address)
{
	int r = np_server_listen(server, network, address);

	ck_assert_msg(r == 0, "listen %s: %s", address, np_server_error(server));
}

static void given_echo(const char *network, const char *address)
{
	given_server(&echo, NULL, NULL);
	listening(network, address);
	ck_assert_int_eq(np_server_start(server), 0);
}

static int connect_to(int i)
{
	return peer_of(server, i);
}

/* Everything ends, in order, and no descriptor is left. */
static void teardown(void)
{
	unsigned forced;

	if (server) {
		ck_assert_int_eq(np_server_stop(server, AWAIT_MS, &forced), 0);
		ck_assert_int_eq(np_server_free(&server), 0);
	}
	if (pollers) {
		ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
		ck_assert_int_eq(np_pollers_free(&pollers), 0);
		ck_assert_int_eq(open_fds(), fds_before);
	}
}

/* ------------------------------------------------------------------ the path */

static void one_byte(const char *network, const char *address)
{
	char c = 'x', back = 0;
	int fd;

	given_echo(network, address);
	fd = connect_to(0);
	peer_send(fd, &c, 1);
	peer_recv(fd, &back, 1);
	ck_assert_int_eq(back, 'x');
	peer_close(&fd);
	AWAIT(seen.closed == 1);
	ck_assert_int_eq(seen.prepared, 1);
	ck_assert_int_eq(seen.connected, 1);
	ck_assert_int_eq(seen.requests, 1);
	ck_assert_int_eq(seen.disconnected, 1);
	teardown();
}

START_TEST(one_byte_end_to_end_over_ipv4)
{
	one_byte("tcp", "127.0.0.1:0");
}
END_TEST

START_TEST(one_byte_end_to_end_over_ipv6)
{
	one_byte("tcp", "[::1]:0");
}
END_TEST

START_TEST(one_byte_end_to_end_over_an_abstract_unix_socket)
{
	char name[64];

	snprintf(name, sizeof name, "@np-test-%d", (int)getpid());
	one_byte("unix", name);
}
END_TEST

START_TEST(a_unix_socket_file_is_replaced_when_stale_and_removed_at_the_end)
{
	char *dir = temp_dir(), path[100], lock[120];

	snprintf(path, sizeof path, "%s/sock", dir);
	snprintf(lock, sizeof lock, "%s.lock", path);
	one_byte("unix", path);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(unlink(lock), 0);
	remove_tree(&dir);
}
END_TEST

static _Atomic(size_t) got;

static int count(struct np_conn *c, void *arg)
{
	got += np_conn_len(c);
	return np_conn_skip(c, np_conn_len(c));
}

/* What the peer sends before it closes reaches on_request, and so does its FIN. */
START_TEST(bytes_sent_just_before_close_are_all_handled)
{
	char buf[5000] = { 0 };
	struct np_handlers h = { .sz = sizeof h, .on_request = count, .on_close = on_close };

	got = 0;
	given_server(&h, NULL, NULL);
	listening("tcp", "127.0.0.1:0");
	ck_assert_int_eq(np_server_start(server), 0);
	for (int i = 0; i < 10; i++) {
		int fd = connect_to(0);

		peer_send(fd, buf, sizeof buf);
		peer_close(&fd);
	}
	AWAIT(seen.closed == 10);
	ck_assert_uint_eq(got, 10 * sizeof buf);
	teardown();
}
END_TEST

START_TEST(a_peer_that_half_closes_after_its_request_gets_the_reply)
{
	char buf[3000], back[3000];
	int fd;

	memset(buf, 7, sizeof buf);
	given_echo("tcp", "127.0.0.1:0");
	fd = connect_to(0);
	peer_send(fd, buf, sizeof buf);
	shutdown(fd, SHUT_WR);
	peer_recv(fd, back, sizeof back);
	ck_assert_mem_eq(buf, back, sizeof buf);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(seen.closed == 1);
	ck_assert_int_eq(seen.why, -NP_EEOF);
	teardown();
}
END_TEST

START_TEST(a_peer_that_resets_harms_nobody_else)
{
	char c = 'a';
	int good, bad;

	given_echo("tcp", "127.0.0.1:0");
	good = connect_to(0);
	bad = connect_to(0);
	peer_send(bad, &c, 1);
	peer_reset(&bad);
	AWAIT(seen.closed == 1);
	peer_send(good, &c, 1);
	peer_recv(good, &c, 1);
	peer_close(&good);
	AWAIT(seen.closed == 2);
	teardown();
}
END_TEST

/* A handler that reads as if it blocked holds a stack, not the thread. */
static int frame(struct np_conn *c, void *arg)
{
	const void *head, *body;
	unsigned len;
	int r = np_conn_next(c, 4, &head);

	if (r < 0)
		return r;
	memcpy(&len, head, 4);
	if (len > (16u << 20))
		return -EMSGSIZE;
	r = np_conn_next(c, len, &body);
	if (r == 0)
		r = np_conn_write(c, head, 4);
	if (r == 0)
		r = np_conn_write(c, body, len);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers framed = { .sz = sizeof framed,
					   .on_request = frame,
					   .on_close = on_close };

static void given_framed(int n)
{
	given_pollers(n);
	given_server(&framed, NULL, NULL);
	listening("tcp", "127.0.0.1:0");
	ck_assert_int_eq(np_server_start(server), 0);
}

START_TEST(a_handler_that_waits_for_the_rest_lets_others_be_served)
{
	unsigned len = 5;
	char half[6], back[9], whole[9];
	int slow, fast;

	given_framed(1);
	slow = connect_to(0);
	fast = connect_to(0);
	memcpy(half, &len, 4);
	memcpy(half + 4, "he", 2);
	peer_send(slow, half, 6);
	memcpy(whole, &len, 4);
	memcpy(whole + 4, "world", 5);
	peer_send(fast, whole, 9);
	peer_recv(fast, back, 9);
	ck_assert_mem_eq(back, whole, 9);

	peer_send(slow, "llo", 3);
	peer_recv(slow, back, 9);
	ck_assert_mem_eq(back + 4, "hello", 5);
	peer_close(&slow);
	peer_close(&fast);
	AWAIT(seen.closed == 2);
	teardown();
}
END_TEST

START_TEST(a_garbage_length_closes_that_connection_only)
{
	unsigned len = 1;
	char ok[5] = { 0 }, back[5];
	int bad, good;

	given_framed(1);
	bad = connect_to(0);
	good = connect_to(0);
	peer_send(bad, "\xff\xff\xff\xff", 4);
	peer_expect_eof(bad);
	peer_close(&bad);
	AWAIT(seen.closed == 1);
	ck_assert_int_eq(seen.why, -EMSGSIZE);
	memcpy(ok, &len, 4);
	peer_send(good, ok, 5);
	peer_recv(good, back, 5);
	peer_close(&good);
	teardown();
}
END_TEST

START_TEST(pipelined_frames_are_answered_in_order)
{
	enum { N = 500, SIZE = 300 };
	static char out[N][4 + SIZE], in[N][4 + SIZE];
	unsigned len = SIZE;
	int fd;

	for (int i = 0; i < N; i++) {
		memcpy(out[i], &len, 4);
		memset(out[i] + 4, i, SIZE);
	}
	given_framed(1);
	fd = connect_to(0);
	peer_send(fd, out, sizeof out);
	peer_recv(fd, in, sizeof in);
	ck_assert_mem_eq(out, in, sizeof in);
	peer_close(&fd);
	AWAIT(seen.closed == 1);
	teardown();
}
END_TEST

struct sending {
	int fd;
	char *p;
	size_t n;
};

static void *send_all(void *arg)
{
	struct sending *x = arg;

	peer_send(x->fd, x->p, x->n);
	return NULL;
}

START_TEST(a_frame_above_every_watermark_comes_back_whole)
{
	unsigned len = 9u << 20;
	char *out = malloc(len + 4), *in = malloc(len + 4);
	pthread_t t;
	int fd;

	struct sending s;

	memcpy(out, &len, 4);
	for (size_t i = 4; i < len + 4; i++)
		out[i] = (char)(i * 2654435761u >> 13);
	given_framed(1);
	fd = connect_to(0);
	s = (struct sending){ fd, out, len + 4 };
	pthread_create(&t, NULL, send_all, &s);
	peer_recv(fd, in, len + 4);
	pthread_join(t, NULL);
	ck_assert_int_eq(memcmp(in, out, len + 4), 0);
	peer_close(&fd);
	free(in);
	free(out);
	AWAIT(seen.closed == 1);
	teardown();
}
END_TEST

/* ------------------------------------------------------------------ the end */

START_TEST(stop_before_start_is_honoured)
{
	given_server(&echo, NULL, NULL);
	listening("tcp", "127.0.0.1:0");
	ck_assert_int_eq(np_server_stop(server, 0, NULL), 0);
	ck_assert_int_eq(np_server_start(server), -ECANCELED);
	teardown();
}
END_TEST

START_TEST(stop_closes_idle_connections_and_serves_what_was_queued)
{
	char c = 'q', back;
	int idle, asked;

	given_echo("tcp", "127.0.0.1:0");
	idle = connect_to(0);
	asked = connect_to(0);
	peer_send(asked, &c, 1);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	peer_recv(asked, &back, 1);
	peer_expect_eof(asked);
	peer_expect_eof(idle);
	peer_close(&asked);
	peer_close(&idle);
	ck_assert_int_eq(seen.closed, 2);
	teardown();
}
END_TEST

static _Atomic(struct np_conn *) owed; /* with a reference */

static int owe(struct np_conn *c, void *arg)
{
	np_conn_hold(c);
	owed = np_conn_ref(c);
	return np_conn_skip(c, np_conn_len(c));
}

static void answer(struct np_conn *c, void *arg)
{
	np_conn_write(c, "a", 1);
	np_conn_flush(c);
	np_conn_unhold(c);
	np_conn_unref(c);
}

static void *stop_it(void *arg)
{
	return (void *)(intptr_t)np_server_stop(server, AWAIT_MS, arg);
}

/* It is no idle one: something is to come. */
START_TEST(stop_leaves_a_held_connection_until_its_answer_has_come)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = owe };
	unsigned forced = 1;
	int idle, asked;
	pthread_t t;
	void *r;
	char c;

	given_server(&h, NULL, NULL);
	listening("tcp", "127.0.0.1:0");
	ck_assert_int_eq(np_server_start(server), 0);
	asked = connect_to(0);
	peer_send(asked, "q", 1);
	AWAIT(owed);
	idle = connect_to(0);
	pthread_create(&t, NULL, stop_it, &forced);
	peer_expect_eof(idle);
	ck_assert_int_eq(np_conn_post(owed, answer, NULL), 0);
	peer_recv(asked, &c, 1);
	peer_expect_eof(asked);
	peer_close(&asked);
	peer_close(&idle);
	pthread_join(t, &r);
	ck_assert_int_eq((int)(intptr_t)r, 0);
	ck_assert_uint_eq(forced, 0);
	teardown();
}
END_TEST

static struct {
	_Atomic(int) times, result, freed;
} ended;

static void free_it(void *arg, int result, unsigned forced)
{
	struct np_server *s = arg;

	ended.result = result;
	ended.freed = np_server_free(&s);
	ended.times++;
}

/* Ends the very server it is called by, as a "shutdown" request of a protocol does. */
static int end_server(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, 1);

	if (r == 0)
		r = np_conn_write(c, "bye", 3);
	if (r == 0)
		r = np_conn_flush(c);
	return r < 0 ? r : np_server_stop_async(server, AWAIT_MS, free_it, server);
}

START_TEST(a_handler_may_stop_its_own_server_and_the_end_frees_it)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = end_server };
	char back[3];
	int fd;

	given_server(&h, NULL, NULL);
	listening("tcp", "127.0.0.1:0");
	ck_assert_int_eq(np_server_start(server), 0);
	fd = connect_to(0);
	peer_send(fd, "x", 1);

	peer_recv(fd, back, 3);
	peer_expect_eof(fd);
	peer_close(&fd);

	AWAIT(ended.times);
	ck_assert_int_eq(ended.result, 0);
	ck_assert_int_eq(ended.freed, 0);
	server = NULL;
	teardown();
	AWAIT(np_threads() == 0);
	ck_assert_int_eq(ended.times, 1);
}
END_TEST

START_TEST(stop_cuts_off_at_the_deadline_and_says_how_many)
{
	unsigned len = 100, forced = 0;
	int fd;

	given_framed(1);
	fd = connect_to(0);
	peer_send(fd, &len, 4); /* the rest never comes */
	AWAIT(np_server_stats(server, &(struct np_server_stats){
					      .sz = sizeof(struct np_server_stats) }) == 0);
	ck_assert_int_eq(np_server_stop(server, 50, &forced), 0);
	ck_assert_uint_eq(forced, 1);
	ck_assert_int_eq(seen.closed, 1);
	peer_close(&fd);
	teardown();
}
END_TEST

/* ------------------------------------------------------------------ bulk */

struct pump {
	pthread_t thread;
	struct sockaddr_storage ss;
	socklen_t len;
	size_t bytes;
	unsigned seed;
};

/* One connection: random chunks out, the same bytes expected back, both at once. */
static void *pump_run(void *arg)
{
	struct pump *p = arg;
	int fd = peer_connect(&p->ss, p->len);
	size_t sent = 0, got = 0;
	unsigned rng = p->seed;
	static _Thread_local unsigned char out[65536], in[65536];

	while (got < p->bytes) {
		size_t n = rand_r(&rng) % (sent - got < 131072 ? sizeof out : 1);

		if (n > p->bytes - sent)
			n = p->bytes - sent;
		for (size_t i = 0; i < n; i++)
			out[i] = (unsigned char)((sent + i) * 131 + p->seed);
		if (n)
			peer_send(fd, out, n);
		sent += n;
		n = sent - got < sizeof in ? sent - got : sizeof in;
		if (sent < p->bytes && n > 1)
			n = 1 + (unsigned)rand_r(&rng) % n;
		peer_recv(fd, in, n);
		for (size_t i = 0; i < n; i++)
			if (in[i] != (unsigned char)((got + i) * 131 + p->seed))
				ck_abort_msg("byte %zu differs", got + i);
		got += n;
	}
	peer_close(&fd);
	return NULL;
}

START_TEST(a_gibibyte_in_random_chunks_over_64_connections_comes_back_unchanged)
{
	enum { N = 64 };
	size_t total = under_tsan() || under_asan() ? 64u << 20 : 1u << 30;
	static struct pump pumps[N];

	given_echo("tcp", "127.0.0.1:0");
	for (int i = 0; i < N; i++) {
		pumps[i].bytes = total / N;
		pumps[i].seed = (unsigned)i + 1;
		ck_assert_int_eq(np_server_addr(server, 0, &pumps[i].ss, &pumps[i].len), 0);
		ck_assert_int_eq(pthread_create(&pumps[i].thread, NULL, pump_run, &pumps[i]), 0);
	}
	for (int i = 0; i < N; i++)
		pthread_join(pumps[i].thread, NULL);
	AWAIT(seen.closed == N);
	teardown();
}
END_TEST

static struct np_conn *kept;

static int keep_reference(struct np_conn *c, void *arg)
{
	np_conn_ref(c);
	kept = c;
	return 0;
}

static const struct np_handlers keeping = {
	.sz = sizeof keeping,
	.on_connect = keep_reference,
	.on_request = echo_all,
	.on_close = on_close,
};

/* Of the server, which is stopped then. */
static void given_a_kept_reference(void)
{
	int fd;

	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(server), 0);
	fd = connect_to(0);
	peer_close(&fd);
	AWAIT(seen.closed == 1);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
}

/* The memory of a connection is its poller's: that stays for as long as somebody may look. */
START_TEST(pollers_are_not_freed_under_a_reference_to_a_connection)
{
	given_server(&keeping, NULL, NULL);
	given_a_kept_reference();
	ck_assert_int_eq(np_server_free(&server), 0);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(np_pollers_free(&pollers), -EBUSY);
	ck_assert_int_eq(np_conn_error(kept), -NP_EEOF);
	np_conn_unref(kept);
}
END_TEST

START_TEST(a_server_is_not_freed_with_its_own_pollers_under_a_reference_to_a_connection)
{
	ck_assert_int_eq(np_server_new(NULL, &keeping, NULL, NULL, &server), 0);
	given_a_kept_reference();

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(np_server_free(&server), -EBUSY);
	ck_assert_int_eq(np_conn_error(kept), -NP_EEOF);
	np_conn_unref(kept);
	ck_assert_int_eq(np_server_free(&server), 0);
	ck_assert_ptr_null(server);
}
END_TEST

START_TEST(a_pointer_is_null_where_it_was_taken_and_nowhere_else)
{
	static const struct np_handlers h = { .sz = sizeof h };
	struct np_server *none = NULL;

	given_server(&h, NULL, NULL);
	ck_assert_int_eq(np_server_listen(server, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(server), 0);
	ck_assert_int_eq(np_server_free(&server), -EBUSY);
	ck_assert_ptr_nonnull(server);
	ck_assert_int_eq(np_pollers_free(&pollers), -EBUSY);
	ck_assert_ptr_nonnull(pollers);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_free(&server), 0);
	ck_assert_ptr_null(server);
	ck_assert_int_eq(np_pollers_stop(pollers, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&pollers), 0);
	ck_assert_ptr_null(pollers);
	ck_assert_int_eq(np_server_free(&none), 0);
	ck_assert_int_eq(np_pollers_free(&pollers), 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "path");

	tcase_add_test(t, one_byte_end_to_end_over_ipv4);
	tcase_add_test(t, one_byte_end_to_end_over_ipv6);
	tcase_add_test(t, one_byte_end_to_end_over_an_abstract_unix_socket);
	tcase_add_test(t, a_unix_socket_file_is_replaced_when_stale_and_removed_at_the_end);
	tcase_add_test(t, bytes_sent_just_before_close_are_all_handled);
	tcase_add_test(t, a_peer_that_half_closes_after_its_request_gets_the_reply);
	tcase_add_test(t, a_peer_that_resets_harms_nobody_else);
	tcase_add_test(t, a_handler_that_waits_for_the_rest_lets_others_be_served);
	tcase_add_test(t, a_garbage_length_closes_that_connection_only);
	tcase_add_test(t, pipelined_frames_are_answered_in_order);
	tcase_add_test(t, a_frame_above_every_watermark_comes_back_whole);
	t = add_case(s, "stop");
	tcase_add_test(t, stop_before_start_is_honoured);
	tcase_add_test(t, stop_closes_idle_connections_and_serves_what_was_queued);
	tcase_add_test(t, stop_leaves_a_held_connection_until_its_answer_has_come);
	tcase_add_test(t, a_handler_may_stop_its_own_server_and_the_end_frees_it);
	tcase_add_test(t, stop_cuts_off_at_the_deadline_and_says_how_many);
	tcase_add_test(t, pollers_are_not_freed_under_a_reference_to_a_connection);
	tcase_add_test(
		t, a_server_is_not_freed_with_its_own_pollers_under_a_reference_to_a_connection);
	tcase_add_test(t, a_pointer_is_null_where_it_was_taken_and_nowhere_else);
	t = add_case(s, "bulk");
	tcase_add_test(t, a_gibibyte_in_random_chunks_over_64_connections_comes_back_unchanged);
}
