/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_edges: TLS early, late, full, cut, flooded, and beside plain connections */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/tls_peer.h"

static struct {
	_Atomic(int) connects, requests, closes, error, r[16];
	_Atomic(int) dones, taken;
	_Atomic(size_t) bytes;
	_Atomic(struct np_conn *) conn;
} saw;

static struct np_tls *tls, *client_tls;
static char address[64];

static void on_close(struct np_conn *c, void *arg)
{
	saw.error = np_conn_error(c);
	saw.closes++;
}

static int echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *all = NULL;
	int r = np_conn_slice(c, np_conn_len(c), &all);

	saw.requests++;
	if (r == 0)
		r = np_conn_append(c, &all);
	if (all)
		np_linkbuf_free(&all);
	return r < 0 ? r : np_conn_flush(c);
}

static void given_address(void)
{
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	snprintf(address, sizeof address, "127.0.0.1:%d",
		 ntohs(((struct sockaddr_in *)&ss)->sin_port));
}

static void given_server(int pollers, const struct np_handlers *h, struct np_tls_opts *o)
{
	tls = given_server_tls(o);
	serve(pollers, h, NULL, NP_OPTS(np_server_opts, .tls = tls));
	given_address();
}

/* A server that begins in the clear. */
static void given_plain(const struct np_handlers *h, struct np_tls_opts *o)
{
	tls = given_server_tls(o);
	serve(1, h, NULL, NULL);
	given_address();
}

static void given_client(void)
{
	struct np_tls_opts o = { .sz = sizeof o, .ca_file = in_certs("ca.pem") };

	o.no_tickets = true; /* OpenSSL counts who has a session where TSan cannot see it */

	ck_assert_int_eq(np_tls_client_new(&o, &client_tls), 0);
}

static void end_server(void)
{
	serve_end();
	np_tls_free(&tls);
	np_tls_free(&client_tls);
}

/* ------------------------------------------------------------------ before it is open */

static int keep(struct np_conn *c, void *arg)
{
	saw.conn = np_conn_ref(c);
	return 0;
}

static int count_connect(struct np_conn *c, void *arg)
{
	saw.connects++;
	return 0;
}

static const int early_results[] = { -NP_ENOTFIBER, -NP_ENOTFIBER,    0,         0,
				     -NP_ENOTFIBER, -NP_EUNSUPPORTED, -EALREADY, 0 };

static void try_verbs(struct np_conn *c, void *arg)
{
	const void *p;
	int fd = -1, i = 0;

	saw.r[i++] = np_conn_wait(c, 1);
	saw.r[i++] = np_conn_next(c, 1, &p);
	saw.r[i++] = np_conn_write(c, "early", 5);
	saw.r[i++] = np_conn_flush(c);
	saw.r[i++] = np_conn_sync(c);
	saw.r[i++] = np_conn_detach(c, &fd, NULL);
	saw.r[i++] = np_conn_start_tls(c, tls, NULL);
	saw.r[i++] = np_conn_shutdown_write(c);
	saw.bytes = (size_t)i;
}

START_TEST(verbs_in_the_middle_of_a_handshake_change_nothing)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_prepare = keep,
				 .on_connect = count_connect,
				 .on_request = echo,
				 .on_close = on_close };
	struct tls_peer p;
	char rest[8];

	given_server(1, &h, NULL);
	tls_peer_init(&p, serve_connect(0));
	SSL_do_handshake(p.ssl);
	tls_peer_push(&p);
	tls_peer_pull(&p); /* its flight is here, ours is not sent */
	AWAIT(saw.conn);
	np_conn_post(saw.conn, try_verbs, NULL);
	AWAIT(saw.bytes);
	for (size_t i = 0; i < saw.bytes; i++)
		ck_assert_msg(saw.r[i] == early_results[i], "the %zu-th: %s", i,
			      np_strerror(saw.r[i]));
	tls_peer_shake(&p);
	tls_peer_expect(&p, "early"); /* what was written then waits for the end of it */
	ck_assert_int_eq(tls_peer_read(&p, rest, sizeof rest), 0);
	tls_peer_part(&p);
	AWAIT(saw.closes == 1);
	np_conn_unref(saw.conn);
	end_server();
}
END_TEST

