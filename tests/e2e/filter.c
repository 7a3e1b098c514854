/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter: what the seam below a connection promises, shown by a filter of a few lines
 *
 * It begins with "hi" from the peer and "yo" in return; then every byte is turned over (XOR 0x55),
 * and 0xff in the clear is its end. It takes from below as much as there is, like TLS does.
 */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/filter.h>
#include <netpoll/linkbuf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define TURN 0x55
#define END  0xff

struct turner {
	struct np_filter_below *below;
	unsigned char taken[256]; /* from below, and not given yet */
	size_t at, n;
	bool worked;
	int read_error; /* read says so */
};

static struct {
	_Atomic(int) opened, closed, connects, closes, error, result, open_error, read_error;
	_Atomic(bool) wants_work, worked_elsewhere;
	_Atomic(size_t) holds; /* what it says once it is open */
	pthread_t poller;
} saw;

static int turner_open(const void *maker, struct np_filter_below *below, const char *host,
		       void **ret)
{
	struct turner *t;

	if (saw.open_error)
		return saw.open_error;
	t = calloc(1, sizeof *t);
	t->below = below;
	t->read_error = saw.read_error;
	*ret = t;
	saw.opened++;
	saw.poller = pthread_self();
	return 0;
}

/* As much as there is. Return: 0, or what the socket said; 1: FIN. */
static int turner_take(struct turner *t)
{
	ssize_t r = np_filter_read(t->below, t->taken + t->n, sizeof t->taken - t->n);

	if (r > 0)
		t->n += (size_t)r;
	return r < 0 ? (int)r : r == 0;
}

static int turner_handshake(void *filter)
{
	struct turner *t = filter;
	int r;

	if (saw.wants_work && !t->worked) {
		t->worked = true;
		return NP_FILTER_WORK;
	}
	if (t->worked)
		saw.worked_elsewhere = !pthread_equal(saw.poller, pthread_self());
	while (t->n < 2) {
		r = turner_take(t);
		if (r)
			return r < 0 ? r : -NP_ECUT;
	}
	if (memcmp(t->taken, "hi", 2) != 0)
		return -NP_ETLS;
	t->at = 2;
	np_filter_holds(t->below, saw.holds);
	r = (int)np_filter_write(t->below, "yo", 2);
	return r < 0 ? r : 0;
}

static ssize_t turner_read(void *filter, void *p, size_t n)
{
	struct turner *t = filter;
	unsigned char *to = p;
	size_t k = 0;
	int r;

	if (t->read_error)
		return t->read_error;
	if (t->at == t->n) {
		t->at = t->n = 0;
		r = turner_take(t);
		if (r)
			return r < 0 ? r : -NP_ECUT;
	}
	while (k < n && k < 7 && t->at < t->n && t->taken[t->at] != END)
		to[k++] = t->taken[t->at++] ^ TURN; /* 7: as records do, it comes in pieces */
	return (ssize_t)k;
}

static ssize_t turner_write(void *filter, const struct iovec *iov, int n)
{
	struct turner *t = filter;
	char piece[1024];
	size_t k = iov->iov_len < sizeof piece ? iov->iov_len : sizeof piece;

	for (size_t i = 0; i < k; i++)
		piece[i] = ((char *)iov->iov_base)[i] ^ TURN;
	return np_filter_write(t->below, piece, k);
}

static int turner_shutdown(void *filter)
{
	struct turner *t = filter;
	unsigned char end = END;
	ssize_t r = np_filter_write(t->below, &end, 1);

	return r < 0 ? (int)r : 0;
}

static void turner_close(void *filter)
{
	free(filter);
	saw.closed++;
}

static const struct np_filter_ops turner = {
	.sz = sizeof turner,
	.name = "turner",
	.open = turner_open,
	.handshake = turner_handshake,
	.read = turner_read,
	.write = turner_write,
	.shutdown = turner_shutdown,
	.close = turner_close,
};

static struct np_filter_maker maker = { .ops = &turner };
#define TURNED ((struct np_tls *)&maker)

/* ------------------------------------------------------------------ the server */

