/* SPDX-License-Identifier: BSD-2-Clause */
/* tls_start: TLS begun by a handler in the middle of a connection (STARTTLS) */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pollers.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/tls_peer.h"

static struct {
	_Atomic(int) requests, closes, error, start, again, write, wait, read, dones;
	_Atomic(struct np_conn *) conn;
	char byte;
} saw;

static char much[8 << 20];
static struct np_tls *tls;

static void on_close(struct np_conn *c, void *arg)
{
	saw.error = np_conn_error(c);
	saw.closes++;
}

static int echo(struct np_conn *c)
{
	struct np_linkbuf *all = NULL;
	int r = np_conn_slice(c, np_conn_len(c), &all);

	if (r == 0)
		r = np_conn_append(c, &all);
	np_linkbuf_free(&all);
	return r < 0 ? r : np_conn_flush(c);
}

static void given_plain(int (*on_request)(struct np_conn *, void *))
{
	struct np_handlers h = { .sz = sizeof h, .on_request = on_request, .on_close = on_close };

	tls = given_server_tls(NULL);
	saw.start = 1;
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .limits = { .out_high = SIZE_MAX }));
}

static void end_server(void)
{
	serve_end();
	np_tls_free(&tls);
}

/* ------------------------------------------------------------------ its first bytes */

static int starts(struct np_conn *c, void *arg)
{
	struct np_tls_info info = { .sz = sizeof info };
	int r;

	if (np_tls_conn_info(c, &info) == 0)
		return echo(c);
	r = np_conn_skip(c, 8);
	if (r == 0)
		r = np_conn_write(c, "go", 2);
	if (r == 0)
		r = np_conn_start_tls(c, tls, NULL);
	saw.start = r;
	return r;
}

/* The plain word and @with bytes of what TLS says first in one segment, and the rest behind. */
static void start_with(struct tls_peer *p, size_t with)
{
	char all[8 + 4096] = "STARTTLS", *hello, go[2];
	size_t n;

	SSL_do_handshake(p->ssl);
	n = (size_t)BIO_get_mem_data(p->out, &hello);
	ck_assert_uint_lt(n, 4096);
	memcpy(all + 8, hello, n);
	(void)BIO_reset(p->out);
	with = with < n ? with : n;
	peer_send(p->fd, all, 8 + with);
	peer_recv(p->fd, go, 2);
	ck_assert_mem_eq(go, "go", 2);
	for (size_t at = with, step = p->piece ? p->piece : n; at < n; at += step)
		peer_send(p->fd, all + 8 + at, n - at < step ? n - at : step);
}

static size_t length_of_hello(void)
{
	struct tls_peer p;
	char *hello;
	size_t n;

	tls_peer_init(&p, -1);
	SSL_do_handshake(p.ssl);
	n = (size_t)BIO_get_mem_data(p.out, &hello);
	tls_peer_free(&p);
	return n;
}

START_TEST(what_comes_with_the_plain_word_is_taken_up_to_any_byte)
{
	size_t n = length_of_hello();
	struct tls_peer p;

	given_plain(starts);
	for (size_t with = 0; with <= n; with++) {
		tls_peer_init(&p, serve_connect(0));
		start_with(&p, with);
		tls_peer_shake(&p);
		tls_peer_say(&p, "fine", 4);
		tls_peer_expect(&p, "fine");
		tls_peer_part(&p);
	}
	AWAIT(saw.closes == (int)n + 1);
	ck_assert_int_eq(saw.start, 0);
	ck_assert_uint_eq(tls_stats_of(tls).handshakes, n + 1);
	end_server();
}
END_TEST

