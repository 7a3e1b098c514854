/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output: bytes that are not copied, and what becomes of them on every way a connection can end
 *
 * A peer that does not read makes every send partial: the buffers of the kernel are small and the
 * replies are large.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pollers.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define BIG     (3u << 20)
#define NOTHING 12345

static unsigned char big[BIG];

static struct {
	_Atomic(int) result, sticky, done, why, closes, error, built;
	_Atomic(struct np_conn *) conn; /* with a reference */
	int file;
	size_t file_size;
	int (*reply)(struct np_conn *c);
} ut;

static void on_close(struct np_conn *c, void *arg)
{
	ut.why = np_conn_error(c);
	ut.closes++;
}

static void done(void *arg)
{
	ut.done++;
}

static int on_request(struct np_conn *c, void *arg)
{
	int small = 65536;

	setsockopt(np_conn_fd(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	np_conn_skip(c, np_conn_len(c));
	if (!ut.conn)
		ut.conn = np_conn_ref(c);
	ut.result = ut.reply(c);
	ut.sticky = np_conn_write(c, "x", 1);
	return 0;
}

static void given(int (*reply)(struct np_conn *), const struct np_server_opts *o)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = on_request,
					      .on_close = on_close };

	for (unsigned i = 0; i < BIG; i++)
		big[i] = (unsigned char)(i * 7u + (i >> 8));
	ut.reply = reply;
	ut.result = NOTHING;
	serve(1, &h, NULL, o);
}

static void given_file(size_t n)
{
	ut.file = memfd_create("output", MFD_CLOEXEC);
	ck_assert_int_ge(ut.file, 0);
	ut.file_size = n;
	ck_assert_int_eq((int)write(ut.file, big, n), (int)n);
	ck_assert_int_eq((int)lseek(ut.file, 5, SEEK_SET), 5);
}

/* Asks, and reads nothing of the answer yet. */
static int asked(int i)
{
	int fd = serve_connect(i), small = 32768;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	peer_send(fd, "?", 1);
	AWAIT(ut.conn);
	return fd;
}

static void expect_bytes(int fd, const void *want, size_t n)
{
	unsigned char *got = malloc(n);

	peer_recv(fd, got, n);
	if (memcmp(got, want, n))
		ck_abort_msg("%zu bytes came, but not those that were sent", n);
	free(got);
}

/* Reads until the end, which has to be a reset. */
static void expect_reset(int fd)
{
	static char sink[65536];
	ssize_t n;

	while ((n = recv(fd, sink, sizeof sink, 0)) > 0)
		;
	ck_assert_msg(n < 0 && errno == ECONNRESET, "expected RST, got %zd, %s", n,
		      n ? strerror(errno) : "FIN");
}

static void end(int fd)
{
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	np_conn_unref(ut.conn);
	if (ut.file >= 0)
		close(ut.file);
	serve_end();
}

/* ------------------------------------------------------------------ sendfile */

static int send_the_file(struct np_conn *c)
{
	int r = np_conn_write(c, "head", 4);

	return r < 0 ? r : np_conn_sendfile(c, ut.file, 100, ut.file_size - 100);
}

START_TEST(a_file_comes_behind_what_was_written_before_it)
{
	int fd;

	given(send_the_file, NULL);
	given_file(BIG);
	fd = asked(0);
	expect_bytes(fd, "head", 4);
	expect_bytes(fd, big + 100, BIG - 100);
	AWAIT(ut.result == 0);
	ck_assert_int_eq((int)lseek(ut.file, 0, SEEK_CUR), 5); /* its own offset has not moved */
	end(fd);
}
END_TEST

static unsigned data_segments_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof info;

	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_data_segs_in;
}

START_TEST(a_head_and_a_file_that_fit_in_one_segment_go_in_one)
{
	int fd;

	given(send_the_file, NULL);
	given_file(2000);
	fd = asked(0);
	expect_bytes(fd, "head", 4);
	expect_bytes(fd, big + 100, 1900);
	ck_assert_uint_eq(data_segments_of(fd), 1);
	end(fd);
}
END_TEST

