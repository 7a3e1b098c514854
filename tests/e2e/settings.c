/* SPDX-License-Identifier: BSD-2-Clause */
/* settings: options of a connection as the kernel has them, limits that come and go, listeners made
 * elsewhere */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netpoll/block.h>
#include <netpoll/conn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define NOTHING 12345

static struct {
	_Atomic(int) requests, closes, result, lines;
	_Atomic(struct np_conn *) conn; /* with a reference */
	_Atomic(size_t) high;
} saw;

static void on_close(struct np_conn *c, void *arg)
{
	saw.closes++;
}

static void given(int (*on_request)(struct np_conn *, void *), const struct np_server_opts *o)
{
	static struct np_handlers h;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = on_request, .on_close = on_close };
	saw.result = NOTHING;
	serve(1, &h, NULL, o);
}

static void end(int fd)
{
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}

static int option(struct np_conn *c, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	return getsockopt(np_conn_fd(c), level, name, &v, &len) < 0 ? -1 : v;
}

/* ------------------------------------------------------------------ socket options */

static int toggle_options(struct np_conn *c, void *arg)
{
	int bad = 0;

	np_conn_skip(c, np_conn_len(c));
	/* on from the start: inherited from the listener */
	bad += option(c, IPPROTO_TCP, TCP_NODELAY) == 0;
	bad += np_conn_set_nagle(c, true) != 0 || option(c, IPPROTO_TCP, TCP_NODELAY) != 0;
	bad += np_conn_set_nagle(c, false) != 0 || option(c, IPPROTO_TCP, TCP_NODELAY) == 0;
	bad += option(c, SOL_SOCKET, SO_KEEPALIVE) != 0;
	bad += np_conn_set_keepalive(c, 33, 11, 4) != 0;
	bad += option(c, SOL_SOCKET, SO_KEEPALIVE) != 1;
	bad += option(c, IPPROTO_TCP, TCP_KEEPIDLE) != 33 ||
	       option(c, IPPROTO_TCP, TCP_KEEPINTVL) != 11;
	bad += option(c, IPPROTO_TCP, TCP_KEEPCNT) != 4;
	bad += np_conn_set_keepalive(c, 0, 0, 0) != 0 || option(c, SOL_SOCKET, SO_KEEPALIVE) != 0;
	bad += np_conn_set_keepalive(c, 10, 0, 0) != 0;
	bad += option(c, IPPROTO_TCP, TCP_KEEPINTVL) != 10 ||
	       option(c, IPPROTO_TCP, TCP_KEEPCNT) != 3;
	bad += np_conn_set_keepalive(c, -1, 0, 0) != 0 || option(c, SOL_SOCKET, SO_KEEPALIVE) != 0;
	bad += np_conn_set_keepalive(c, 10, -1, 1) != -EINVAL;
	bad += np_conn_set_keepalive(c, 10, 1, -1) != -EINVAL;
	bad += np_conn_set_user_timeout(c, -1) != 0 ||
	       option(c, IPPROTO_TCP, TCP_USER_TIMEOUT) != INT_MAX;
	bad += np_conn_set_user_timeout(c, 0) != 0 || option(c, IPPROTO_TCP, TCP_USER_TIMEOUT) != 0;
	bad += np_conn_set_user_timeout(c, 4321) != 0 ||
	       option(c, IPPROTO_TCP, TCP_USER_TIMEOUT) != 4321;
	saw.result = bad;
	return 0;
}

START_TEST(nagle_keepalive_and_user_timeout_reach_the_socket_and_can_be_cleared)
{
	int fd;

	given(toggle_options, NULL);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, 0);
	end(fd);
}
END_TEST

/* Options of TCP on what is not TCP. */
static int try_tcp_options(struct np_conn *c, void *arg)
{
	np_conn_skip(c, np_conn_len(c));
	saw.result = (np_conn_set_nagle(c, false) != -NP_EUNSUPPORTED) +
		     (np_conn_set_keepalive(c, 1, 1, 1) != -NP_EUNSUPPORTED) +
		     (np_conn_set_user_timeout(c, 1) != -NP_EUNSUPPORTED);
	return np_conn_write(c, "y", 1) < 0 ? -1 : np_conn_flush(c);
}

static const struct np_handlers tcp_options = { .sz = sizeof tcp_options,
						.on_request = try_tcp_options,
						.on_close = on_close };

/* A server on a listener that somebody else made: handed over by a supervisor, say. */
static int given_inherited(const struct sockaddr *sa, socklen_t len)
{
	int fd;

	given_pollers(NULL);
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, sa, len), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	saw.result = NOTHING;
	ck_assert_int_eq(np_server_new(pollers, &tcp_options, NULL, NULL, &serve_server), 0);
	ck_assert_int_eq(np_server_listen_fd(serve_server, &fd), 0);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(np_server_start(serve_server), 0);
	ck_assert_str_eq(np_server_listener_kind(serve_server, 0), "shared");
	return serve_connect(0);
}

