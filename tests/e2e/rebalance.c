/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rebalance: hot connections that lie on one poller are spread, and an even load stays as it is
 *
 * All begin on the first of two pollers, wherever the kernel put them, or take turns. A request is
 * one byte: 'h' blocks the thread for 2 ms, 's' takes 200 us of its CPU, and others take nothing.
 * Public headers only.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define POLLERS   2
#define HOT       3
#define CONNS_MAX 32

static struct {
	_Atomic(int) conns, on[POLLERS], wrong;
	_Atomic(bool) over;
	_Atomic(unsigned) requests;
	bool even;
	struct np_server_opts opts;
} ut;

static uint64_t clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* So that they are there before the first request. */
static int on_connect(struct np_conn *c, void *arg)
{
	int n = ut.conns++, to = ut.even ? n % POLLERS : 0;

	if (np_conn_poller(c) == to)
		ut.on[to]++;
	else if (np_conn_move(c, to) < 0)
		ut.wrong++;
	return 0;
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	if (arrived)
		ut.on[np_conn_poller(c)]++;
	else if (!np_conn_data(c))
		np_conn_set_data(c, &ut);
	else
		ut.on[np_conn_poller(c)]--;
}

static int on_request(struct np_conn *c, void *arg)
{
	const char *p;
	int r = np_conn_next(c, 1, (const void **)&p);

	if (r < 0)
		return r;
	np_conn_set_data(c, &ut); /* it is counted where it is */
	if (*p == 'h')
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	for (uint64_t end = clock_us(CLOCK_THREAD_CPUTIME_ID) + 200;
	     *p == 's' && clock_us(CLOCK_THREAD_CPUTIME_ID) < end;)
		;
	ut.requests++;
	r = np_conn_write(c, p, 1);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers handlers = { .sz = sizeof handlers,
					     .on_connect = on_connect,
					     .on_request = on_request,
					     .on_move = on_move };

struct client {
	pthread_t thread;
	int fd;
	char request;
};

static struct client clients[CONNS_MAX];

static void *ask(void *arg)
{
	struct client *c = arg;
	char back;

	while (!ut.over) {
		peer_send(c->fd, &c->request, 1);
		peer_recv(c->fd, &back, 1);
	}
	return NULL;
}

/* @n of them, all at work; the first @hot ask for @request. */
static void given_clients(int n, int hot, char request)
{
	int on = 0;

	for (int i = 0; i < n; i++) {
		clients[i] = (struct client){ .fd = serve_connect(0),
					      .request = i < hot ? request : 'x' };
		AWAIT(ut.conns == i + 1);
	}
	AWAIT((on = ut.on[0] + ut.on[1]) == n);
	for (int i = 0; i < hot; i++)
		pthread_create(&clients[i].thread, NULL, ask, &clients[i]);
}

static void ends(int n, int hot)
{
	ut.over = true;
	for (int i = 0; i < hot; i++)
		pthread_join(clients[i].thread, NULL);
	for (int i = 0; i < n; i++)
		peer_close(&clients[i].fd);
	ck_assert_int_eq(ut.wrong, 0);
	serve_end();
}

START_TEST(hot_connections_on_one_poller_are_spread)
{
	serve(POLLERS, &handlers, NULL, NP_OPTS(np_server_opts, .rebalance = 10));
	given_clients(20, HOT, 'h');
	AWAIT(ut.on[1] >= 1);

	ck_assert_uint_ge(serve_stats(serve_server).rebalanced, 1);
	ck_assert_uint_gt(serve_stats(serve_server).moved, 0);
	ck_assert_int_lt(ut.on[1], HOT); /* nor are they all there now */
	ends(20, HOT);
}
END_TEST

START_TEST(an_even_load_moves_nothing)
{
	ut.even = true;
	serve(POLLERS, &handlers, NULL, NP_OPTS(np_server_opts, .rebalance = -1));
	given_clients(8, 8, 's');
	/* more than a second of two CPUs: a dozen decisions of each */
	for (unsigned thousands = 1; thousands <= 6; thousands++)
		AWAIT(ut.requests > thousands * 1000);

	ck_assert_uint_eq(serve_stats(serve_server).rebalanced, 0);
	ends(8, 8);
}
END_TEST

START_TEST(it_is_off_unless_it_is_asked_for)
{
	serve(POLLERS, &handlers, NULL, NULL);
	given_clients(HOT, HOT, 'h');
	AWAIT(ut.requests > 500);

	ck_assert_int_eq(ut.on[0], HOT);
	ck_assert_uint_eq(serve_stats(serve_server).rebalanced, 0);
	ends(HOT, HOT);
}
END_TEST

START_TEST(it_needs_on_move)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = on_request };
	struct np_server *s;

	ck_assert_int_eq(np_server_new(NULL, &h, NULL, NP_OPTS(np_server_opts, .rebalance = 1), &s),
			 -EINVAL);
	ck_assert_int_eq(np_server_new(NULL, &handlers, NULL,
				       NP_OPTS(np_server_opts, .rebalance = -2), &s),
			 -EINVAL);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "rebalance");

	tcase_add_test(t, hot_connections_on_one_poller_are_spread);
	tcase_add_test(t, an_even_load_moves_nothing);
	tcase_add_test(t, it_is_off_unless_it_is_asked_for);
	tcase_add_test(t, it_needs_on_move);
}