/* None is followed by anything. */
static int send_heads_of_nothing(struct np_conn *c)
{
	int pipes[2], unsent = 0, r = np_conn_write(c, "head", 4);

	ck_assert_int_eq(pipe(pipes), 0);
	if (r == 0)
		r = np_conn_sendfile(c, ut.file, 0, 0);
	ck_assert_int_eq(ioctl(np_conn_fd(c), SIOCOUTQNSD, &unsent), 0);
	ck_assert_int_eq(unsent, 0);
	if (r == 0)
		r = np_conn_write(c, "more", 4);
	ck_assert_int_eq(np_conn_sendfile(c, pipes[0], 0, 5), -ESPIPE);
	ck_assert_int_eq(ioctl(np_conn_fd(c), SIOCOUTQNSD, &unsent), 0);
	ck_assert_int_eq(unsent, 0);
	close(pipes[0]);
	close(pipes[1]);
	return r;
}

START_TEST(a_head_does_not_wait_for_a_file_that_does_not_come)
{
	int fd;

	given(send_heads_of_nothing, NULL);
	given_file(100);
	fd = asked(0);
	expect_bytes(fd, "headmore", 8);
	AWAIT(ut.result == 0);
	end(fd);
}
END_TEST

/* sendfile(2) to a unix socket: short counts promise no edge there. */
START_TEST(a_file_comes_through_a_unix_socket_as_well)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = on_request,
					      .on_close = on_close };
	char address[64];
	int fd;

	given(send_the_file, NULL);
	serve_end();
	given_file(BIG);
	ut.result = NOTHING;
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1));
	ck_assert_int_eq(np_server_new(pollers, &h, NULL, NULL, &serve_server), 0);
	snprintf(address, sizeof address, "@np-output-%d", getpid());
	ck_assert_int_eq(np_server_listen(serve_server, "unix", address), 0);
	ck_assert_int_eq(np_server_start(serve_server), 0);
	fd = asked(0);
	expect_bytes(fd, "head", 4);
	expect_bytes(fd, big + 100, BIG - 100);
	AWAIT(ut.result == 0);
	peer_close(&fd);
	AWAIT(ut.closes == 1);
	np_conn_unref(ut.conn);
	serve_over(&serve_server);
	end_pollers();
	close(ut.file);
}
END_TEST

static struct np_linkbuf *message(const char *s)
{
	struct np_linkbuf *b;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write(b, s, strlen(s)), 0);
	return b;
}

START_TEST(messages_and_fin_from_another_thread_wait_for_the_end_of_the_file)
{
	struct np_linkbuf *b;
	int fd;

	given(send_the_file, NULL);
	given_file(BIG);
	fd = asked(0);
	b = message("behind");
	ck_assert_int_eq(np_conn_send(ut.conn, &b), 0);
	np_conn_shutdown_write(ut.conn);
	expect_bytes(fd, "head", 4);
	expect_bytes(fd, big + 100, BIG - 100);
	expect_bytes(fd, "behind", 6);
	peer_expect_eof(fd);
	end(fd);
}
END_TEST

#define PART     100000u
#define MESSAGES 40

/* Head and file, again and again, until it ends. */
static int send_files(struct np_conn *c)
{
	int r;

	do {
		r = np_conn_write(c, "H", 1);
		if (r == 0)
			r = np_conn_sendfile(c, ut.file, 0, PART);
	} while (r == 0);
	return r;
}

/* How many messages were taken. The last act: shutdown, close or abort. */
static void *send_beside_the_files(void *act)
{
	intptr_t sent = 0;

	for (int i = 0; i < MESSAGES; i++) {
		struct np_linkbuf *b = message("M1234567");
		int r;

		while ((r = np_conn_send(ut.conn, &b)) == -EAGAIN)
			test_pause();
		sent += r == 0;
		np_linkbuf_free(&b);
		if (i % 5 == 0)
			test_pause();
	}
	((int (*)(struct np_conn *))act)(ut.conn);
	return (void *)sent;
}

