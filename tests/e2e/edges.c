/* SPDX-License-Identifier: BSD-2-Clause */
/* edges: what happens at one moment and must not be lost: the last bytes, the FIN, the mark, the
 * deadline */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define NOTHING 12345
#define MIB     (1u << 20)

static struct {
	_Atomic(int) requests, disconnects, closes, result;
	_Atomic(size_t) bytes;
	_Atomic(bool) held, go_on;
	_Atomic(uint64_t) hold_until;
	_Atomic(struct np_conn *) conn; /* with a reference */
} saw;

static void on_close(struct np_conn *c, void *arg)
{
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
				  .on_disconnect = on_disconnect,
				  .on_close = on_close };
	saw.result = NOTHING;
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .linger_ms = AWAIT_MS));
}

static int count(struct np_conn *c, void *arg)
{
	saw.requests++;
	saw.bytes += np_conn_len(c);
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	return np_conn_skip(c, np_conn_len(c));
}

/* Keeps the poller's thread until the test says so: what comes meanwhile comes in one event. */
static void hold(struct np_conn *c, void *arg)
{
	saw.held = true;
	while (!saw.go_on || now_ms() < saw.hold_until)
		;
}

static void given_a_held_poller(void)
{
	ck_assert_int_eq(np_conn_post(saw.conn, hold, NULL), 0);
	AWAIT(saw.held);
}

static int counted_connection(void)
{
	int fd = serve_connect(0);

	peer_send(fd, "1", 1);
	AWAIT(saw.conn && saw.requests == 1);
	return fd;
}

/* A short read is taken for drained, unless the event says more: then the FIN would wait for an
 * edge that has come. */