static int on_connect(struct np_conn *c, void *arg)
{
	saw.connects++;
	saw.result = np_conn_filter(c, &turner) != NULL;
	return 0;
}

static void on_close(struct np_conn *c, void *arg)
{
	saw.error = np_conn_error(c);
	saw.closes++;
}

static void given(const struct np_handlers *h)
{
	static const struct np_handlers echoes = { .sz = sizeof echoes,
						   .on_connect = on_connect,
						   .on_request = serve_echo,
						   .on_close = on_close };

	serve(1, h ? h : &echoes, NULL, NP_OPTS(np_server_opts, .tls = h ? NULL : TURNED));
}

/* ------------------------------------------------------------------ the peer */

static void say(int fd, const char *text)
{
	char turned[256];
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		turned[i] = text[i] ^ TURN;
	peer_send(fd, turned, n);
}

static void expect(int fd, const char *text)
{
	char got[256];
	size_t n = strlen(text);

	peer_recv(fd, got, n);
	for (size_t i = 0; i < n; i++)
		got[i] ^= TURN;
	ck_assert_mem_eq(got, text, n);
}

static void expect_clear(int fd, const char *text)
{
	char got[256];

	peer_recv(fd, got, strlen(text));
	ck_assert_mem_eq(got, text, strlen(text));
}

/* The end of both sides, in the clear. */
static void part(int fd)
{
	peer_send(fd, "\xff", 1);
	expect_clear(fd, "\xff");
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closed == saw.opened);
}

START_TEST(input_that_the_filter_has_taken_is_served_without_an_edge)
{
	char all[64] = "hi";
	int fd;

	given(NULL);
	fd = serve_connect(0);
	for (int i = 0; i < 40; i++)
		all[2 + i] = 'r' ^ TURN;
	peer_send(fd, all, 42); /* the last byte of the handshake, and 40 of requests */
	expect_clear(fd, "yo");
	expect(fd, "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr");
	say(fd, "more");
	expect(fd, "more");
	part(fd);
	ck_assert_int_eq(saw.error, -NP_EEOF);
	ck_assert_int_eq(saw.result, 1);
	serve_end();
}
END_TEST

/* Of two that do the same, the one whose filter holds more than all may is ended. */
START_TEST(what_a_filter_says_it_holds_counts_for_memory_max)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = on_connect,
					      .on_request = serve_echo,
					      .on_close = on_close };
	const char all[] = { 'h', 'i', 'x' ^ TURN };
	int modest, greedy;

	serve(1, &h, NULL, NP_OPTS(np_server_opts, .tls = TURNED, .memory_max = 2 << 20));
	saw.holds = 1 << 10;
	modest = serve_connect(0);
	peer_send(modest, "hi", 2);
	expect_clear(modest, "yo");
	say(modest, "before");
	expect(modest, "before");

	saw.holds = 4 << 20;
	greedy = serve_connect(0);
	peer_send(greedy, all, sizeof all); /* at once: it may be reset behind the handshake */

	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -ENOBUFS);
	say(modest, "after");
	expect(modest, "after");
	peer_close(&greedy);
	part(modest);
	serve_end();
}
END_TEST

START_TEST(a_step_that_takes_long_is_made_by_another_thread)
{
	int fd;

	saw.wants_work = true;
	given(NULL);
	fd = serve_connect(0);
	peer_send(fd, "hi", 2);
	expect_clear(fd, "yo");
	ck_assert(saw.worked_elsewhere);
	say(fd, "ping");
	expect(fd, "ping");
	part(fd);
	serve_end();
}
END_TEST

START_TEST(fin_in_the_middle_is_told_from_the_filters_end)
{
	int fd;

	given(NULL);
	fd = serve_connect(0);
	peer_send(fd, "hi", 2);
	expect_clear(fd, "yo");
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_ECUT);
	serve_end();
}
END_TEST