/* Reads until the end: how many messages came, each between two files. *ret_whole: so was all. */
static int parse_files_and_messages(int fd, bool *ret_whole)
{
	static char got[PART];
	int messages = 0;
	char what;

	while (recv(fd, &what, 1, 0) == 1) {
		size_t n = what == 'H' ? PART : 7;

		ck_assert_msg(what == 'H' || what == 'M', "%d between two messages", what);
		if (recv(fd, got, n, MSG_WAITALL) != (ssize_t)n) {
			*ret_whole = false;
			return messages;
		}
		ck_assert_mem_eq(got, what == 'H' ? (void *)big : "1234567", n);
		messages += what == 'M';
	}
	*ret_whole = true;
	return messages;
}

/* In the middle of a file only an abort, or a close, may end it: with RST. */
START_TEST(files_and_messages_of_another_thread_do_not_mix_whatever_ends_them)
{
	static int (*const acts[])(struct np_conn *) = {
		np_conn_shutdown_write,
		np_conn_close,
		np_conn_abort,
	};
	bool whole = false;
	int fd, messages;
	pthread_t t;
	void *sent;

	given(send_files, NULL);
	given_file(PART);
	fd = asked(0);
	pthread_create(&t, NULL, send_beside_the_files, (void *)acts[_i]);
	messages = parse_files_and_messages(fd, &whole);
	pthread_join(t, &sent);
	if (_i == 0) {
		ck_assert(whole);
		ck_assert_int_eq(messages, (int)(intptr_t)sent);
		ck_assert_int_eq(messages, MESSAGES);
	}
	AWAIT(ut.result != NOTHING);
	ck_assert_int_eq(ut.result, _i == 0 ? -EPIPE : -NP_ECLOSED);
	end(fd);
}
END_TEST

static int announce_too_much(struct np_conn *c)
{
	return np_conn_sendfile(c, ut.file, 0, ut.file_size + 1);
}

static int announce_too_much_and_close(struct np_conn *c)
{
	int r = announce_too_much(c);

	np_conn_close(c);
	return r;
}

START_TEST(a_file_shorter_than_was_said_ends_in_a_reset)
{
	int fd;

	given(announce_too_much_and_close, NULL);
	given_file(1000);
	fd = asked(0);
	expect_reset(fd);
	AWAIT(ut.result != NOTHING);
	ck_assert_int_eq(ut.result, -ENODATA);
	end(fd);
}
END_TEST

START_TEST(its_error_sticks)
{
	int fd;

	given(announce_too_much, NULL);
	given_file(1000);
	fd = asked(0);
	AWAIT(ut.sticky != 0);
	ck_assert_int_eq(ut.sticky, -ENODATA);
	end(fd);
}
END_TEST

START_TEST(close_in_the_middle_of_a_file_resets)
{
	int fd;

	given(send_the_file, NULL);
	given_file(BIG);
	fd = asked(0);
	np_conn_close(ut.conn);
	AWAIT(ut.result != NOTHING);
	ck_assert_int_eq(ut.result, -NP_ECLOSED);
	expect_reset(fd);
	end(fd);
}
END_TEST

static int send_the_file_until_the_deadline(struct np_conn *c)
{
	uint64_t outer;
	int r;

	np_deadline(50, &outer);
	r = send_the_file(c);
	np_deadline_restore(outer);
	return r;
}