START_TEST(a_first_flight_may_come_byte_by_byte)
{
	struct tls_peer p;

	given_plain(starts);
	tls_peer_init(&p, serve_connect(0));
	p.piece = 1;
	start_with(&p, _i ? 1 : 0);
	tls_peer_shake(&p);
	tls_peer_say(&p, "fine", 4);
	tls_peer_expect(&p, "fine");
	tls_peer_part(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ beside other fibers */

static int reads_meanwhile(void *arg)
{
	struct np_conn *c = arg;
	const void *p;

	saw.read = np_conn_next(c, 1, &p);
	saw.byte = saw.read == 0 ? *(const char *)p : 0;
	saw.dones++;
	np_conn_unref(c);
	return 0;
}

/* Its output stands; so the start waits, and another fiber begins to read. */
static int starts_beside_a_reader(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c));

	if (r == 0)
		r = np_conn_write(c, much, sizeof much);
	if (r == 0)
		r = np_go(NULL, NP_HERE, reads_meanwhile, np_conn_ref(c), NULL);
	if (r == 0)
		saw.start = np_conn_start_tls(c, tls, NULL);
	while (!saw.dones)
		np_sleep(1);
	return r;
}

START_TEST(a_start_takes_nothing_from_one_who_has_begun_to_read)
{
	int fd;

	given_plain(starts_beside_a_reader);
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	peer_recv(fd, much, sizeof much);
	AWAIT(saw.start != 1);
	peer_send(fd, "p", 1);
	AWAIT(saw.dones == 1);
	ck_assert_int_eq(saw.start, -NP_ECONCURRENT);
	ck_assert_int_eq(saw.read, 0);
	ck_assert_int_eq(saw.byte, 'p'); /* in the clear, as it was sent */
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	end_server();
}
END_TEST

static int starts_meanwhile(void *arg)
{
	struct np_conn *c = arg;

	saw.again = np_conn_start_tls(c, tls, NULL);
	saw.dones++;
	np_conn_unref(c);
	return 0;
}

static int starts_beside_another(struct np_conn *c, void *arg)
{
	struct np_tls_info info = { .sz = sizeof info };
	int r;

	if (np_tls_conn_info(c, &info) == 0)
		return echo(c);
	r = np_conn_skip(c, np_conn_len(c));
	if (r == 0)
		r = np_conn_write(c, much, sizeof much);
	if (r == 0)
		r = np_go(NULL, NP_HERE, starts_meanwhile, np_conn_ref(c), NULL);
	if (r == 0)
		saw.start = np_conn_start_tls(c, tls, NULL);
	while (!saw.dones)
		np_sleep(1);
	return r;
}

START_TEST(of_two_who_start_one_does)
{
	struct tls_peer p;

	given_plain(starts_beside_another);
	tls_peer_init(&p, serve_connect(0));
	peer_send(p.fd, "?", 1);
	peer_recv(p.fd, much, sizeof much);
	tls_peer_shake(&p);
	tls_peer_say(&p, "fine", 4);
	tls_peer_expect(&p, "fine");
	ck_assert_int_eq(saw.start + saw.again, -NP_ECONCURRENT);
	tls_peer_part(&p);
	end_server();
}
END_TEST

/* ------------------------------------------------------------------ behind a forward */

static char upstream[64];

static int connects_upstream(struct np_conn *c, void *arg)
{
	struct np_conn *o;
	int r = np_dial(NULL, NP_HERE, "tcp", upstream, NULL, &o);

	if (r == 0)
		np_conn_set_data(c, o);
	return r;
}

static _Atomic(bool) is_tls_now, forwards;

/* All of the plain flow goes on, so that the kernel keeps what comes next, which is TLS's. */
static int forwards_then_starts(struct np_conn *c, void *arg)
{
	struct np_tls_info info = { .sz = sizeof info };
	int r = 0;

	if (np_tls_conn_info(c, &info) == 0)
		return echo(c);
	forwards = true;
	if (!is_tls_now)
		r = np_conn_forward(c, np_conn_data(c));
	forwards = false;
	if (is_tls_now && r == 0)
		saw.start = r = np_conn_start_tls(c, tls, NULL);
	return r;
}

