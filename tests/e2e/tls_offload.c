/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_offload: what happens while a worker has a handshake
 *
 * The worker is an executor of the test's, which keeps a job until the test runs it: whatever a
 * test does before has happened in the middle of the worker's step.
 */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/tls_peer.h"

#define MAX_HELD 4

static struct {
	void (*fn)(void *);
	void *arg;
} held[MAX_HELD];
static _Atomic(int) n_held, n_run, refuse;
static struct np_tls *tls;

static int hold(void *arg, void (*job)(void *), void *job_arg)
{
	if (refuse)
		return refuse;
	held[n_held].fn = job;
	held[n_held].arg = job_arg;
	n_held++;
	return 0;
}

static void run_held(void)
{
	for (; n_run < n_held; n_run++)
		held[n_run].fn(held[n_run].arg);
}

static struct {
	_Atomic(int) closes, error, moved, result, blocked, exports, fd;
	_Atomic(bool) go_on;
	_Atomic(struct np_conn *) conn;
} saw;

static int keep_first(struct np_conn *c, void *arg)
{
	if (!saw.conn) {
		saw.fd = np_conn_fd(c);
		saw.conn = np_conn_ref(c);
	}
	return 0;
}

static void on_close(struct np_conn *c, void *arg)
{
	saw.error = np_conn_error(c);
	saw.closes++;
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	saw.moved += arrived;
}

static int on_export(struct np_conn *c, void *arg, struct np_linkbuf *blob)
{
	saw.exports++;
	return 0;
}

/* A request that begins with 'b' keeps its thread; one with 's' is STARTTLS. */
static int echo_or_block(struct np_conn *c, void *arg)
{
	const void *p;

	if (np_conn_peek(c, 1, &p) == 0 && *(const char *)p == 'b') {
		saw.blocked++;
		AWAIT(saw.go_on);
	} else if (p && *(const char *)p == 's') {
		np_conn_skip(c, 1);
		return np_conn_start_tls(c, tls, NULL);
	}
	return serve_echo(c, arg);
}

static void given_held_server_of(int n, struct np_tls_opts *o, unsigned flags, bool starts_plain)
{
	static struct np_handlers h = { .sz = sizeof h,
					.on_prepare = keep_first,
					.on_request = echo_or_block,
					.on_move = on_move,
					.on_export = on_export,
					.on_close = on_close };

	h.flags = flags;
	o->offload_us = 1;
	tls = given_server_tls(o);
	given_pollers(NP_OPTS(np_pollers_opts, .count = n, .executor = hold, .handoff_ms = 1));
	serve_at(&serve_server, &h, NULL,
		 NP_OPTS(np_server_opts, .tls = starts_plain ? NULL : tls, .steer = NP_STEER_OFF,
			 .drain_ms = 1, .fresh_ms = 1, .linger_ms = 50),
		 "tcp", "127.0.0.1:0");
}

static void given_held_server(int n, struct np_tls_opts *o, unsigned flags)
{
	given_held_server_of(n, o, flags, false);
}

static struct np_server *next;

static void end_held_server(void)
{
	if (saw.conn)
		np_conn_unref(saw.conn);
	serve_over(&next);
	serve_end();
	np_tls_free(&tls);
}

/* Its hello is at a worker, the @n-th. */
static void given_held_peer_on(struct tls_peer *p, int fd, int n)
{
	tls_peer_init(p, fd);
	SSL_do_handshake(p->ssl);
	tls_peer_push(p);
	AWAIT(n_held == n);
}

static void given_held_peer(struct tls_peer *p, int n)
{
	given_held_peer_on(p, serve_connect(0), n);
}

static void must_echo(struct tls_peer *p)
{
	tls_peer_shake(p);
	tls_peer_say(p, "x", 1);
	tls_peer_expect(p, "x");
}

static const char *name_of(struct tls_peer *p)
{
	static char cn[64];

	X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(p->ssl)),
				  NID_commonName, cn, sizeof cn);
	return cn;
}