START_TEST(data_and_fin_in_one_edge_are_both_seen)
{
	int fd;

	given(count);
	fd = counted_connection();
	given_a_held_poller();
	peer_send(fd, "23", 2);
	shutdown(fd, SHUT_WR);
	saw.go_on = true;
	AWAIT(saw.closes == 1);
	ck_assert_uint_eq(saw.bytes, 3);
	ck_assert_int_eq(saw.disconnects, 1);
	peer_expect_eof(fd);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* The urgent mark cuts a read short; the byte itself is not part of the stream. */
START_TEST(what_comes_behind_an_urgent_byte_is_not_stranded)
{
	int fd;

	given(count);
	fd = counted_connection();
	given_a_held_poller();
	peer_send(fd, "before", 6);
	ck_assert_int_eq((int)send(fd, "!", 1, MSG_OOB), 1);
	peer_send(fd, "behind", 6);
	saw.go_on = true;
	AWAIT(saw.bytes == 13);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int count_little(struct np_conn *c, void *arg)
{
	np_conn_set_limits(c, &(struct np_limits){ .in_high = 4 });
	return count(c, arg);
}

/* With the input at its limit, the read that meets the mark is a later one than the event's. */
START_TEST(nor_is_it_when_the_input_is_full_before_the_mark)
{
	int fd;

	given(count_little);
	fd = counted_connection();
	given_a_held_poller();
	peer_send(fd, "before", 6);
	ck_assert_int_eq((int)send(fd, "!", 1, MSG_OOB), 1);
	peer_send(fd, "behind", 6);
	saw.go_on = true;
	AWAIT(saw.bytes == 13);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* Takes the first byte only. */
static int count_once(struct np_conn *c, void *arg)
{
	np_conn_set_limits(c, &(struct np_limits){ .in_high = 4 });
	if (!saw.conn)
		return count(c, arg);
	saw.requests++;
	return 0;
}

/*
 * The FIN's edge comes with bytes that fill the input: what is behind them is not read, and no
 * other edge tells that the peer has left.
 */
START_TEST(nor_is_the_fin_behind_a_full_input_that_nobody_takes)
{
	int fd;

	given(count_once);
	fd = counted_connection();
	given_a_held_poller();
	peer_send(fd, "more than four", 14);
	shutdown(fd, SHUT_WR);
	saw.go_on = true;
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.disconnects, 1);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int wait_beside_a_hog(struct np_conn *c, void *arg)
{
	const void *p;

	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	np_conn_skip(c, np_conn_len(c));
	np_conn_set_read_timeout(c, 50);
	saw.hold_until = now_ms() + 100;
	np_conn_post(c, hold, NULL);
	saw.result = np_conn_next(c, 4, &p);
	return 0;
}

/* The bytes lie in the kernel before the deadline, the poller looks at the clock only after it. */
START_TEST(a_read_timeout_does_not_fire_when_the_bytes_came_in_time_beside_a_hog_of_100_ms)
{
	int fd;

	given(wait_beside_a_hog);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(saw.held);
	peer_send(fd, "data", 4);
	saw.go_on = true;
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, 0);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

static int reply_and_close(struct np_conn *c, void *arg)
{
	static char reply[MIB];
	int r = np_conn_skip(c, 1);

	memset(reply, 'r', sizeof reply);
	saw.requests++;
	if (r == 0)
		r = np_conn_write(c, reply, sizeof reply);
	if (r == 0)
		r = np_conn_flush(c);
	np_conn_close(c);
	return r;
}

/* close(2) with unread input sends RST, which destroys what the peer has not read yet. */
START_TEST(a_1_mib_reply_in_flight_at_close_survives_pipelined_garbage_behind_it)
{
	static char garbage[300000], got[MIB];
	int fd, small = 65536;

	given(reply_and_close);
	fd = serve_connect(0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	memset(garbage, 'g', sizeof garbage);
	peer_send(fd, garbage, sizeof garbage);
	peer_recv(fd, got, sizeof got);
	for (size_t i = 0; i < sizeof got; i++)
		if (got[i] != 'r')
			ck_abort_msg("byte %zu of the reply is %d", i, got[i]);
	peer_send(fd, garbage, sizeof garbage); /* still taken, and thrown away */
	peer_expect_eof(fd);
	ck_assert_int_eq(saw.requests, 1);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

static int echo(struct np_conn *c, void *arg)
{
	size_t n = np_conn_len(c);
	const void *p;
	int r = np_conn_next(c, n, &p);

	saw.requests++;
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	if (r == 0)
		r = np_conn_write(c, p, n);
	return r < 0 ? r : np_conn_flush(c);
}

static void wait_for_a_word(int sock, void *arg)
{
	child_hear(sock);
}

static void close_now(struct np_conn *c, void *arg)
{
	np_conn_set_linger(c, NP_NOW);
	np_conn_close(c);
}

/*
 * close(2) does not end what a child of another thread's fork still holds: the old connection goes
 * on reporting to the epoll instance, under a descriptor number and a slot that are another's by
 * now.
 */
START_TEST(a_child_between_fork_and_exec_that_holds_a_closed_connection_disturbs_nobody)
{
	struct child child;
	char back[6];
	int old, new;

	given(echo);
	old = serve_connect(0);
	peer_send(old, "mine", 4);
	peer_recv(old, back, 4);
	child_start(&child, wait_for_a_word, NULL);
	ck_assert_int_eq(np_conn_post(saw.conn, close_now, NULL), 0);
	AWAIT(saw.closes == 1);
	np_conn_unref(saw.conn);

	new = serve_connect(0);
	peer_send(new, "yours", 5);
	peer_recv(new, back, 5);
	ck_assert_mem_eq(back, "yours", 5);
	for (int i = 0; i < 20; i++) {
		peer_send(old, "stale", 5); /* an edge for what is not ours any more */
		peer_send(new, "again", 5);
		peer_recv(new, back, 5);
		ck_assert_mem_eq(back, "again", 5);
	}
	ck_assert_int_eq(saw.requests, 22);
	ck_assert_int_eq(saw.closes, 1);
	peer_expect_eof(old); /* the FIN did not wait for the child */

	child_say(child.sock, 'x');
	child_join(&child);
	peer_close(&old);
	peer_close(&new);
	serve_end();
}
END_TEST

static void shut_too(struct np_conn *c, void *arg)
{
	saw.result = np_conn_shutdown_write(c);
}

/* Where the peer's FIN came first, close(2) alone would send ours, and the child keeps it back. */
START_TEST(nor_does_it_keep_back_the_fin_of_shutdown_write_behind_the_peers)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = echo,
					      .on_disconnect = shut_too };
	struct child child;
	char back[4];
	int fd;

	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "mine", 4);
	peer_recv(fd, back, 4);
	child_start(&child, wait_for_a_word, NULL);
	shutdown(fd, SHUT_WR);
	peer_expect_eof(fd);
	ck_assert_int_eq(saw.result, 0);

	child_say(child.sock, 'x');
	child_join(&child);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

START_TEST(nor_does_it_keep_an_abort_from_the_peer)
{
	struct child child;
	char back[4];
	int fd;

	given(echo);
	fd = serve_connect(0);
	peer_send(fd, "mine", 4);
	peer_recv(fd, back, 4);
	child_start(&child, wait_for_a_word, NULL);
	np_conn_abort(saw.conn);
	ck_assert_int_eq((int)recv(fd, back, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);

	child_say(child.sock, 'x');
	child_join(&child);
	AWAIT(saw.closes == 1);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

#define WRITE_MS 300u
#define KEPT_MS  1000u       /* longer than that, and than a late look may be */
#define LARGE    (16u * MIB) /* more than all buffers of the kernel on a way */

static void keep_the_thread(struct np_conn *c, void *arg)
{
	AWAIT(saw.go_on);
}

/* The thread is kept as soon as it waits. */
static int reply_large(struct np_conn *c, void *arg)
{
	static char large[LARGE];
	int r = np_conn_post(c, keep_the_thread, NULL);

	np_conn_skip(c, np_conn_len(c));
	np_conn_set_write_timeout(c, WRITE_MS);
	np_conn_set_min_rate(c, 1 << 30);
	if (r == 0)
		r = np_conn_write_ref(c, large, sizeof large, NULL, NULL);
	saw.result = r == 0 ? np_conn_sync(c) : r;
	saw.requests++;
	return 0;
}

/* What the peer takes meanwhile nobody can look at in time. */
START_TEST(nor_does_a_write_timeout_of_a_peer_that_took_bytes_while_the_thread_was_kept)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = reply_large };
	char some[65536];
	uint64_t began;
	int fd;

	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	peer_recv(fd, some, sizeof some);
	began = now_ms();
	AWAIT(now_ms() > began + KEPT_MS);
	saw.go_on = true;
	for (unsigned n = sizeof some; n < LARGE; n += sizeof some)
		peer_recv(fd, some, sizeof some);
	AWAIT(saw.requests);
	ck_assert_int_eq(saw.result, 0);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* A unix socket has no RST: its end is what the peer sees. */
START_TEST(nor_an_abort_from_the_peer_of_a_unix_socket)
{
	static const struct np_handlers h = { .sz = sizeof h };
	struct np_conn *c = NULL;
	struct child child;
	int sock[2];

	given(echo);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
	ck_assert_int_eq(np_conn_from_fd(pollers, 0, &sock[0], &h, NULL, &c), 0);
	child_start(&child, wait_for_a_word, NULL);
	np_conn_abort(c);
	await_fd(sock[1], POLLIN);
	peer_expect_eof(sock[1]);

	child_say(child.sock, 'x');
	child_join(&child);
	np_conn_unref(c);
	peer_close(&sock[1]);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "edges");

	tcase_add_test(t, data_and_fin_in_one_edge_are_both_seen);
	tcase_add_test(t, what_comes_behind_an_urgent_byte_is_not_stranded);
	tcase_add_test(t, nor_is_it_when_the_input_is_full_before_the_mark);
	tcase_add_test(t, nor_is_the_fin_behind_a_full_input_that_nobody_takes);
	tcase_add_test(
		t, a_read_timeout_does_not_fire_when_the_bytes_came_in_time_beside_a_hog_of_100_ms);
	tcase_add_test(
		t, nor_does_a_write_timeout_of_a_peer_that_took_bytes_while_the_thread_was_kept);
	tcase_add_test(t, a_1_mib_reply_in_flight_at_close_survives_pipelined_garbage_behind_it);
	tcase_add_test(
		t, a_child_between_fork_and_exec_that_holds_a_closed_connection_disturbs_nobody);
	tcase_add_test(t, nor_does_it_keep_back_the_fin_of_shutdown_write_behind_the_peers);
	tcase_add_test(t, nor_does_it_keep_an_abort_from_the_peer);
	tcase_add_test(t, nor_an_abort_from_the_peer_of_a_unix_socket);
}