/* What the handler wrote next would be taken for the rest of the file. */
START_TEST(the_fibers_deadline_in_the_middle_of_a_file_sticks_and_resets)
{
	int fd;

	given(send_the_file_until_the_deadline, NULL);
	given_file(BIG);
	fd = asked(0);
	AWAIT(ut.sticky != 0);
	ck_assert_int_eq(ut.result, -ETIMEDOUT);
	ck_assert_int_eq(ut.sticky, -ETIMEDOUT);
	np_conn_close(ut.conn);
	expect_reset(fd);
	end(fd);
}
END_TEST

static int send_only_the_file(struct np_conn *c)
{
	return np_conn_sendfile(c, ut.file, 0, ut.file_size);
}

/* As any reply does: a peer that reads slowly is not late with its request. */
START_TEST(a_file_that_is_being_sent_ends_the_time_of_its_request)
{
	int fd;

	given(send_only_the_file, NP_OPTS(np_server_opts, .request_timeout_ms = 100));
	given_file(BIG);
	fd = asked(0);
	poll(NULL, 0, 300);
	ck_assert_int_eq(ut.result, NOTHING);
	expect_bytes(fd, big, BIG);
	AWAIT(ut.result == 0);
	end(fd);
}
END_TEST

static int commit_behind_a_file(struct np_conn *c)
{
	void *p;
	int r = np_conn_reserve(c, 4, &p);

	if (r == 0) {
		memcpy(p, "head", 4);
		r = np_conn_sendfile(c, ut.file, 0, ut.file_size);
	}
	if (r == 0)
		r = np_conn_write(c, "tail", 4);
	return r < 0 ? r : np_conn_commit(c, 1);
}

START_TEST(what_was_reserved_before_a_file_cannot_be_cut_behind_it)
{
	int fd;

	given(commit_behind_a_file, NULL);
	given_file(1000);
	fd = asked(0);
	AWAIT(ut.result != NOTHING);
	ck_assert_int_eq(ut.result, -EINVAL);
	expect_bytes(fd, "head", 4);
	expect_bytes(fd, big, 1000);
	end(fd);
}
END_TEST

/* sendfile(2) has no MSG_NOSIGNAL: the poller's thread has SIGPIPE blocked. */
START_TEST(a_peer_that_resets_in_the_middle_of_a_file_fails_it_and_raises_no_signal)
{
	int fd;

	given(send_the_file, NULL);
	given_file(BIG);
	fd = asked(0);
	peer_reset(&fd);
	AWAIT(ut.result != NOTHING);
	ck_assert_msg(ut.result == -ECONNRESET || ut.result == -EPIPE, "%d", ut.result);
	end(fd);
}
END_TEST

START_TEST(a_write_timeout_in_the_middle_of_a_file_sticks_and_resets)
{
	int fd;

	given(send_the_file, NP_OPTS(np_server_opts, .write_timeout_ms = 30, .min_rate = 1 << 30));
	given_file(BIG);
	fd = asked(0);
	AWAIT(ut.sticky != 0);
	ck_assert_int_eq(ut.result, -NP_EWRITETIMEOUT);
	ck_assert_int_eq(ut.sticky, -NP_EWRITETIMEOUT);
	np_conn_close(ut.conn);
	expect_reset(fd);
	end(fd);
}
END_TEST

static int send_what_is_no_file(struct np_conn *c)
{
	int p[2], r;

	if (np_conn_write(c, "head", 4) < 0 || pipe(p) < 0)
		return NOTHING;
	r = np_conn_sendfile(c, p[0], 0, 100);
	close(p[0]);
	close(p[1]);
	if (np_conn_write(c, " and body", 9) < 0 || np_conn_flush(c) < 0)
		return NOTHING;
	return r;
}

START_TEST(what_cannot_be_sent_as_a_file_leaves_the_connection_as_it_was)
{
	int fd;

	given(send_what_is_no_file, NULL);
	ut.file = -1;
	fd = asked(0);
	expect_bytes(fd, "head and body", 13);
	AWAIT(ut.result != NOTHING);
	ck_assert_msg(ut.result == -ESPIPE || ut.result == -EINVAL, "%d", ut.result);
	end(fd);
}
END_TEST

