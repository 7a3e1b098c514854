/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_handshake: one that stands: verbs and ends in the middle of it, where it may be started */
#include <errno.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "support/child.h"
#include "support/tls_seen.h"

/* ------------------------------------------------------------------ before it is open */

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

/* In a process of its own: a hello's first bytes, and then it stands still, as by Ctrl-Z. */
static void begin_and_stop(int sock, void *arg)
{
	int fd = peer_connect(arg, sizeof(struct sockaddr_in));

	peer_send(fd, "\x16\x03\x01", 3);
	raise(SIGSTOP);
	peer_drain(fd);
	peer_close(&fd);
}

START_TEST(a_client_that_is_stopped_in_the_middle_is_ended_in_time)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	struct np_tls_opts o = { .sz = sizeof o, .handshake_ms = 100 };
	struct sockaddr_storage ss;
	struct child client;
	socklen_t len;
	int status;

	given_server(1, &h, &o);
	ck_assert_int_eq(np_server_addr(serve_server, 0, &ss, &len), 0);
	child_start(&client, begin_and_stop, &ss);
	ck_assert_int_eq(waitpid(client.pid, &status, WUNTRACED), client.pid);
	ck_assert(WIFSTOPPED(status));
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -ETIMEDOUT);
	AWAIT(tls_stats_of(tls).under_way == 0);
	kill(client.pid, SIGCONT);
	child_join(&client);
	end_server();
}
END_TEST

static void hold_all(int sock, void *arg)
{
	child_say(sock, 'b');
	child_hear(sock);
}

/* A child that has not called exec has each descriptor too: their close(2) here is not the last. */
START_TEST(a_forked_child_keeps_no_connection_from_its_end)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = echo, .on_close = on_close };
	struct child child;
	struct tls_peer p, next;

	given_server(1, &h, NULL);
	given_peer(&p);
	tls_peer_say(&p, "a", 1);
	tls_peer_expect(&p, "a");
	child_start(&child, hold_all, NULL);
	ck_assert_int_eq(child_hear(child.sock), 'b');
	tls_peer_say(&p, "b", 1);
	tls_peer_expect(&p, "b");
	given_peer(&next);
	tls_peer_say(&next, "c", 1);
	tls_peer_expect(&next, "c");
	tls_peer_part(&p); /* close_notify comes all the same */
	tls_peer_part(&next);
	AWAIT(saw.closes == 2);
	child_say(child.sock, 'e');
	child_join(&child);
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

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "tls_handshake");

	tcase_add_unchecked_fixture(c, certs_setup, certs_teardown);
	tcase_add_test(c, verbs_in_the_middle_of_a_handshake_change_nothing);
	tcase_add_loop_test(c, a_handshake_is_ended_from_outside, 0, 4);
	tcase_add_test(c, a_stop_waits_for_no_handshake_that_stands);
	tcase_add_test(c, a_drip_does_not_stretch_a_handshake);
	tcase_add_test(c, a_client_that_is_stopped_in_the_middle_is_ended_in_time);
	tcase_add_test(c, a_forked_child_keeps_no_connection_from_its_end);
	tcase_add_test(c, tls_is_started_once_and_by_a_fiber);
	tcase_add_loop_test(c, a_start_in_any_state_comes_to_an_end, 0, 7);
}