/* What ends a connection from another thread while the handshake stands. */
static int (*const enders[])(struct np_conn *) = { np_conn_close, np_conn_abort,
						   np_conn_shutdown_write };

START_TEST(a_handshake_is_ended_from_outside)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_prepare = keep,
				 .on_connect = count_connect,
				 .on_request = echo,
				 .on_close = on_close };
	struct tls_peer p;

	given_server(1, &h, NULL);
	tls_peer_init(&p, serve_connect(0));
	if (_i >= 2) {
		SSL_do_handshake(p.ssl);
		tls_peer_push(&p);
		tls_peer_pull(&p);
	}
	AWAIT(saw.conn);
	enders[_i % 2](saw.conn);
	peer_drain(p.fd);
	tls_peer_free(&p);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ECLOSED);
	ck_assert_int_eq(saw.connects, 0);
	np_conn_unref(saw.conn);
	end_server();
}
END_TEST

START_TEST(a_stop_waits_for_no_handshake_that_stands)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_connect = count_connect,
				 .on_request = echo,
				 .on_close = on_close };
	struct tls_peer p[3];
	unsigned forced = 0;

	tls = given_server_tls(NULL);
	serve(1, &h, NULL,
	      NP_OPTS(np_server_opts, .tls = tls, .fresh_ms = 50, .drain_ms = 50,
		      .linger_ms = NP_NOW));
	for (int i = 0; i < 3; i++) {
		tls_peer_init(&p[i], serve_connect(0));
		SSL_do_handshake(p[i].ssl);
		if (i == 1)
			peer_send(p[i].fd, "\x16\x03\x01", 3);
		if (i == 2) {
			tls_peer_push(&p[i]);
			tls_peer_pull(&p[i]);
		}
	}
	AWAIT(serve_conns() == 3);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, &forced), 0);
	ck_assert_uint_eq(forced, 0);
	for (int i = 0; i < 3; i++)
		tls_peer_free(&p[i]);
	ck_assert_int_eq(saw.closes, 3);
	end_server();
}
END_TEST

static void *drip(void *arg)
{
	struct tls_peer *p = arg;
	char *bytes;
	long n;

	SSL_do_handshake(p->ssl);
	n = BIO_get_mem_data(p->out, &bytes);
	for (long i = 0; saw.closes == 0; i += i + 2 < n) {
		send(p->fd, bytes + i, i + 2 < n, MSG_NOSIGNAL);
		test_pause();
	}
	return NULL;
}

START_TEST(a_drip_does_not_stretch_a_handshake)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_connect = count_connect,
				 .on_request = echo,
				 .on_close = on_close };
	struct np_tls_opts o = { .sz = sizeof o, .handshake_ms = 100 };
	struct tls_peer p;
	pthread_t t;

	given_server(1, &h, &o);
	tls_peer_init(&p, serve_connect(0));
	pthread_create(&t, NULL, drip, &p);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -ETIMEDOUT);
	pthread_join(t, NULL);
	tls_peer_free(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ start_tls, at each place */

static void late_start(struct np_conn *c, void *arg)
{
	saw.r[1] = np_conn_start_tls(c, tls, NULL);
}

static void start_at_close(struct np_conn *c, void *arg)
{
	saw.r[2] = np_conn_start_tls(c, tls, NULL);
	on_close(c, arg);
}

static int start_twice(struct np_conn *c, void *arg)
{
	int r;

	if (saw.requests++)
		return echo(c, arg);
	r = np_conn_skip(c, np_conn_len(c));
	np_conn_post(c, late_start, NULL);
	saw.r[3] = np_conn_start_tls(c, NULL, NULL);
	if (r == 0)
		r = np_conn_write(c, "go", 2);
	if (r == 0)
		r = np_conn_start_tls(c, tls, NULL);
	saw.r[4] = r;
	saw.r[0] = np_conn_start_tls(c, tls, NULL);
	return r;
}

START_TEST(tls_is_started_once_and_by_a_fiber)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_request = start_twice,
				 .on_close = start_at_close };
	struct tls_peer p;
	char go[2];

	given_plain(&h, NULL);
	tls_peer_init(&p, serve_connect(0));
	peer_send(p.fd, "STARTTLS", 8);
	peer_recv(p.fd, go, 2);
	tls_peer_shake(&p);
	tls_peer_say(&p, "fine", 4);
	tls_peer_expect(&p, "fine");
	tls_peer_part(&p);
	AWAIT(saw.closes == 1);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(saw.r[i], -EALREADY);
	ck_assert_int_eq(saw.r[3], -EINVAL);
	ck_assert_int_eq(saw.r[4], 0);
	end_server();
}
END_TEST

