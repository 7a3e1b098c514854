/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_offload: what happens while a worker has a handshake
 *
 * The worker is an executor of the test's, which keeps a job until the test runs it: whatever a
 * test does before has happened in the middle of the worker's step.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <pthread.h>
#include <stdatomic.h>

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
	_Atomic(int) closes, error, moved, result, blocked;
	_Atomic(bool) go_on;
	_Atomic(struct np_conn *) conn;
} saw;

static int keep_first(struct np_conn *c, void *arg)
{
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
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

/* A request that begins with 'b' keeps its thread. */
static int echo_or_block(struct np_conn *c, void *arg)
{
	const void *p;

	if (np_conn_peek(c, 1, &p) == 0 && *(const char *)p == 'b') {
		saw.blocked++;
		AWAIT(saw.go_on);
	}
	return serve_echo(c, arg);
}

static void given_held_server(int n, struct np_tls_opts *o, unsigned flags)
{
	static struct np_handlers h = { .sz = sizeof h,
					.on_prepare = keep_first,
					.on_request = echo_or_block,
					.on_move = on_move,
					.on_close = on_close };

	h.flags = flags;
	o->offload_us = 1;
	tls = given_server_tls(o);
	given_pollers(NP_OPTS(np_pollers_opts, .count = n, .executor = hold, .handoff_ms = 1));
	serve_at(&serve_server, &h, NULL,
		 NP_OPTS(np_server_opts, .tls = tls, .steer = NP_STEER_OFF, .drain_ms = 1,
			 .fresh_ms = 1, .linger_ms = 50),
		 "tcp", "127.0.0.1:0");
}

static void end_held_server(void)
{
	if (saw.conn)
		np_conn_unref(saw.conn);
	serve_end();
	np_tls_free(&tls);
}

/* Its hello is at a worker, the @n-th. */
static void given_held_peer(struct tls_peer *p, int n)
{
	tls_peer_init(p, serve_connect(0));
	SSL_do_handshake(p->ssl);
	tls_peer_push(p);
	AWAIT(n_held == n);
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
} ends[] = {
	{ reset_by_peer, -ECONNRESET, -EPIPE, 0 },  { left_by_peer, -NP_ECUT, -NP_ECUT, 0 },
	{ closed, -NP_ECLOSED, -NP_ECLOSED, 0 },    { aborted, -NP_ECLOSED, -NP_ECLOSED, 0 },
	{ timed_out, -ETIMEDOUT, -ETIMEDOUT, 100 }, { stopped, -NP_ECLOSED, -NP_ECLOSED, 0 },
};

START_TEST(an_end_in_the_middle_waits_for_the_worker)
{
	struct np_tls_opts o = { .sz = sizeof o, .handshake_ms = ends[_i].handshake_ms };
	struct tls_peer p;

	given_held_server(1, &o, 0);
	given_held_peer(&p, 1);
	ends[_i].happens(&p);
	ck_assert_int_eq(saw.closes, 0); /* the worker has its SSL */
	run_held();
	AWAIT(saw.closes == 1);
	ck_assert_msg(saw.error == ends[_i].error || saw.error == ends[_i].or_error, "%s",
		      np_strerror(saw.error));
	AWAIT(tls_stats_of(tls).under_way == 0);
	ck_assert_uint_eq(tls_stats_of(tls).handshakes, 0);
	ck_assert_uint_eq(tls_stats_of(tls).failed, 1);
	if (ends[_i].happens == stopped) {
		pthread_join(stopper, NULL);
		ck_assert_int_eq(saw.result, 0);
	}
	tls_peer_free(&p);
	end_held_server();
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
	tcase_add_loop_test(t, an_end_in_the_middle_waits_for_the_worker, 0,
			    sizeof ends / sizeof ends[0]);
	tcase_add_test(t, without_a_worker_the_handshake_ends);
	tcase_add_test(t, a_move_comes_behind_the_handshake);
	tcase_add_test(t, a_thread_that_takes_the_poller_over_goes_on_with_handshakes);
	tcase_add_test(t, what_comes_meanwhile_is_read_then);
}
