/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * move_set: two connections that belong together move as one, or not at all
 *
 * A relay of three pollers dials an echo server for each client and hands bytes on, both ways; a
 * byte 'm' of the client's asks for the next poller. Public headers only.
 */
#include <errno.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define POLLERS 3

struct side {
	struct np_conn *conn; /* a reference, until both have ended */
	struct side *other;
	bool client, away, ended;
};

static struct {
	_Atomic(int) left, arrived, closes, wrong, result, bound, apart;
	_Atomic(bool) dialed_moves, go_on, always, flows;
	char echo[64];
	struct np_server *echo_server;
} ut;

static int here(struct np_conn *c)
{
	return np_conn_poller(c);
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	struct side *s = np_conn_data(c);

	if (np_poller_self() != here(c) || s->away == !arrived)
		ut.wrong++;
	if (arrived && here(c) != here(s->other->conn))
		ut.apart++;
	s->away = !arrived;
	if (arrived)
		ut.arrived++;
	else
		ut.left++;
}

/* Bytes of a flow are always on their way: in a pipe, and in a handler that waits for room. */
static int flow(struct np_conn *c, struct side *s)
{
	int r = np_conn_forward(c, s->other->conn);

	if (s->client && r == 0)
		np_conn_move(c, (here(c) + 1) % POLLERS);
	return r;
}

static int relay(struct np_conn *c, void *arg)
{
	struct side *s = np_conn_data(c);
	size_t n = np_conn_len(c);
	const char *p;
	int r;

	if (ut.flows)
		return flow(c, s);
	r = np_conn_next(c, n, (const void **)&p);
	if (r < 0)
		return r;
	if (np_poller_self() != here(c) || here(c) != here(s->other->conn))
		ut.wrong++;
	if (ut.always || (*p == 'm' && s->client))
		ut.result =
			np_conn_move(ut.dialed_moves ? s->other->conn : c, (here(c) + 1) % POLLERS);
	r = np_conn_write(s->other->conn, p, n);
	r = r < 0 ? r : np_conn_flush(s->other->conn);
	while (s->client && *p == 'w' && !ut.go_on) /* the other side is quiet meanwhile */
		np_sleep(1);
	return r;
}

static void side_closed(struct np_conn *c, void *arg)
{
	struct side *s = np_conn_data(c);

	if (np_poller_self() != here(c))
		ut.wrong++;
	s->ended = true;
	ut.closes++;
	if (!s->other->ended) {
		np_conn_close(s->other->conn);
		return;
	}
	np_conn_unref(s->conn);
	np_conn_unref(s->other->conn);
	free(s->other);
	free(s);
}

static const struct np_handlers up_handlers = {
	.sz = sizeof up_handlers, .on_request = relay, .on_close = side_closed, .on_move = on_move
};
static const struct np_handlers up_that_stays = { .sz = sizeof up_that_stays,
						  .on_request = relay,
						  .on_close = side_closed };

/* A third one is of no set that there is. */
static void bind_a_third(struct np_conn *c, struct np_conn *up)
{
	struct np_conn *third;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0 ||
	    np_conn_from_fd(NULL, NP_HERE, &fd[0], NULL, NULL, &third) < 0) {
		ut.wrong++;
		return;
	}
	if (np_conn_bind(c, third) != -EBUSY || np_conn_bind(third, up) != -EBUSY)
		ut.wrong++;
	np_conn_close(third);
	if (np_conn_bind(third, c) != -NP_ECLOSED)
		ut.wrong++;
	np_conn_unref(third);
	close(fd[1]);
}

static int dial_up(struct np_conn *c, void *arg)
{
	const struct np_handlers *h = arg ? &up_that_stays : &up_handlers;
	struct side *mine, *its;
	struct np_conn *up;
	int r = np_dial(NULL, NP_HERE, "tcp", ut.echo, NP_OPTS(np_dial_opts, .handlers = h), &up);

	if (r < 0)
		return r;
	mine = calloc(1, sizeof *mine);
	its = calloc(1, sizeof *its);
	*mine = (struct side){ .conn = np_conn_ref(c), .other = its, .client = true };
	*its = (struct side){ .conn = up, .other = mine };
	np_conn_set_data(c, mine);
	np_conn_set_data(up, its);
	if (np_conn_move(up, here(c)) != -NP_EUNSUPPORTED) /* alone it stays */
		ut.wrong++;
	ut.bound = np_conn_bind(c, up);
	if (np_conn_bind(c, up) != 0 || np_conn_bind(c, c) != -EINVAL)
		ut.wrong++;
	if (np_conn_bind(up, NULL) != 0 || np_conn_move(up, here(c)) != -NP_EUNSUPPORTED ||
	    np_conn_bind(up, c) != 0)
		ut.wrong++;
	bind_a_third(c, up);
	return 0;
}

static const struct np_handlers relay_handlers = { .sz = sizeof relay_handlers,
						   .on_connect = dial_up,
						   .on_request = relay,
						   .on_close = side_closed,
						   .on_move = on_move };

/* @stays: the dialed sides have no on_move. */
static void given_relay(bool stays)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = serve_echo };

	serve(POLLERS, &relay_handlers, stays ? &ut : NULL, NULL);
	serve_at(&ut.echo_server, &h, NULL, NULL, "tcp", "127.0.0.1:0");
	snprintf(ut.echo, sizeof ut.echo, "%s", serve_address(ut.echo_server));
}