static int send_nothing_of_a_file(struct np_conn *c)
{
	int r = np_conn_write(c, "head", 4);

	if (r == 0 && np_conn_sendfile(c, ut.file, -1, 1) != -EINVAL)
		r = NOTHING;
	return r < 0 ? r : np_conn_sendfile(c, ut.file, 0, 0);
}

START_TEST(no_bytes_of_a_file_are_a_flush)
{
	int fd;

	given(send_nothing_of_a_file, NULL);
	given_file(10);
	fd = asked(0);
	expect_bytes(fd, "head", 4);
	AWAIT(ut.result == 0);
	end(fd);
}
END_TEST

/* ------------------------------------------------------------------ references */

static int write_reference(struct np_conn *c)
{
	int r = np_conn_write_ref(c, big, BIG, done, NULL);

	return r < 0 ? r : np_conn_flush(c);
}

/* Eight reserved bytes are filled, but the last four of them belong behind the reference. */
static int write_between(struct np_conn *c)
{
	void *p;
	int r = np_conn_reserve(c, 8, &p);

	if (r < 0)
		return r;
	memcpy(p, "headtail", 8);
	r = np_conn_write_direct(c, big, BIG, 4, done, NULL);
	return r < 0 ? r : np_conn_flush(c);
}

static int (*const by_reference[])(struct np_conn *) = { write_reference, write_between };

START_TEST(what_is_written_by_reference_arrives_and_done_runs_once)
{
	int fd;

	given(by_reference[_i], NULL);
	ut.file = -1;
	fd = asked(0);
	if (_i)
		expect_bytes(fd, "head", 4);
	expect_bytes(fd, big, BIG);
	if (_i)
		expect_bytes(fd, "tail", 4);
	AWAIT(ut.done == 1);
	end(fd);
	ck_assert_int_eq(ut.done, 1);
}
END_TEST

/* How the connection ends while most of the reference is unsent. */
static void reset_by_peer(int *fd)
{
	peer_reset(fd);
}

static void closed_and_not_taken(int *fd)
{
	np_conn_close(ut.conn); /* linger_ms ends it: the peer takes nothing */
}

static void aborted(int *fd)
{
	np_conn_abort(ut.conn);
}

static void timed_out(int *fd)
{
	AWAIT(ut.result == -NP_EWRITETIMEOUT);
}

static void stopped(int *fd)
{
	unsigned forced;

	ck_assert_int_eq(np_server_stop(serve_server, 50, &forced), 0);
	ck_assert_uint_eq(forced, 1);
}

static void (*const ends[])(int *) = { reset_by_peer, closed_and_not_taken, aborted, timed_out,
				       stopped };

#define ENDS (int)(sizeof ends / sizeof ends[0])

START_TEST(done_runs_once_however_the_connection_ends_with_bytes_unsent)
{
	void (*how)(int *) = ends[_i % ENDS];
	int fd;

	given(by_reference[_i / ENDS], NP_OPTS(np_server_opts, .linger_ms = 50, .min_rate = 1 << 30,
					       .write_timeout_ms = how == timed_out ? 30 : 0));
	ut.file = -1;
	fd = asked(0);
	how(&fd);
	AWAIT(ut.done == 1);
	AWAIT(ut.result != NOTHING);
	ck_assert_int_lt(ut.result, 0);
	end(fd);
	ck_assert_int_eq(ut.done, 1);
}
END_TEST

static int write_and_leave_unflushed(struct np_conn *c)
{
	void *p;

	if (np_conn_write_ref(c, big, 100, done, NULL) < 0 || np_conn_reserve(c, 8, &p) < 0 ||
	    np_conn_write_direct(c, big, 100, 8, done, NULL) < 0)
		return NOTHING;
	/* More than is unflushed: refused, and this done is never called. */
	if (np_conn_write_direct(c, big, 100, 1000, done, NULL) != -EINVAL)
		return NOTHING;
	np_conn_close(c);
	/* After close likewise. */
	if (np_conn_write_ref(c, big, 100, done, NULL) != -NP_ECLOSED ||
	    np_conn_write_direct(c, big, 100, 0, done, NULL) != -NP_ECLOSED)
		return NOTHING;
	return 0;
}

