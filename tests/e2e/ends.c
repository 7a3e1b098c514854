/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ends: {ways to end} x {states of the input} x {what is out}: the bytes that the peer gets, then FIN or RST
 *
 * All cases are connections of one server at one time. The handler builds its case up, waits for the word, and ends
 * it. Peers either read from the word on, or not before on_close: then part of a large output is lost.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/pollers.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define SMALL   1000u
#define LARGE   (16u << 20) /* more than all buffers of the kernel on a way */
#define IN_HIGH 4096u
#define INT_MAX_RATE (1 << 30)

enum way { CLOSE, FAIL, IDLE, REQUEST, TIMED_OUT, ABORT, WAYS };
enum input { EMPTY, UNREAD, FULL, PAUSED, INPUTS };
enum output { NONE, ALL, TAKEN, STALLED, OUTPUTS }; /* nothing; small; large and read; large and not read */

static const char *const way_names[] = { "close", "handler < 0", "idle", "request timeout", "write timeout", "abort" };
static const char *const input_names[] = { "empty", "unread", "full", "paused" };
static const char *const output_names[] = { "no output", "all out", "large, taken", "large, stalled" };

struct end {
	enum way way;
	enum input input;
	enum output output;
	int fd;
	_Atomic(bool) ready, closed;
	_Atomic(int) why;
	size_t got;
	int last; /* of the peer's reads: 0 FIN, or an errno */
	bool over;
};

static struct end ends[WAYS * INPUTS * OUTPUTS];
static int n_ends;
static _Atomic(bool) go;
static char *large;

static size_t size_of(const struct end *e)
{
	return e->output == NONE ? 0 : e->output == ALL ? SMALL : LARGE;
}

/* ------------------------------------------------------------------ the table */

/* A write timeout needs a peer that does not read, a request timeout a request. */
static bool makes_sense(const struct end *e)
{
	if (e->way == TIMED_OUT)
		return e->output == STALLED;
	return e->way != REQUEST || e->input == UNREAD || e->input == FULL;
}

static bool expects_reset(const struct end *e)
{
	return e->way == ABORT || e->output == STALLED;
}

static bool expects_all(const struct end *e)
{
	return !expects_reset(e);
}

static int expected_why(const struct end *e)
{
	switch (e->way) {
	case FAIL:
		return -EPROTO;
	case IDLE:
	case REQUEST:
		return -ETIMEDOUT;
	case TIMED_OUT:
		return -NP_EWRITETIMEOUT;
	case CLOSE:
		return e->output == STALLED ? -NP_EWRITETIMEOUT : -NP_ECLOSED;
	default:
		return -NP_ECLOSED;
	}
}

/* ------------------------------------------------------------------ this side */

static int end_it(struct np_conn *c, const struct end *e)
{
	switch (e->way) {
	case CLOSE:
		return np_conn_close(c);
	case FAIL:
		return -EPROTO;
	case IDLE:
		return np_conn_set_idle_timeout(c, 50);
	case REQUEST:
		return np_conn_set_request_timeout(c, 50);
	case TIMED_OUT:
		np_conn_set_write_timeout(c, 50);
		return np_conn_sync(c);
	case ABORT:
		return np_conn_abort(c);
	default:
		return -EINVAL;
	}
}

static int on_request(struct np_conn *c, void *arg)
{
	const unsigned char *index;
	struct end *e;
	int r;

	if (np_conn_data(c))
		return 0; /* the rest of its input stays unread */
	r = np_conn_next(c, 1, (const void **)&index);
	if (r < 0)
		return r;
	e = &ends[*index];
	np_conn_set_data(c, e);
	if (e->input == PAUSED)
		np_conn_pause_read(c);
	if (size_of(e))
		r = np_conn_write_ref(c, large, size_of(e), NULL, NULL);
	if (r == 0)
		r = np_conn_flush(c);
	e->ready = true;
	while (!go)
		np_sleep(1);
	return r < 0 ? r : end_it(c, e);
}

static void on_close(struct np_conn *c, void *arg)
{
	struct end *e = np_conn_data(c);

	if (!e)
		return;
	e->why = np_conn_error(c);
	e->closed = true;
}

/* ------------------------------------------------------------------ the other side */

static void begin(struct end *e)
{
	static const size_t more[INPUTS] = { 0, 100, 8 * IN_HIGH, 100 };
	static char rest[8 * IN_HIGH];
	unsigned char index = (unsigned char)(e - ends);

	e->fd = serve_connect(0);
	peer_send(e->fd, &index, 1);
	if (e->input == PAUSED)
		AWAIT(e->ready);
	peer_send(e->fd, rest, more[e->input]);
}