START_TEST(a_reload_is_for_handshakes_that_begin_behind_it)
{
	struct np_tls_cert cert = { in_certs("live.pem"), in_certs("live.key") };
	struct np_tls_opts o = { .sz = sizeof o, .certs = &cert, .n_certs = 1 };
	struct tls_peer old, new;

	must_sh("cd %s && cp localhost.pem live.pem && cp localhost.key live.key", certs_dir);
	given_held_server(1, &o, 0);
	given_held_peer(&old, 1);
	must_sh("cd %s && cp two.pem live.pem && cp two.key live.key", certs_dir);
	ck_assert_int_eq(np_tls_reload(tls), 0);
	given_held_peer(&new, 2);
	run_held();
	must_echo(&old);
	must_echo(&new);
	ck_assert_str_eq(name_of(&old), "localhost");
	ck_assert_str_eq(name_of(&new), "two");
	tls_peer_part(&old);
	tls_peer_part(&new);
	end_held_server();
}
END_TEST

/* ------------------------------------------------------------------ the next process */

static char where[32];
static struct np_handed_over handed = { .sz = sizeof handed };

static void *hand_over(void *arg)
{
	return (void *)(intptr_t)np_server_hand_over(serve_server, where,
						     NP_OPTS(np_hand_over_opts, .come_ms = AWAIT_MS,
							     .work_ms = AWAIT_MS,
							     .answer_ms = AWAIT_MS),
						     &handed);
}

/* It is in this one, and all that it gets comes through a socket, as if it were not. */
static void given_next(bool starts_plain)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = serve_echo };
	pthread_t t;
	void *r;

	snprintf(where, sizeof where, "@np-tls-handover-%d", (int)getpid());
	pthread_create(&t, NULL, hand_over, NULL);
	ck_assert_int_eq(np_server_new(pollers, &h, NULL,
				       NP_OPTS(np_server_opts, .tls = starts_plain ? NULL : tls,
					       .steer = NP_STEER_OFF, .drain_ms = 1, .fresh_ms = 1),
				       &next),
			 0);
	ck_assert_int_eq(np_server_take_over(next, where, AWAIT_MS), 1);
	ck_assert_int_eq(np_server_start(next), 0);
	pthread_join(t, &r);
	ck_assert_msg(!r, "%s", np_server_error(serve_server));
}

static void must_stay(void)
{
	ck_assert_uint_eq(handed.addresses, 1);
	ck_assert_uint_eq(handed.handed + handed.refused + handed.busy, 0);
	ck_assert_uint_eq(handed.stays, 1);
	ck_assert_uint_eq(handed.because[NP_STAYS_TLS], 1);
	ck_assert_int_eq(saw.exports, 0);
}

/* Its last word is close_notify, and FIN behind it: nothing is missing. */
static void must_end_whole(struct tls_peer *p)
{
	char byte;

	ck_assert_int_eq(tls_peer_read(p, &byte, 1), 0);
	peer_expect_eof(p->fd);
}

/* Behind what the worker's step has said. */
static void must_end_in_a_reset(struct tls_peer *p)
{
	char bytes[4096];
	ssize_t n;

	do
		n = recv(p->fd, bytes, sizeof bytes, 0);
	while (n > 0);
	ck_assert_int_eq(n, -1);
	ck_assert_int_eq(errno, ECONNRESET);
}

/* What that was is another's now: whoever closes it once more is found out. */
static void given_descriptor_of_another(void)
{
	AWAIT(fcntl(saw.fd, F_GETFD) < 0);
	ck_assert_int_eq(dup2(STDIN_FILENO, saw.fd), saw.fd);
}

static void must_be_another_s_still(void)
{
	ck_assert_int_eq(close(saw.fd), 0);
}

START_TEST(a_handshake_stays_where_its_worker_is)
{
	struct np_tls_opts o = { .sz = sizeof o };
	struct tls_peer p, fresh;

	given_held_server(1, &o, 0);
	given_held_peer(&p, 1);
	given_next(false);
	must_stay();
	given_held_peer_on(&fresh, peer_of(next, 0), 2);
	run_held();
	must_echo(&p);
	must_echo(&fresh);
	ck_assert_uint_eq(serve_conns(), 1);
	ck_assert_uint_eq(serve_stats(next).conns, 1);

	serve_over(&serve_server);
	given_descriptor_of_another();
	must_end_whole(&p);
	tls_peer_say(&fresh, "y", 1);
	tls_peer_expect(&fresh, "y");
	tls_peer_part(&fresh);
	serve_over(&next);
	must_be_another_s_still();
	ck_assert_int_eq(saw.closes, 1);
	tls_peer_free(&p);
	end_held_server();
}
END_TEST

