/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_output: what a handler sends through TLS: all sizes, files, and peers that read nothing */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "support/tls_seen.h"

/* ------------------------------------------------------------------ sizes */

static char big[10 << 20];

static void done(void *arg)
{
	saw.dones++;
}

static int send_sizes(struct np_conn *c, void *arg)
{
	static const size_t sizes[] = { 0, 1, 16383, 16384, 16385, 0, sizeof big };
	int r = np_conn_skip(c, np_conn_len(c));

	saw.requests++;
	for (unsigned i = 0; r == 0 && i < 7; i++) {
		r = np_conn_write_ref(c, big, sizes[i], done, NULL);
		saw.taken += r == 0;
		if (r == 0)
			r = np_conn_flush(c);
	}
	saw.r[0] = r;
	return r;
}

START_TEST(all_sizes_arrive_or_are_reset)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = send_sizes, .on_close = on_close };
	static char got[10 << 20];
	struct tls_peer p;

	given_server(1, &h, NULL);
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i % 251);
	given_peer(&p);
	tls_peer_say(&p, "x", 1);
	if (_i == 0 || _i == 3) {
		size_t all = 1 + 16383 + 16384 + 16385;

		tls_peer_hear(&p, got, all);
		if (_i == 3) { /* it has no more to say, and goes on reading */
			SSL_shutdown(p.ssl);
			tls_peer_push(&p);
		}
		tls_peer_hear(&p, got, sizeof big);
		ck_assert(memcmp(got, big, sizeof big) == 0);
		tls_peer_part(&p);
	} else {
		await_fd(p.fd, POLLIN);
		if (_i == 1)
			peer_reset(&p.fd);
		else
			peer_close(&p.fd);
		p.fd = -1;
		tls_peer_free(&p);
	}
	AWAIT(saw.closes == 1);
	AWAIT(saw.dones == saw.taken);
	if (_i == 0 || _i == 3)
		ck_assert_int_eq(saw.error, -NP_EEOF);
	else
		ck_assert(saw.error == -ECONNRESET || saw.error == -EPIPE);
	end_server();
}
END_TEST

static int send_file(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c)), fd, pipes[2];
	int wr = open(in_certs("out"), O_WRONLY | O_CREAT, 0600);

	ck_assert_int_eq(pipe(pipes), 0);
	fd = open(in_certs("file"), O_RDONLY);
	saw.r[1] = np_conn_sendfile(c, -1, 0, 5);
	saw.r[2] = np_conn_sendfile(c, pipes[0], 0, 5);
	saw.r[3] = np_conn_sendfile(c, wr, 0, 5);
	saw.r[4] = np_conn_sendfile(c, fd, -1, 5);
	saw.r[5] = np_conn_sendfile(c, fd, 0, 0);
	if (r == 0)
		r = np_conn_write(c, "head", 4);
	if (r == 0)
		r = np_conn_sendfile(c, fd, 1, 1);
	if (r == 0)
		r = np_conn_sendfile(c, fd, 0, 3000001);
	saw.r[6] = r;
	if (r == 0 && arg)
		r = np_conn_sendfile(c, fd, 2999999, 3);
	saw.r[7] = r;
	close(wr);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
	return r;
}

START_TEST(a_file_goes_whole_or_is_cut)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = send_file, .on_close = on_close };
	static char got[3000001], want[3000001];
	struct tls_peer p;
	int fd;

	must_sh("head -c 3000001 /dev/urandom > %s", in_certs("file"));
	tls = given_server_tls(NULL);
	serve(1, &h, (void *)(intptr_t)_i, NP_OPTS(np_server_opts, .tls = tls));
	given_peer(&p);
	tls_peer_say(&p, "x", 1);
	if (_i) { /* one byte more was promised than there is */
		while (tls_peer_read(&p, got, sizeof got) > 0)
			;
		ck_assert(p.over); /* and no close_notify */
		tls_peer_free(&p);
	} else {
		fd = open(in_certs("file"), O_RDONLY);
		ck_assert_int_eq(read(fd, want, sizeof want), sizeof want);
		close(fd);
		tls_peer_expect(&p, "head");
		tls_peer_hear(&p, got, 1);
		tls_peer_hear(&p, got, sizeof got);
		ck_assert(memcmp(got, want, sizeof want) == 0);
		tls_peer_part(&p);
	}
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.r[1], -EBADF);
	ck_assert_int_eq(saw.r[2], -ESPIPE);
	ck_assert_int_eq(saw.r[3], -EBADF);
	ck_assert_int_eq(saw.r[4], -EINVAL);
	ck_assert_int_eq(saw.r[5], 0);
	ck_assert_int_eq(saw.r[7], _i ? -ENODATA : 0);
	ck_assert_int_eq(saw.error, _i ? -ENODATA : -NP_EEOF);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ the smallest stack */