START_TEST(what_was_not_flushed_is_given_back_and_what_was_refused_never_was_taken)
{
	int fd;

	given(write_and_leave_unflushed, NULL);
	ut.file = -1;
	fd = asked(0);
	peer_expect_eof(fd);
	AWAIT(ut.result == 0);
	end(fd);
	ck_assert_int_eq(ut.done, 2);
}
END_TEST

/* Its peer resets it while the next reply is being built, and no verb of it waits. */
static int build_while_the_output_fails(struct np_conn *c)
{
	void *p;

	if (np_conn_write(c, big, BIG / 4) < 0 || np_conn_flush(c) < 0 ||
	    np_conn_reserve(c, 100, &p) < 0 || np_conn_write_ref(c, big, 100, done, NULL) < 0)
		return -1;
	ut.built = 1;
	while (np_conn_is_active(c) && np_sleep(1) == 0)
		;
	memset(p, 'x', 100);
	return ut.done;
}

START_TEST(what_is_being_built_when_the_output_fails_stays_until_the_handler_has_returned)
{
	int fd;

	given(build_while_the_output_fails, NULL);
	ut.file = -1;
	fd = asked(0);
	AWAIT(ut.built);
	peer_reset(&fd);
	AWAIT(ut.result != NOTHING);
	ck_assert_int_eq(ut.result, 0);
	end(fd);
	ck_assert_int_eq(ut.done, 1);
}
END_TEST

/* The bytes of a reference that np_conn_send() took and that never go out. */
START_TEST(a_message_that_cannot_be_sent_any_more_is_given_back)
{
	struct np_linkbuf *b;
	int fd;

	given(write_reference, NULL);
	ut.file = -1;
	fd = asked(0);
	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write_ref(b, big, BIG, done, NULL), 0);
	ck_assert_int_eq(np_conn_send(ut.conn, &b), 0);
	np_conn_abort(ut.conn);
	AWAIT(ut.done == 2);
	end(fd);
	ck_assert_int_eq(ut.done, 2);
}
END_TEST

/* ------------------------------------------------------------------ close */

static int reply_and_close(struct np_conn *c)
{
	int r = write_reference(c);

	np_conn_close(c);
	return r;
}

/* A peer that half-closes is not one that has gone: the rest of the reply is still due. */
START_TEST(a_reply_in_flight_survives_close_to_a_peer_that_has_half_closed)
{
	int fd;

	given(reply_and_close, NP_OPTS(np_server_opts, .limits.out_high = 2 * BIG));
	ut.file = -1;
	fd = asked(0);
	AWAIT(ut.result == 0);
	shutdown(fd, SHUT_WR);
	expect_bytes(fd, big, BIG);
	peer_expect_eof(fd);
	end(fd);
}
END_TEST

/*
 * linger_ms bounds a standstill, not a slow peer: it takes its bytes over a longer time than that.
 */
START_TEST(a_slow_peer_gets_the_whole_reply_though_it_takes_longer_than_linger)
{
	static const struct np_server_opts o = { .sz = sizeof o,
						 .linger_ms = 400,
						 .limits.out_high = 2 * BIG };
	uint64_t start = now_ms();
	int fd;

	given(reply_and_close, &o);
	ut.file = -1;
	fd = asked(0);
	for (size_t got = 0; got < BIG; got += BIG / 64) {
		expect_bytes(fd, big + got, BIG / 64);
		for (uint64_t until = now_ms() + 10; now_ms() < until;)
			test_pause();
	}
	ck_assert_uint_ge(now_ms() - start, 10 * 60);
	peer_expect_eof(fd);
	end(fd);
}
END_TEST