/* Its handler waits in np_conn_start_tls(). */
START_TEST(so_does_one_that_began_in_the_clear)
{
	struct np_tls_opts o = { .sz = sizeof o };
	struct tls_peer p;
	int fd;

	given_held_server_of(1, &o, 0, true);
	fd = serve_connect(0);
	peer_send(fd, "s", 1);
	given_held_peer_on(&p, fd, 1);
	given_next(true);
	must_stay();
	run_held();
	must_echo(&p);
	serve_over(&serve_server);
	must_end_whole(&p);
	ck_assert_int_eq(saw.closes, 1);
	tls_peer_free(&p);
	end_held_server();
}
END_TEST

/* ------------------------------------------------------------------ ends */

static void reset_by_peer(struct tls_peer *p)
{
	peer_reset(&p->fd);
}

static void left_by_peer(struct tls_peer *p)
{
	shutdown(p->fd, SHUT_WR);
}

static void closed(struct tls_peer *p)
{
	np_conn_close(saw.conn);
	peer_drain(p->fd);
}

static void aborted(struct tls_peer *p)
{
	np_conn_abort(saw.conn);
}

/* FIN would say that the peer has it. */
static void closed_with_output(struct tls_peer *p)
{
	struct np_linkbuf *b;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write(b, "hello", 5), 0);
	ck_assert_int_eq(np_conn_send(saw.conn, &b), 0);
	np_conn_close(saw.conn);
}

/* handshake_ms is over: FIN comes at once, and on_close when the worker has let go. */
static void timed_out(struct tls_peer *p)
{
	peer_drain(p->fd);
}

static void *stop(void *arg)
{
	saw.result = np_server_stop(serve_server, AWAIT_MS, NULL);
	return NULL;
}

static pthread_t stopper;

static void stopped(struct tls_peer *p)
{
	saw.result = 1;
	pthread_create(&stopper, NULL, stop, NULL);
}

static const struct {
	void (*happens)(struct tls_peer *p);
	int error, or_error;
	int handshake_ms;
	bool resets; /* the peer */
} ends[] = {
	{ reset_by_peer, -ECONNRESET, -EPIPE, 0, false },
	{ left_by_peer, -NP_ECUT, -NP_ECUT, 0, false },
	{ closed, -NP_ECLOSED, -NP_ECLOSED, 0, false },
	{ closed_with_output, -NP_ECLOSED, -NP_EWRITETIMEOUT, 0, true },
	{ aborted, -NP_ECLOSED, -NP_ECLOSED, 0, true },
	{ timed_out, -ETIMEDOUT, -ETIMEDOUT, 1000, false },
	{ stopped, -NP_ECLOSED, -NP_ECLOSED, 0, false },
};
#define N_ENDS ((int)(sizeof ends / sizeof ends[0]))

static void an_end_waits_for_the_worker(int i, bool is_handed_over)
{
	struct np_tls_opts o = { .sz = sizeof o, .handshake_ms = ends[i].handshake_ms };
	struct tls_peer p;

	given_held_server(1, &o, 0);
	given_held_peer(&p, 1);
	if (is_handed_over)
		given_next(false);
	ends[i].happens(&p);
	ck_assert_int_eq(saw.closes, 0); /* the worker has its SSL */
	run_held();
	AWAIT(saw.closes == 1);
	ck_assert_msg(saw.error == ends[i].error || saw.error == ends[i].or_error, "%s",
		      np_strerror(saw.error));
	given_descriptor_of_another();
	AWAIT(tls_stats_of(tls).under_way == 0);
	ck_assert_uint_eq(tls_stats_of(tls).handshakes, 0);
	ck_assert_uint_eq(tls_stats_of(tls).failed, 1);
	if (ends[i].resets)
		must_end_in_a_reset(&p);
	if (ends[i].happens == stopped) {
		pthread_join(stopper, NULL);
		ck_assert_int_eq(saw.result, 0);
	}
	tls_peer_free(&p);
	serve_over(&serve_server);
	must_be_another_s_still();
	end_held_server();
}