static const int ends_with[] = { -ETIMEDOUT, -EPIPE,     -NP_ECLOSED, -NP_ECLOSED,
				 -NP_EEOF,   -ETIMEDOUT, -ETIMEDOUT };

/* paused, shut, closing, aborted, left by its peer, short of time, with output unflushed */
static int start_in_state(struct np_conn *c, void *arg)
{
	int r, state = (int)(intptr_t)arg;

	if (saw.requests++)
		return echo(c, arg);
	r = np_conn_skip(c, np_conn_len(c));
	if (state == 0)
		np_conn_pause_read(c);
	if (state == 1)
		np_conn_shutdown_write(c);
	if (state == 2)
		np_conn_close(c);
	if (state == 3)
		np_conn_abort(c);
	if (state == 4)
		(void)np_conn_wait(c, 1); /* FIN */
	if (state == 5)
		np_deadline(50, NULL);
	if (state == 6)
		(void)np_conn_write(c, "go", 2);
	r = np_conn_start_tls(c, tls, NULL);
	saw.r[0] = r;
	saw.r[1]++;
	return r;
}

START_TEST(a_start_in_any_state_comes_to_an_end)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_request = start_in_state,
				 .on_close = on_close };
	struct np_tls_opts o = { .sz = sizeof o, .handshake_ms = 100 };
	int fd;

	tls = given_server_tls(&o);
	serve(1, &h, (void *)(intptr_t)_i, NP_OPTS(np_server_opts, .linger_ms = NP_NOW));
	fd = serve_connect(0);
	peer_send(fd, "STARTTLS", 8);
	if (_i == 4)
		shutdown(fd, SHUT_WR);
	AWAIT(saw.r[1]);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.r[0], ends_with[_i]);
	ck_assert_int_eq(saw.error, ends_with[_i]);
	peer_close(&fd);
	end_server();
}
END_TEST

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
	if (_i == 0) {
		size_t all = 1 + 16383 + 16384 + 16385;

		tls_peer_hear(&p, got, all);
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
	if (_i == 0)
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

/* ------------------------------------------------------------------ pause, want, move */

static void resume(struct np_conn *c, void *arg)
{
	np_conn_resume_read(c);
}

static int pauses(struct np_conn *c, void *arg)
{
	const void *p;
	int r = np_conn_next(c, 1, &p);

	saw.requests++;
	saw.bytes++;
	if (r == 0)
		r = np_conn_write(c, p, 1);
	if (r == 0)
		r = np_conn_flush(c);
	np_conn_pause_read(c);
	np_conn_post(c, resume, NULL);
	if (saw.bytes % 7 == 0)
		r = r < 0 ? r : np_conn_move(c, !np_conn_poller(c));
	return r;
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	saw.dones += arrived;
}

START_TEST(what_tls_has_taken_is_served_after_a_pause)
{
	struct np_handlers h = {
		.sz = sizeof h, .on_request = pauses, .on_move = on_move, .on_close = on_close
	};
	static char text[4000], got[4000];
	struct tls_peer p;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)(i * 31);
	tls = given_server_tls(NULL);
	serve(2, &h, NULL,
	      NP_OPTS(np_server_opts, .tls = tls,
		      .limits = { .in_high = 16, .in_max = _i ? 64 : 0, .out_high = 16 }));
	given_peer(&p);
	tls_peer_say(&p, text, sizeof text);
	tls_peer_hear(&p, got, sizeof got);
	ck_assert(memcmp(got, text, sizeof got) == 0);
	tls_peer_part(&p);
	AWAIT(saw.closes == 1);
	end_server();
}
END_TEST