START_TEST(an_inherited_unix_listener_serves_and_has_no_tcp_options)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd;
	char back;

	snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "np-settings-%d", getpid());
	fd = given_inherited(
		(struct sockaddr *)&un,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(un.sun_path + 1)));
	peer_send(fd, "x", 1);
	peer_recv(fd, &back, 1);
	ck_assert_int_eq(saw.result, 0);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

START_TEST(an_inherited_tcp_listener_serves_and_is_closed_with_the_server)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd;
	char back;

	fd = given_inherited((struct sockaddr *)&sin, sizeof sin);
	peer_send(fd, "x", 1);
	peer_recv(fd, &back, 1);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

START_TEST(what_does_not_listen_is_no_listener)
{
	int fd;

	given_pollers(NULL);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(np_server_new(pollers, &tcp_options, NULL, NULL, &serve_server), 0);
	ck_assert_int_eq(np_server_listen_fd(serve_server, &fd), -EINVAL);
	if (fd >= 0)
		close(fd);
	serve_end();
}
END_TEST

/* What of a record does not fit into the room of a read would be lost. */
START_TEST(a_listener_of_records_is_no_stream_and_stays_the_callers)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd;

	given_pollers(NULL);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "np-records-%d", getpid());
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	ck_assert_int_eq(np_server_new(pollers, &tcp_options, NULL, NULL, &serve_server), 0);
	ck_assert_int_eq(np_server_listen_fd(serve_server, &fd), -NP_EUNSUPPORTED);
	ck_assert_str_ne(np_server_error(serve_server), "");
	ck_assert_int_eq(close(fd), 0);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ limits */

static int expire_and_clear(struct np_conn *c, void *arg)
{
	const void *p;
	int first;

	saw.requests++;
	np_conn_set_read_deadline(c, now_ns() - 1000000000);
	first = np_conn_next(c, 2, &p);
	np_conn_set_read_deadline(c, 0);
	np_conn_set_read_timeout(c, 0);
	saw.result = first == -NP_EREADTIMEOUT ? np_conn_next(c, 2, &p) : first;
	return 0;
}

START_TEST(an_expired_deadline_fails_at_once_and_a_cleared_one_never)
{
	int fd;

	given(expire_and_clear, NULL);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(saw.requests == 1);
	peer_send(fd, "2", 1);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, 0);
	end(fd);
}
END_TEST

static int wait_behind_a_deadline(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_skip(c, 1);

	np_conn_set_read_deadline(c, now_ns() + 200000000);
	saw.conn = np_conn_ref(c);
	saw.result = r < 0 ? r : np_conn_next(c, 1, &p);
	return 0;
}

static void set_read_timeout(struct np_conn *c, void *arg)
{
	saw.lines = np_conn_set_read_timeout(c, (int)(intptr_t)arg);
	saw.requests++;
}

static void tell(void *arg)
{
	saw.requests++;
}

static void set_timer(struct np_conn *c, void *arg)
{
	np_timer_start(300, tell, NULL, NULL);
}

/* One that is refused changes nothing. */
START_TEST(a_timeout_ends_a_deadline_behind_which_a_fiber_waits_already)
{
	int fd, ms = _i ? -2 : -1;

	given(wait_behind_a_deadline, NULL);
	fd = serve_connect(0);
	peer_send(fd, "1", 1);
	AWAIT(saw.conn);
	np_conn_post(saw.conn, set_timer, NULL); /* after the deadline */
	np_conn_post(saw.conn, set_read_timeout, (void *)(intptr_t)ms);
	AWAIT(saw.requests == 2);
	ck_assert_int_eq(saw.lines, _i ? -EINVAL : 0);
	if (_i == 0) {
		ck_assert_int_eq(saw.result, NOTHING);
		peer_send(fd, "2", 1);
	}
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, _i ? -NP_EREADTIMEOUT : 0);
	np_conn_unref(saw.conn);
	end(fd);
}
END_TEST

#define MUCH (4u << 20)