static void unref_upstream(struct np_conn *c, void *arg)
{
	struct np_conn *o = np_conn_data(c);

	np_conn_close(o);
	np_conn_unref(o);
	on_close(c, arg);
}

START_TEST(behind_a_forward_the_kernels_bytes_are_tlss)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_connect = connects_upstream,
				 .on_request = forwards_then_starts,
				 .on_close = unref_upstream };
	int listener = peer_listen(upstream, sizeof upstream), up;
	struct tls_peer p;

	tls = given_server_tls(NULL);
	saw.start = 1;
	serve(1, &h, NULL, NULL);
	tls_peer_init(&p, serve_connect(0));
	up = accept(listener, NULL, NULL);
	for (size_t at = 0; at < sizeof much; at += 65536) {
		peer_send(p.fd, much + at, 65536);
		peer_recv(up, much, 65536);
	}
	/* nothing of the flow is left, and no forward that began before takes more */
	is_tls_now = true;
	AWAIT(!forwards);
	ck_assert(tls_peer_shake_to_the_end(&p));
	tls_peer_say(&p, "fine", 4); /* with the Finished: it is here before the handler returns */
	tls_peer_expect(&p, "fine");
	ck_assert_int_eq(saw.start, 0);
	tls_peer_part(&p);
	AWAIT(saw.closes == 1);
	peer_close(&up);
	end_server();
	peer_close(&listener);
}
END_TEST

/* ------------------------------------------------------------------ given up */

static struct np_task *task;

static int starts_and_goes_on(void *arg)
{
	struct np_conn *c = arg;
	const void *p;

	saw.conn = c;
	if (saw.requests == 1)
		np_deadline(50, NULL);
	saw.start = np_conn_start_tls(c, tls, NULL);
	np_deadline(-1, NULL);
	saw.write = np_conn_write(c, "in the clear", 12);
	saw.wait = np_conn_next(c, 1, &p);
	saw.again = np_conn_start_tls(c, tls, NULL);
	np_conn_unref(c);
	return 0;
}

static int starts_in_a_task(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c));

	saw.requests = (int)(intptr_t)arg + 1;
	if (r == 0)
		r = np_go(NULL, NP_HERE, starts_and_goes_on, np_conn_ref(c), &task);
	return r;
}

START_TEST(a_start_that_is_given_up_ends_its_connection)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_request = starts_in_a_task,
				 .on_close = on_close };
	int want = _i ? -ECANCELED : -ETIMEDOUT, fd;

	tls = given_server_tls(NULL);
	saw.start = 1;
	serve(1, &h, (void *)(intptr_t)_i, NULL);
	fd = serve_connect(0);
	peer_send(fd, "STARTTLS\x16\x03\x01\x02", 12); /* and a handshake that has begun */
	AWAIT(saw.conn);
	if (_i)
		np_task_cancel(task);
	peer_expect_eof(fd); /* and not one byte of anything */
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(np_join(&task, NULL), 0);
	ck_assert_int_eq(saw.start, want);
	ck_assert_int_eq(saw.write, -NP_ECLOSED);
	ck_assert_int_eq(saw.wait, want);
	ck_assert_int_eq(saw.again, -EALREADY);
	ck_assert_int_eq(saw.error, want);
	AWAIT(tls_stats_of(tls).failed == 1 && tls_stats_of(tls).under_way == 0);
	end_server();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "tls_start");

	tcase_add_unchecked_fixture(t, certs_setup, certs_teardown);
	tcase_add_test(t, what_comes_with_the_plain_word_is_taken_up_to_any_byte);
	tcase_add_loop_test(t, a_first_flight_may_come_byte_by_byte, 0, 2);
	tcase_add_test(t, a_start_takes_nothing_from_one_who_has_begun_to_read);
	tcase_add_test(t, of_two_who_start_one_does);
	tcase_add_test(t, behind_a_forward_the_kernels_bytes_are_tlss);
	tcase_add_loop_test(t, a_start_that_is_given_up_ends_its_connection, 0, 2);
}