START_TEST(what_the_filter_fails_with_is_why_the_connection_ends)
{
	int fd;

	saw.read_error = -NP_EVERIFY;
	given(NULL);
	fd = serve_connect(0);
	peer_send(fd, "hi", 2);
	expect_clear(fd, "yo");
	say(fd, "these bytes are thrown away, and do not become a reset");
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.error, -NP_EVERIFY);
	fd = serve_connect(0);
	peer_send(fd, "no", 2);
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 2);
	ck_assert_int_eq(saw.error, -NP_ETLS);
	ck_assert_int_eq(saw.connects, 1);
	serve_end();
}
END_TEST

START_TEST(without_a_filter_there_is_no_connection)
{
	int fd;

	saw.open_error = -ENOMEM;
	given(NULL);
	fd = serve_connect(0);
	peer_drain(fd);
	peer_close(&fd);
	ck_assert_int_eq(saw.closes, 0);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ later */

static int starts(struct np_conn *c, void *arg)
{
	struct np_linkbuf *rest = NULL;
	int fd = -1, r;

	if (np_conn_filter(c, &turner))
		return serve_echo(c, arg);
	r = np_conn_skip(c, 6);
	if (r == 0)
		r = np_conn_write(c, "go\n", 3);
	if (r == 0)
		r = np_conn_start_tls(c, TURNED, NULL);
	saw.result = r;
	if (r == 0) {
		ck_assert_int_eq(np_conn_start_tls(c, TURNED, NULL), -EALREADY);
		ck_assert_int_eq(np_conn_detach(c, &fd, &rest), -NP_EUNSUPPORTED);
	}
	return r;
}

START_TEST(bytes_behind_the_last_plain_one_are_the_filters)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = starts, .on_close = on_close };
	int fd;

	saw.result = 1;
	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "START\nhi", 8); /* one segment: nobody waits for "go" */
	expect_clear(fd, "go\nyo");
	say(fd, "covered");
	expect(fd, "covered");
	ck_assert_int_eq(saw.result, 0);
	part(fd);
	serve_end();
}
END_TEST

START_TEST(plain_bytes_behind_the_start_are_no_request)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = starts, .on_close = on_close };
	int fd;

	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "START\nDELETE everything\n", 24); /* injected by someone in between */
	expect_clear(fd, "go\n");
	peer_expect_eof(fd);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.result, -NP_ETLS);
	serve_end();
}
END_TEST

static int sends_file(struct np_conn *c, void *arg)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), r = np_conn_skip(c, np_conn_len(c));

	if (r == 0)
		r = np_conn_sendfile(c, fd, 0, 200000);
	close(fd);
	saw.result = r;
	return r;
}

static int on_prepare(struct np_conn *c, void *arg)
{
	return np_conn_start_tls(c, TURNED, NULL);
}

START_TEST(a_file_goes_through_the_filter_too)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_prepare = on_prepare,
				 .on_request = sends_file,
				 .on_close = on_close };
	static char want[200000], got[200000];
	int fd, exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(read(exe, want, sizeof want), sizeof want);
	close(exe);
	given(&h);
	fd = serve_connect(0);
	peer_send(fd, "hi", 2);
	expect_clear(fd, "yo");
	say(fd, "?");
	peer_recv(fd, got, sizeof got);
	for (size_t i = 0; i < sizeof got; i++)
		got[i] ^= TURN;
	ck_assert_mem_eq(got, want, sizeof want);
	part(fd);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "filter");

	tcase_add_test(t, input_that_the_filter_has_taken_is_served_without_an_edge);
	tcase_add_test(t, what_a_filter_says_it_holds_counts_for_memory_max);
	tcase_add_test(t, a_step_that_takes_long_is_made_by_another_thread);
	tcase_add_test(t, fin_in_the_middle_is_told_from_the_filters_end);
	tcase_add_test(t, what_the_filter_fails_with_is_why_the_connection_ends);
	tcase_add_test(t, without_a_filter_there_is_no_connection);
	tcase_add_test(t, bytes_behind_the_last_plain_one_are_the_filters);
	tcase_add_test(t, plain_bytes_behind_the_start_are_no_request);
	tcase_add_test(t, a_file_goes_through_the_filter_too);
}