static int write_much(struct np_conn *c, void *arg)
{
	static char bytes[MUCH];
	int r = np_conn_skip(c, np_conn_len(c)), small = 65536;

	setsockopt(np_conn_fd(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	np_conn_set_write_timeout(c, 100);
	np_conn_set_min_rate(c, INT_MAX);
	if (r == 0)
		r = np_conn_write(c, bytes, sizeof bytes);
	saw.conn = np_conn_ref(c);
	saw.result = r < 0 ? r : np_conn_sync(c);
	return 0;
}

static void take_write_timeout_back(struct np_conn *c, void *arg)
{
	saw.lines = np_conn_set_write_timeout(c, -1);
	set_timer(c, NULL);
}

START_TEST(a_write_timeout_that_is_taken_back_ends_no_wait_and_drops_nothing)
{
	int fd, small = 32768;

	given(write_much, NULL);
	fd = serve_connect(0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	peer_send(fd, "?", 1);
	AWAIT(saw.conn);
	np_conn_post(saw.conn, take_write_timeout_back, NULL);
	AWAIT(saw.requests == 1);
	ck_assert_int_eq(saw.lines, 0);
	ck_assert_int_eq(saw.result, NOTHING);
	shutdown(fd, SHUT_WR);
	ck_assert_uint_eq(peer_drain(fd), MUCH);
	AWAIT(saw.result == 0);
	np_conn_unref(saw.conn);
	end(fd);
}
END_TEST

static int read_lines(struct np_conn *c, void *arg)
{
	const void *p;
	size_t n;
	int r;

	while ((r = np_conn_until(c, '\n', 1024, &p, &n)) == 0) {
		if (n != 501)
			break;
		saw.lines++;
		np_conn_release(c);
	}
	saw.requests = (int)np_conn_len(c);
	saw.result = r;
	np_conn_skip(c, np_conn_len(c));
	return 0;
}

#define LINES 20000

START_TEST(twenty_thousand_lines_are_read_and_the_tail_stays_readable_at_eof)
{
	char line[501];
	int fd;

	given(read_lines, NULL);
	fd = serve_connect(0);
	memset(line, 'l', sizeof line);
	line[500] = '\n';
	for (int i = 0; i < LINES; i++)
		peer_send(fd, line, sizeof line);
	peer_send(fd, line, 100);
	shutdown(fd, SHUT_WR);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.lines, LINES);
	ck_assert_int_eq(saw.result, -NP_EEOF);
	ck_assert_int_eq(saw.requests, 100);
	peer_close(&fd);
	serve_end();
}
END_TEST

#define MIB (1u << 20)

static int read_a_mebibyte(struct np_conn *c, void *arg)
{
	struct np_block_stats st = { .sz = sizeof st };
	const void *p;
	int r = np_conn_next(c, MIB, &p);

	np_block_stats(&st);
	saw.high = st.bytes_high;
	saw.result = r;
	return r;
}

START_TEST(a_mebibyte_that_comes_in_small_pieces_takes_at_most_four)
{
	static char piece[1024];
	int fd;

	given(read_a_mebibyte, NULL);
	fd = serve_connect(0);
	for (unsigned i = 0; i < MIB / sizeof piece; i++)
		peer_send(fd, piece, sizeof piece);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, 0);
	ck_assert_uint_le(saw.high, 4 * MIB);
	end(fd);
}
END_TEST

static int peek_and_read_on(struct np_conn *c, void *arg)
{
	const void *p;
	char rest[64];
	int r = np_conn_peek(c, 16, &p);

	if (r == 0)
		r = (int)np_conn_read(c, rest, sizeof rest);
	saw.result = r < 0 ? r : memcmp(p, "0123456789abcdef", 16);
	return 0;
}

START_TEST(what_was_peeked_stays_valid_over_a_read_until_release)
{
	int fd;

	given(peek_and_read_on, NULL);
	fd = serve_connect(0);
	peer_send(fd, "0123456789abcdefghij", 20);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, 0);
	end(fd);
}
END_TEST

static void raise_limit(struct np_conn *c, void *arg)
{
	np_conn_set_limits(c, &(struct np_limits){ .in_high = 1000 });
}

static int keep_and_leave(struct np_conn *c, void *arg)
{
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
	saw.requests = (int)np_conn_len(c);
	return 0;
}

START_TEST(a_raised_watermark_lets_more_in)
{
	static char bytes[1000];
	int fd;

	given(keep_and_leave, NP_OPTS(np_server_opts, .limits.in_high = 100));
	fd = serve_connect(0);
	peer_send(fd, bytes, sizeof bytes);
	AWAIT(saw.requests == 100);
	np_conn_post(saw.conn, raise_limit, NULL);
	AWAIT(saw.requests == 1000);
	np_conn_unref(saw.conn);
	end(fd);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "settings");

	tcase_add_test(t, nagle_keepalive_and_user_timeout_reach_the_socket_and_can_be_cleared);
	tcase_add_test(t, an_inherited_unix_listener_serves_and_has_no_tcp_options);
	tcase_add_test(t, an_inherited_tcp_listener_serves_and_is_closed_with_the_server);
	tcase_add_test(t, what_does_not_listen_is_no_listener);
	tcase_add_test(t, a_listener_of_records_is_no_stream_and_stays_the_callers);
	tcase_add_test(t, an_expired_deadline_fails_at_once_and_a_cleared_one_never);
	tcase_add_test(t, a_write_timeout_that_is_taken_back_ends_no_wait_and_drops_nothing);
	tcase_add_loop_test(t, a_timeout_ends_a_deadline_behind_which_a_fiber_waits_already, 0, 2);
	tcase_add_test(t, twenty_thousand_lines_are_read_and_the_tail_stays_readable_at_eof);
	tcase_add_test(t, a_mebibyte_that_comes_in_small_pieces_takes_at_most_four);
	tcase_add_test(t, what_was_peeked_stays_valid_over_a_read_until_release);
	tcase_add_test(t, a_raised_watermark_lets_more_in);
}