#define PIECES 5
#define PIECE  4000

static int send_pieces(struct np_conn *c)
{
	int r = 0;

	for (int i = 0; r == 0 && i < PIECES; i++) {
		r = np_conn_write(c, "ab", 2);
		if (r == 0)
			r = np_conn_write_ref(c, big, PIECE, NULL, NULL);
	}
	return r == 0 ? np_conn_sync(c) : r;
}

static int send_from_a_small_stack(struct np_conn *c, void *sends_file)
{
	int r = np_conn_skip(c, np_conn_len(c)), fd;

	if (r < 0 || !sends_file)
		return r < 0 ? r : send_pieces(c);
	fd = open(in_certs("file"), O_RDONLY);
	r = np_conn_sendfile(c, fd, 0, PIECES * (PIECE + 2));
	close(fd);
	return r;
}

START_TEST(pieces_and_files_go_from_the_smallest_stack)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = send_from_a_small_stack };
	char got[PIECES * (PIECE + 2)];
	struct tls_peer p;

	if (under_asan() || under_tsan())
		SKIP("the sanitizer's frames are larger");
	must_sh("head -c %zu /dev/zero > %s", sizeof got, in_certs("file"));
	tls = given_server_tls(NULL);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .stack_size = 16384));
	serve_at(&serve_server, &h, _i ? &h : NULL, NP_OPTS(np_server_opts, .tls = tls), "tcp",
		 "127.0.0.1:0");
	given_peer(&p);
	tls_peer_say(&p, "x", 1);
	tls_peer_hear(&p, got, sizeof got);
	tls_peer_part(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ ends */

/* @idle_ms holds from here on: however late the peer's handshake and its request came. */
static int send_big(struct np_conn *c, void *idle_ms)
{
	int r = np_conn_skip(c, np_conn_len(c));

	saw.requests++;
	if (r == 0)
		r = np_conn_set_idle_timeout(c, (int)(intptr_t)idle_ms);
	if (r == 0)
		r = np_conn_write_ref(c, big, sizeof big, done, NULL);
	if (r == 0)
		saw.r[0] = np_conn_flush(c);
	saw.r[1]++;
	return saw.r[0];
}

static const int unread_ends[] = { -NP_EWRITETIMEOUT, -ETIMEDOUT, -NP_EWRITETIMEOUT,
				   -NP_EWRITETIMEOUT, -NP_ECLOSED };

START_TEST(a_peer_that_reads_nothing_is_given_up)
{
	struct np_handlers h = {
		.sz = sizeof h, .on_prepare = keep, .on_request = send_big, .on_close = on_close
	};
	struct tls_peer p;

	tls = given_server_tls(NULL);
	serve(1, &h, (void *)(intptr_t)(_i == 1 ? 100 : 0),
	      NP_OPTS(np_server_opts, .tls = tls, .write_timeout_ms = _i == 0 ? 100 : 0,
		      .linger_ms = 50, .min_rate = 100000000,
		      .limits = { .out_high = _i ? SIZE_MAX : 0 }));
	given_peer(&p);
	tls_peer_say(&p, "x", 1);
	if (_i >= 1)
		AWAIT(saw.r[1]);
	if (_i == 2)
		np_conn_close(saw.conn);
	if (_i == 3)
		np_conn_shutdown_write(saw.conn);
	if (_i == 3)
		np_conn_close(saw.conn);
	if (_i == 4)
		np_conn_abort(saw.conn);
	AWAIT(saw.closes == 1);
	AWAIT(saw.dones == 1);
	ck_assert_int_eq(saw.error, unread_ends[_i]);
	np_conn_unref(saw.conn);
	tls_peer_free(&p);
	end_server();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "tls_output");

	tcase_add_unchecked_fixture(c, certs_setup, certs_teardown);
	tcase_add_loop_test(c, all_sizes_arrive_or_are_reset, 0, 4);
	tcase_add_loop_test(c, a_file_goes_whole_or_is_cut, 0, 2);
	tcase_add_loop_test(c, pieces_and_files_go_from_the_smallest_stack, 0, 2);
	tcase_add_loop_test(c, a_peer_that_reads_nothing_is_given_up, 0, 5);
}
