/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_ends: a peer's FIN in front of which nothing is read: a cut is never told as an end
 *
 * Each is played twice: with FIN alone, and with close_notify in front of it, which the library
 * finds out only when it reads on.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <stdatomic.h>

#include "support/tls_peer.h"

/* What the connection is like when the FIN comes. */
enum stand {
	PAUSED,      /* nothing is read */
	HALF_READ,   /* the input is full, and its handler takes no more */
	HALF_CLOSED, /* paused behind its own close_notify */
	UNSENT,      /* paused, with output that the peer does not take yet */
	RESUMED,     /* paused, and read on when the peer has left */
	TAKEN_LATE,  /* the input was full: its handler takes all when the peer has left */
	STANDS,
};

static struct {
	_Atomic(int) requests, disconnects, closes, at_disconnect, error, verb;
} saw;

static char much[4 << 20];
static struct np_tls *tls;

static enum stand stand_of(void *arg)
{
	return (enum stand)(intptr_t)arg;
}

static int take_late(struct np_conn *c)
{
	int r;

	if (saw.requests == 1)
		return 0;
	r = np_conn_skip(c, np_conn_len(c));
	if (r == 0)
		r = np_conn_wait(c, 1);
	saw.verb = r;
	return r == -NP_EEOF ? 0 : r;
}

static int stands(struct np_conn *c, void *arg)
{
	enum stand how = stand_of(arg);
	int r;

	saw.requests++;
	if (how == TAKEN_LATE)
		return take_late(c);
	if (how == HALF_READ && saw.requests > 1)
		return 0;
	r = np_conn_skip(c, 1);
	if (r == 0 && how == UNSENT)
		r = np_conn_write(c, much, sizeof much);
	if (r == 0 && how == UNSENT)
		r = np_conn_flush(c);
	if (r == 0 && how == HALF_CLOSED)
		r = np_conn_shutdown_write(c);
	if (how != HALF_READ)
		np_conn_pause_read(c);
	return r;
}

static void on_disconnect(struct np_conn *c, void *arg)
{
	saw.at_disconnect = np_conn_error(c);
	saw.disconnects++;
	if (stand_of(arg) == RESUMED)
		np_conn_resume_read(c);
	else if (stand_of(arg) != HALF_READ && stand_of(arg) != TAKEN_LATE)
		np_conn_close(c);
}

static void on_close(struct np_conn *c, void *arg)
{
	saw.error = np_conn_error(c);
	saw.closes++;
}

static void given_server(enum stand how)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = stands,
					      .on_disconnect = on_disconnect,
					      .on_close = on_close };

	tls = given_server_tls(NULL);
	serve(1, &h, (void *)(intptr_t)how,
	      NP_OPTS(np_server_opts, .tls = tls,
		      .limits = { .in_high = how == HALF_READ || how == TAKEN_LATE ? 16 : 0,
				  .out_high = SIZE_MAX }));
}

static void leave(struct tls_peer *p, bool whole)
{
	if (whole) {
		SSL_shutdown(p->ssl);
		tls_peer_push(p);
	}
	shutdown(p->fd, SHUT_WR);
}

START_TEST(a_cut_behind_input_that_stands_is_no_end)
{
	enum stand how = _i / 2;
	bool whole = _i % 2;
	struct tls_peer p;

	given_server(how);
	given_peer(&p);
	tls_peer_say(&p, "0123456789abcdef0123456789abcdef", 32);
	AWAIT(saw.requests > 0);
	leave(&p, whole);
	AWAIT(saw.disconnects == 1);
	peer_drain(p.fd);
	AWAIT(saw.closes == 1);
	/* While its end is not read nobody can say that it is a whole one. */
	if (how != TAKEN_LATE)
		ck_assert_int_eq(saw.at_disconnect, -NP_ECUT);
	ck_assert_int_eq(saw.error, whole ? -NP_EEOF : -NP_ECUT);
	if (how == TAKEN_LATE)
		ck_assert_int_eq(saw.verb, whole ? -NP_EEOF : -NP_ECUT);
	ck_assert_uint_eq(tls_stats_of(tls).cut, !whole);
	ck_assert_int_eq(saw.disconnects, 1);
	tls_peer_free(&p);
	serve_end();
	np_tls_free(&tls);
}
END_TEST

static int returns_its_verbs_error(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c));

	saw.requests++;
	return r == 0 ? np_conn_wait(c, 1) : r;
}

START_TEST(a_handler_that_returns_the_cut_has_not_failed)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_request = returns_its_verbs_error,
				 .on_close = on_close };
	struct np_server_stats st = { .sz = sizeof st };
	struct tls_peer p;

	tls = given_server_tls(NULL);
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .tls = tls));
	given_peer(&p);
	tls_peer_say(&p, "half", 4);
	AWAIT(saw.requests > 0);
	leave(&p, false);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ECUT);
	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_eq(st.handler_errors, 0);
	tls_peer_free(&p);
	serve_end();
	np_tls_free(&tls);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_ends");

	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_loop_test(t, a_cut_behind_input_that_stands_is_no_end, 0, 2 * STANDS);
	tcase_add_test(t, a_handler_that_returns_the_cut_has_not_failed);
}