/* ------------------------------------------------------------------ flush */

static int gate[2];

/* To one byte of a batch. What it waits for is not of its connection. */
static int reply_twice_and_wait(struct np_conn *c, void *arg)
{
	char token;

	for (int i = 0; i < 2; i++) {
		np_conn_write(c, &"ab"[i], 1);
		np_conn_flush(c);
		if (np_wait_fd(gate[0], POLLIN, -1) < 0 || read(gate[0], &token, 1) != 1)
			return -ECANCELED;
	}
	return np_conn_skip(c, 1);
}

START_TEST(what_was_flushed_in_a_batch_leaves_when_its_handler_parks_elsewhere)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = reply_twice_and_wait };
	int fd;

	ck_assert_int_eq(pipe2(gate, O_CLOEXEC | O_NONBLOCK), 0);
	serve(1, &h, NULL, NULL);
	fd = serve_connect(0);
	peer_send(fd, "123", 3);
	for (int i = 0; i < 6; i++) {
		expect_bytes(fd, &"ab"[i % 2], 1);
		ck_assert_int_eq((int)write(gate[1], "g", 1), 1);
	}
	peer_close(&fd);
	serve_end();
	close(gate[0]);
	close(gate[1]);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "sendfile");

	tcase_add_test(t, a_file_comes_behind_what_was_written_before_it);
	tcase_add_test(t, a_head_and_a_file_that_fit_in_one_segment_go_in_one);
	tcase_add_test(t, a_head_does_not_wait_for_a_file_that_does_not_come);
	tcase_add_test(t, a_file_comes_through_a_unix_socket_as_well);
	tcase_add_test(t, messages_and_fin_from_another_thread_wait_for_the_end_of_the_file);
	tcase_add_loop_test(t, files_and_messages_of_another_thread_do_not_mix_whatever_ends_them,
			    0, 3);
	tcase_add_test(t, a_file_shorter_than_was_said_ends_in_a_reset);
	tcase_add_test(t, its_error_sticks);
	tcase_add_test(t, close_in_the_middle_of_a_file_resets);
	tcase_add_test(t, a_peer_that_resets_in_the_middle_of_a_file_fails_it_and_raises_no_signal);
	tcase_add_test(t, a_write_timeout_in_the_middle_of_a_file_sticks_and_resets);
	tcase_add_test(t, the_fibers_deadline_in_the_middle_of_a_file_sticks_and_resets);
	tcase_add_test(t, a_file_that_is_being_sent_ends_the_time_of_its_request);
	tcase_add_test(t, what_was_reserved_before_a_file_cannot_be_cut_behind_it);
	tcase_add_test(t, what_cannot_be_sent_as_a_file_leaves_the_connection_as_it_was);
	tcase_add_test(t, no_bytes_of_a_file_are_a_flush);
	t = add_case(s, "references");
	tcase_add_loop_test(t, what_is_written_by_reference_arrives_and_done_runs_once, 0, 2);
	tcase_add_loop_test(t, done_runs_once_however_the_connection_ends_with_bytes_unsent, 0,
			    2 * ENDS);
	tcase_add_test(t, what_was_not_flushed_is_given_back_and_what_was_refused_never_was_taken);
	tcase_add_test(
		t, what_is_being_built_when_the_output_fails_stays_until_the_handler_has_returned);
	tcase_add_test(t, a_message_that_cannot_be_sent_any_more_is_given_back);
	t = add_case(s, "flush");
	tcase_add_test(t, what_was_flushed_in_a_batch_leaves_when_its_handler_parks_elsewhere);
	t = add_case(s, "close");
	tcase_add_test(t, a_reply_in_flight_survives_close_to_a_peer_that_has_half_closed);
	tcase_add_test(t, a_slow_peer_gets_the_whole_reply_though_it_takes_longer_than_linger);
}
