/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_forward: bytes that go on between a connection with TLS and another, with it or without */
#include "support/tls_seen.h"

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
	ck_assert_int_eq(np_server_new(pollers, &e, NULL,
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

void add_cases(Suite *s)
{
	TCase *c = add_case(s, "tls_forward");

	tcase_add_unchecked_fixture(c, certs_setup, certs_teardown);
	tcase_add_loop_test(c, forwarded_bytes_and_ends_go_through, 0, 4);
}