static int wants(struct np_conn *c, void *arg)
{
	const void *p;
	int r;

	saw.requests++;
	if (np_conn_len(c) < 40000)
		return np_conn_want(c, 40000);
	r = np_conn_next(c, 40000, &p);
	if (r == 0)
		r = np_conn_write(c, p, 40000);
	return r < 0 ? r : np_conn_flush(c);
}

START_TEST(want_comes_back_once_all_is_there)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = wants, .on_close = on_close };
	static char text[80000], got[80000];
	struct tls_peer p;

	given_server(1, &h, NULL);
	given_peer(&p);
	tls_peer_say(&p, text, sizeof text);
	tls_peer_hear(&p, got, sizeof got);
	tls_peer_part(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ hostile peers */

START_TEST(data_behind_close_notify_is_never_served)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	unsigned char rec[100] = { 0x17, 0x03, 0x03, 0, 95 };
	struct tls_peer p;
	char rest[8];

	given_server(1, &h, NULL);
	given_peer(&p);
	tls_peer_say(&p, "a", 1);
	tls_peer_expect(&p, "a");
	SSL_shutdown(p.ssl);
	BIO_write(p.out, rec, 100);
	BIO_write(p.out, rec, 100);
	tls_peer_push(&p);
	(void)tls_peer_read(&p, rest, sizeof rest);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_EEOF);
	ck_assert_int_eq(saw.requests, 1);
	tls_peer_free(&p);
	end_server();
}
END_TEST

START_TEST(floods_in_the_clear_come_to_an_end)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	static const char *const what[] = { "\x15\x03\x01\x00\x02\x01\x5a", "\x16\x03\x01\x00\x00",
					    "\x14\x03\x03\x00\x01\x01", "\x17\x03\x03\x00\x00" };
	static const size_t len[] = { 7, 5, 6, 5 };
	struct tls_peer p;
	int sent = 0;

	given_server(1, &h, NULL);
	tls_peer_init(&p, serve_connect(0));
	if (_i >= 4) {
		SSL_do_handshake(p.ssl);
		tls_peer_push(&p);
		tls_peer_pull(&p);
	}
	for (; sent < 2000; sent++)
		if (send(p.fd, what[_i % 4], len[_i % 4], MSG_NOSIGNAL) < 0)
			break;
	shutdown(p.fd, SHUT_WR);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	tls_peer_free(&p);
	end_server();
}
END_TEST

START_TEST(a_renegotiation_is_refused)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	struct tls_peer p;
	char rest[8];
	ssize_t n = 1;

	given_server(1, &h, NULL);
	tls_peer_init(&p, serve_connect(0));
	SSL_set_max_proto_version(p.ssl, TLS1_2_VERSION);
	tls_peer_shake(&p);
	tls_peer_say(&p, "a", 1);
	tls_peer_expect(&p, "a");
	for (int i = 0; i < 100 && n > 0; i++) {
		SSL_renegotiate(p.ssl);
		SSL_do_handshake(p.ssl);
		tls_peer_push(&p);
		n = tls_peer_read(&p, rest, sizeof rest);
	}
	ck_assert_int_eq(n, -1);
	tls_peer_free(&p);
	AWAIT(saw.closes == 1);
	ck_assert_int_lt(saw.error, 0);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ detach, end to end */

static int detaches(struct np_conn *c, void *arg)
{
	int fd = -7;
	struct np_linkbuf *in = NULL;

	saw.r[0] = np_conn_detach(c, &fd, &in);
	saw.r[1] = fd;
	return echo(c, arg);
}