/* Some of what there is, until the end: no peer keeps the others from their turn. */
static void read_on(struct end *e)
{
	static char got[256 * 1024];
	size_t turn = sizeof got;
	ssize_t n;

	while (turn && (n = recv(e->fd, got, turn, MSG_DONTWAIT)) > 0) {
		if (e->got + (size_t)n > LARGE || memcmp(got, large + e->got, (size_t)n))
			ck_abort_msg("not the bytes that were sent");
		e->got += (size_t)n;
		turn -= (size_t)n;
	}
	if (!turn || (n < 0 && errno == EAGAIN))
		return;
	e->last = n < 0 ? errno : 0;
	e->over = true;
	peer_close(&e->fd);
}

static bool all_over(void)
{
	bool over = true;

	for (int i = 0; i < n_ends; i++) {
		struct end *e = &ends[i];

		if (!e->over && (e->output != STALLED || e->closed))
			read_on(e);
		over &= e->over && e->closed;
	}
	return over;
}

static int wrong(const struct end *e)
{
	bool reset = e->last == ECONNRESET;

	if (reset == expects_reset(e) && e->why == expected_why(e) && (!expects_all(e) || e->got == size_of(e)) &&
	    (reset || e->last == 0))
		return 0;
	fprintf(stderr, "%s, input %s, %s: %zu of %zu bytes, then %s; np_conn_error() %d, not %d\n", way_names[e->way],
		input_names[e->input], output_names[e->output], e->got, size_of(e), e->last ? strerror(e->last) : "FIN",
		e->why, expected_why(e));
	return 1;
}

static void given_the_table(void)
{
	struct end e = { 0 };

	for (e.way = 0; e.way < WAYS; e.way++)
		for (e.input = 0; e.input < INPUTS; e.input++)
			for (e.output = 0; e.output < OUTPUTS; e.output++)
				if (makes_sense(&e)) {
					ends[n_ends].way = e.way;
					ends[n_ends].input = e.input;
					ends[n_ends++].output = e.output;
				}
	large = malloc(LARGE);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)(i * 7 + (i >> 12));
}

START_TEST(the_peer_gets_what_the_table_says_and_np_conn_error_too)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = on_request, .on_close = on_close };
	struct np_server_stats st = { .sz = sizeof st };
	int bad = 0, stalled = 0;

	given_the_table();
	serve(2, &h, NULL, NP_OPTS(np_server_opts, .in_high = IN_HIGH, .out_high = 2 * LARGE, .linger_ms = under_tsan() ? 6000 : 1500,
				   .min_rate = INT_MAX_RATE));
	for (int i = 0; i < n_ends; i++)
		begin(&ends[i]);
	for (int i = 0; i < n_ends; i++)
		AWAIT(ends[i].ready);
	go = true;
	AWAIT(all_over());
	for (int i = 0; i < n_ends; i++) {
		bad += wrong(&ends[i]);
		stalled += ends[i].output == STALLED;
	}
	ck_assert_int_eq(bad, 0);
	AWAIT(serve_conns() == 0);
	ck_assert_int_eq(np_server_stats(serve_server, &st), 0);
	ck_assert_uint_ge(st.cut, (unsigned)stalled);
	serve_end();
	free(large);
}
END_TEST

/* ------------------------------------------------------------------ a stop */

static int flush_and_wait(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c));

	if (r == 0)
		r = np_conn_write_ref(c, large, LARGE, NULL, NULL);
	if (r == 0)
		r = np_conn_flush(c);
	ends[0].ready = true;
	while (r == 0)
		r = np_sleep(1000);
	ends[0].why = np_conn_error(c);
	return r;
}

START_TEST(a_forced_stop_resets_where_bytes_are_left)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = flush_and_wait };
	struct end *e = &ends[0];
	unsigned forced = 0;

	given_the_table();
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .out_high = 2 * LARGE));
	e->fd = serve_connect(0);
	peer_send(e->fd, "?", 1);
	AWAIT(e->ready);
	ck_assert_int_eq(np_server_stop(serve_server, 50, &forced), 0);
	ck_assert_uint_eq(forced, 1);
	AWAIT((read_on(e), e->over));
	ck_assert_int_eq(e->last, ECONNRESET);
	ck_assert_int_eq(e->why, -NP_ECLOSED);
	serve_end();
	free(large);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ends");
	TCase *t = tcase_create("table");

	tcase_add_test(t, the_peer_gets_what_the_table_says_and_np_conn_error_too);
	tcase_add_test(t, a_forced_stop_resets_where_bytes_are_left);
	suite_add_tcase(s, t);
	return run_suite(s);
}