START_TEST(an_end_in_the_middle_waits_for_the_worker)
{
	an_end_waits_for_the_worker(_i, false);
}
END_TEST

START_TEST(and_so_where_the_next_process_has_the_rest)
{
	an_end_waits_for_the_worker(_i, true);
}
END_TEST

START_TEST(without_a_worker_the_handshake_ends)
{
	struct np_tls_opts o = { .sz = sizeof o };
	struct tls_peer p;

	given_held_server(1, &o, 0);
	refuse = -EAGAIN;
	tls_peer_init(&p, serve_connect(0));
	ck_assert(!tls_peer_shake_to_the_end(&p));
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -ENOBUFS);
	AWAIT(tls_stats_of(tls).failed == 1);
	tls_peer_free(&p);
	end_held_server();
}
END_TEST

/* ------------------------------------------------------------------ who has it then */

static void move_over(struct np_conn *c, void *arg)
{
	saw.result = np_conn_move(c, !np_conn_poller(c));
}

START_TEST(a_move_comes_behind_the_handshake)
{
	struct np_tls_opts o = { .sz = sizeof o };
	struct tls_peer p;

	given_held_server(2, &o, 0);
	given_held_peer(&p, 1);
	saw.result = 1;
	np_conn_post(saw.conn, move_over, NULL);
	AWAIT(saw.result != 1);
	ck_assert_int_eq(saw.moved, 0);
	run_held();
	must_echo(&p);
	AWAIT(saw.moved == (saw.result == 0));
	tls_peer_part(&p);
	end_held_server();
}
END_TEST

/* Also for a handshake that had asked a worker before. */
START_TEST(a_thread_that_takes_the_poller_over_goes_on_with_handshakes)
{
	struct np_tls_opts o = { .sz = sizeof o };
	struct tls_peer blocks, before, p;

	given_held_server(1, &o, NP_MAY_BLOCK);
	given_held_peer(&blocks, 1);
	run_held();
	tls_peer_shake(&blocks);
	given_held_peer(&before, 2);
	tls_peer_say(&blocks, "b", 1);
	AWAIT(saw.blocked == 1);
	given_held_peer(&p, 3);
	run_held();
	must_echo(&p); /* the poller's own thread is in the handler still */
	must_echo(&before);
	saw.go_on = true;
	tls_peer_expect(&blocks, "b");
	tls_peer_part(&p);
	tls_peer_part(&before);
	tls_peer_part(&blocks);
	end_held_server();
}
END_TEST

/* More of the client's than its hello: what comes meanwhile is read when the worker is done. */
START_TEST(what_comes_meanwhile_is_read_then)
{
	static const char rest[] = "\x16\x03\x03\x00\x01";
	struct np_tls_opts o = { .sz = sizeof o };
	struct tls_peer p;

	given_held_server(1, &o, 0);
	given_held_peer(&p, 1);
	peer_send(p.fd, rest, 5);
	peer_send(p.fd, "?", 1);
	run_held();
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	tls_peer_free(&p);
	end_held_server();
}
END_TEST

static void setup(void)
{
	certs_setup();
	make_cert("two", EC, "DNS:two.example", "-days 30");
}

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_offload");

	tcase_add_unchecked_fixture(t, setup, certs_teardown);
	tcase_add_test(t, a_reload_is_for_handshakes_that_begin_behind_it);
	tcase_add_test(t, a_handshake_stays_where_its_worker_is);
	tcase_add_test(t, so_does_one_that_began_in_the_clear);
	tcase_add_loop_test(t, an_end_in_the_middle_waits_for_the_worker, 0, N_ENDS);
	tcase_add_loop_test(t, and_so_where_the_next_process_has_the_rest, 0, N_ENDS);
	tcase_add_test(t, without_a_worker_the_handshake_ends);
	tcase_add_test(t, a_move_comes_behind_the_handshake);
	tcase_add_test(t, a_thread_that_takes_the_poller_over_goes_on_with_handshakes);
	tcase_add_test(t, what_comes_meanwhile_is_read_then);
}