START_TEST(a_detach_leaves_it_as_it_is)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = detaches, .on_close = on_close };
	struct tls_peer p;

	given_server(1, &h, NULL);
	given_peer(&p);
	tls_peer_say(&p, "still", 5);
	tls_peer_expect(&p, "still");
	ck_assert_int_eq(saw.r[0], -NP_EUNSUPPORTED);
	ck_assert_int_eq(saw.r[1], -7);
	tls_peer_part(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ TLS to plain */

static int forward_other(struct np_conn *c, void *arg)
{
	struct np_conn *o = np_conn_data(c);
	int r = np_conn_forward(c, o);

	saw.requests++;
	return r;
}

static void other_left(struct np_conn *c, void *arg)
{
	struct np_conn *o = np_conn_data(c);

	if (!o)
		return;
	if (np_conn_error(c) == -NP_EEOF)
		np_conn_shutdown_write(o);
	else
		np_conn_abort(o);
	np_conn_unhold(o);
}

static void other_close(struct np_conn *c, void *arg)
{
	struct np_conn *o = np_conn_data(c);

	np_conn_set_data(c, NULL);
	if (o)
		np_conn_unref(o);
	on_close(c, arg);
}

static struct np_handlers forwards = { .sz = sizeof forwards,
				       .on_request = forward_other,
				       .on_disconnect = other_left,
				       .on_close = other_close };
static char upstream[64];

static int hold_it(struct np_conn *c, void *arg)
{
	np_conn_hold(c);
	return 0;
}

static int connect_upstream(struct np_conn *c, void *arg)
{
	struct np_handlers h = forwards;
	struct np_conn *o;
	int r;

	h.on_connect = hold_it;
	r = np_dial(NULL, NP_HERE, "tcp", upstream,
		    NP_OPTS(np_dial_opts, .handlers = &h, .tls = arg ? client_tls : NULL), &o);
	saw.r[0] = r;
	if (r < 0)
		return r;
	np_conn_set_data(o, np_conn_ref(c));
	np_conn_set_data(c, o);
	np_conn_hold(c);
	return 0;
}

static struct np_server *second;

START_TEST(forwarded_bytes_and_ends_go_through)
{
	struct np_handlers h = forwards, e = { .sz = sizeof e, .on_request = echo };
	static char text[1 << 20], got[1 << 20];
	bool tls_up = _i & 1, tls_down = _i & 2;
	struct sockaddr_storage ss;
	socklen_t len;
	struct tls_peer p;
	int fd;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)(i * 7 + i / 251);
	given_client();
	tls = given_server_tls(NULL);
	h.on_connect = connect_upstream;
	serve(1, &h, tls_up ? (void *)1 : NULL,
	      NP_OPTS(np_server_opts, .tls = tls_down ? tls : NULL));
	ck_assert_int_eq(np_server_new(serve_pollers, &e, NULL,
				       NP_OPTS(np_server_opts, .tls = tls_up ? tls : NULL,
					       .steer = NP_STEER_OFF),
				       &second),
			 0);
	ck_assert_int_eq(np_server_listen(second, "tcp", "127.0.0.1:0"), 0);
	ck_assert_int_eq(np_server_start(second), 0);
	ck_assert_int_eq(np_server_addr(second, 0, &ss, &len), 0);
	snprintf(upstream, sizeof upstream, "127.0.0.1:%d",
		 ntohs(((struct sockaddr_in *)&ss)->sin_port));
	fd = serve_connect(0);
	if (tls_down) {
		tls_peer_init(&p, fd);
		tls_peer_shake(&p);
	}
	for (size_t at = 0; at < sizeof text; at += 65536) {
		if (tls_down) {
			tls_peer_say(&p, text + at, 65536);
			tls_peer_hear(&p, got + at, 65536);
		} else {
			peer_send(fd, text + at, 65536);
			peer_recv(fd, got + at, 65536);
		}
	}
	ck_assert(memcmp(text, got, sizeof got) == 0);
	if (tls_down) {
		tls_peer_write(&p, "last", 4);
		SSL_shutdown(p.ssl);
		tls_peer_push(&p);
		tls_peer_expect(&p, "last");
		ck_assert_int_eq(tls_peer_read(&p, got, 1), 0);
		tls_peer_free(&p);
	} else {
		peer_send(fd, "last", 4);
		shutdown(fd, SHUT_WR);
		peer_recv(fd, got, 4);
		peer_expect_eof(fd);
		peer_close(&fd);
	}
	AWAIT(serve_conns() == 0);
	ck_assert_int_eq(np_server_stop(second, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_free(&second), 0);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ many */

#define MANY 50

static struct np_conn *idle[MANY];
static _Atomic(int) dialed, failed, first_error;

static int dial_one(void *arg)
{
	int i = (int)(intptr_t)arg, r;
	const void *p;

	r = np_dial(NULL, NP_HERE, "tcp", address,
		    NP_OPTS(np_dial_opts, .tls = client_tls, .timeout_ms = 30000), &idle[i]);
	if (r == 0)
		r = np_conn_write(idle[i], "ping", 4);
	if (r == 0)
		r = np_conn_flush(idle[i]);
	if (r == 0)
		r = np_conn_next(idle[i], 4, &p);
	if (r < 0) {
		failed++;
		first_error = r;
	}
	dialed++;
	return 0;
}

static int dial_many(void *arg)
{
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(np_go(NULL, NP_SPREAD, dial_one, (void *)(intptr_t)i, NULL), 0);
	while (dialed < MANY)
		np_sleep(5);
	return 0;
}

static int close_many(void *arg)
{
	for (int i = 0; i < MANY; i++)
		if (idle[i]) {
			np_conn_close(idle[i]);
			np_conn_unref(idle[i]);
		}
	return 0;
}

START_TEST(many_shake_hands_at_once)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	struct np_tls_opts o = { .sz = sizeof o, .handshake_ms = 30000, .offload_us = _i ? 1 : 0 };

	given_client();
	given_server(2, &h, &o);
	np_run(serve_pollers, dial_many, NULL);
	ck_assert_msg(failed == 0, "%s", np_strerror(first_error));
	ck_assert_int_eq((int)tls_stats_of(tls).offloaded, _i ? MANY : 0);
	np_run(serve_pollers, close_many, NULL);
	AWAIT(saw.closes == MANY);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ handlers that block */

static int blocks(struct np_conn *c, void *arg)
{
	usleep(10000);
	return echo(c, arg);
}

START_TEST(handlers_that_block_share_a_poller)
{
	struct np_handlers h = {
		.sz = sizeof h, .on_request = blocks, .on_close = on_close, .flags = NP_MAY_BLOCK
	};
	struct tls_peer p[8];

	given_server(1, &h, NULL);
	for (int i = 0; i < 8; i++) {
		given_peer(&p[i]);
		tls_peer_say(&p[i], "one", 3);
	}
	for (int i = 0; i < 8; i++)
		tls_peer_expect(&p[i], "one");
	for (int i = 0; i < 8; i++)
		tls_peer_part(&p[i]);
	AWAIT(saw.closes == 8);
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
	TCase *c = add_case(s, "tls_edges");

	tcase_add_unchecked_fixture(c, certs_setup, certs_teardown);
	tcase_add_test(c, verbs_in_the_middle_of_a_handshake_change_nothing);
	tcase_add_loop_test(c, a_handshake_is_ended_from_outside, 0, 4);
	tcase_add_test(c, a_stop_waits_for_no_handshake_that_stands);
	tcase_add_test(c, a_drip_does_not_stretch_a_handshake);
	tcase_add_test(c, tls_is_started_once_and_by_a_fiber);
	tcase_add_loop_test(c, a_start_in_any_state_comes_to_an_end, 0, 7);
	tcase_add_loop_test(c, all_sizes_arrive_or_are_reset, 0, 3);
	tcase_add_loop_test(c, a_file_goes_whole_or_is_cut, 0, 2);
	tcase_add_loop_test(c, what_tls_has_taken_is_served_after_a_pause, 0, 2);
	tcase_add_test(c, want_comes_back_once_all_is_there);
	tcase_add_test(c, data_behind_close_notify_is_never_served);
	tcase_add_loop_test(c, floods_in_the_clear_come_to_an_end, 0, 7);
	tcase_add_test(c, a_renegotiation_is_refused);
	tcase_add_test(c, a_detach_leaves_it_as_it_is);
	tcase_add_loop_test(c, forwarded_bytes_and_ends_go_through, 0, 4);
	tcase_add_loop_test(c, many_shake_hands_at_once, 0, 2);
	tcase_add_test(c, handlers_that_block_share_a_poller);
	tcase_add_loop_test(c, a_peer_that_reads_nothing_is_given_up, 0, 5);
}