static void ends(int closes)
{
	AWAIT(ut.closes == closes);
	ck_assert_int_eq(ut.wrong, 0);
	ck_assert_int_eq(ut.apart, 0);
	serve_over(&ut.echo_server);
	serve_end();
}

START_TEST(both_sides_move_as_one_whichever_was_asked)
{
	int fd;

	given_relay(false);
	ut.dialed_moves = _i;
	fd = serve_connect(0);
	for (int i = 1; i <= 50; i++) {
		peer_echo(fd, 'm');
		AWAIT(ut.arrived == 2 * i);
		ck_assert_int_eq(ut.left, 2 * i);
		ck_assert_int_eq(ut.result, 0);
		peer_echo(fd, 'x');
	}
	ck_assert_int_eq(ut.bound, 0);
	peer_close(&fd);
	ends(2);
}
END_TEST

START_TEST(a_set_does_not_move_while_a_fiber_is_inside_one_side)
{
	int fd;

	given_relay(false);
	fd = serve_connect(0);
	peer_echo(fd, 'x');
	ut.always = true; /* the dialed side, which brings the byte back, asks for both */
	peer_echo(fd, 'w');
	for (int i = 0; i < 20; i++)
		test_pause();
	ck_assert_int_eq(ut.result, 0);
	ck_assert_int_eq(ut.left, 0);

	ut.go_on = true;
	AWAIT(ut.arrived == 2);
	peer_close(&fd);
	ends(2);
}
END_TEST

START_TEST(without_on_move_on_both_sides_a_set_stays)
{
	int fd;

	given_relay(true);
	fd = serve_connect(0);
	peer_echo(fd, 'm');
	ck_assert_int_eq(ut.result, -NP_EUNSUPPORTED);
	ck_assert_int_eq(ut.left, 0);
	peer_close(&fd);
	ends(2);
}
END_TEST

#define MANY  16
#define BYTES (256 * 1024)

static void *talk(void *arg)
{
	unsigned char *out = malloc(BYTES), *in = malloc(BYTES);
	unsigned seed = (unsigned)(uintptr_t)arg;
	int fd = serve_connect(0);

	for (unsigned i = 0; i < BYTES; i++)
		out[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
	for (unsigned at = 0, n; at < BYTES; at += n) {
		seed = seed * 1103515245u + 12345u;
		n = 1 + (seed >> 16) % 3000;
		n = n > BYTES - at ? BYTES - at : n;
		peer_send(fd, out + at, n);
		peer_recv(fd, in + at, n);
	}
	ck_assert_mem_eq(out, in, BYTES);
	peer_close(&fd);
	free(out);
	free(in);
	return NULL;
}

START_TEST(no_byte_is_lost_while_many_sets_move_all_the_time)
{
	pthread_t t[MANY];

	given_relay(false);
	ut.always = ut.go_on = true;
	for (int i = 0; i < MANY; i++)
		pthread_create(&t[i], NULL, talk, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < MANY; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_gt(ut.arrived, 0);
	ends(2 * MANY);
}
END_TEST

#define FLOW (64u << 20)

static void *flow_in(void *arg)
{
	static unsigned char some[1 << 16];

	for (size_t at = 0; at < FLOW; at += sizeof some) {
		for (size_t i = 0; i < sizeof some; i++)
			some[i] = (unsigned char)((at + i) * 7 + ((at + i) >> 12));
		peer_send(*(int *)arg, some, sizeof some);
	}
	return NULL;
}

START_TEST(a_flow_moves_all_the_time_and_loses_nothing)
{
	static unsigned char some[1 << 16];
	bool same = true;
	pthread_t t;
	int fd;

	ut.flows = true;
	given_relay(false);
	fd = serve_connect(0);
	pthread_create(&t, NULL, flow_in, &fd);
	for (size_t at = 0; at < FLOW; at += sizeof some) {
		peer_recv(fd, some, sizeof some);
		for (size_t i = 0; i < sizeof some; i++)
			same &= some[i] == (unsigned char)((at + i) * 7 + ((at + i) >> 12));
	}
	pthread_join(t, NULL);
	ck_assert(same);
	ck_assert_int_gt(ut.arrived, 0);
	peer_close(&fd);
	ends(2);
}
END_TEST

START_TEST(a_stop_in_the_middle_ends_each_once)
{
	int fd[MANY];

	given_relay(false);
	ut.always = true;
	for (int i = 0; i < MANY; i++) {
		fd[i] = serve_connect(0);
		peer_echo(fd[i], 'x');
	}
	for (int i = 0; i < MANY; i++)
		peer_send(fd[i], "y", 1);
	ck_assert_int_eq(np_server_stop(serve_server, 200, NULL), 0);
	for (int i = 0; i < MANY; i++)
		peer_close(&fd[i]);
	ends(2 * MANY);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "move_set");

	tcase_add_loop_test(t, both_sides_move_as_one_whichever_was_asked, 0, 2);
	tcase_add_test(t, a_set_does_not_move_while_a_fiber_is_inside_one_side);
	tcase_add_test(t, without_on_move_on_both_sides_a_set_stays);
	tcase_add_test(t, no_byte_is_lost_while_many_sets_move_all_the_time);
	tcase_add_test(t, a_flow_moves_all_the_time_and_loses_nothing);
	tcase_add_test(t, a_stop_in_the_middle_ends_each_once);
}
