/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * grace: what a drain tells connections, and how long a stop waits for each. Public headers only.
 *
 * The server answers lines: "keep", or "last" and a close where it drains.
 */
#include <errno.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <netpoll/sync.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/log.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define SHORT_MS 100

static struct np_server *server;
static struct sockaddr_storage at;
static socklen_t at_len;
static struct np_event *let_go;
static _Atomic(unsigned) told, inside;
static _Atomic(struct np_conn *) held;

/* ------------------------------------------------------------------ handlers */

static int reply(struct np_conn *c)
{
	bool last = np_conn_draining(c);
	int r = np_conn_write(c, last ? "last\n" : "keep\n", 5);

	if (r == 0)
		r = np_conn_flush(c);
	return r == 0 && last ? np_conn_close(c) : r;
}

static int answers(struct np_conn *c, void *arg)
{
	const void *line;
	size_t n;
	int r = np_conn_until(c, '\n', 100, &line, &n);

	return r < 0 ? r : reply(c);
}

/* Holds no stack while it waits for the rest of a line. */
static int answers_and_wants(struct np_conn *c, void *arg)
{
	const char *p;
	size_t n = np_conn_len(c);

	if (np_conn_peek(c, n, (const void **)&p) < 0)
		return -EPROTO;
	if (p[n - 1] != '\n')
		return np_conn_want(c, n + 1);
	np_conn_skip(c, n);
	return reply(c);
}

static int (*const readers[])(struct np_conn *, void *) = { answers, answers_and_wants };

/* Its protocol has no last answer. */
static int answers_always(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c));

	if (r == 0)
		r = np_conn_write(c, "keep\n", 5);
	return r < 0 ? r : np_conn_flush(c);
}

static int waits_and_answers(struct np_conn *c, void *arg)
{
	inside++;
	np_event_wait(let_go, 0);
	inside--;
	return answers(c, arg);
}

static int waits_to_connect(struct np_conn *c, void *arg)
{
	inside++;
	np_event_wait(let_go, 0);
	return 0;
}

static int is_held(struct np_conn *c, void *arg)
{
	np_conn_hold(c);
	held = np_conn_ref(c);
	return np_conn_skip(c, np_conn_len(c));
}

static void unhold(struct np_conn *c, void *arg)
{
	reply(c);
	np_conn_unhold(c);
}

static int closes(struct np_conn *c, void *arg)
{
	return np_conn_close(c);
}

static void say_goodbye(struct np_conn *c, void *arg)
{
	struct np_linkbuf *b;

	told++;
	ck_assert(np_conn_draining(c));
	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write(b, "bye!\n", 5), 0);
	ck_assert_int_eq(np_conn_send(c, &b), 0);
	np_linkbuf_free(&b);
}

/* ------------------------------------------------------------------ given, when, then */

static struct np_handlers h;
static struct np_server_opts o;

static void setup(void)
{
	np_handlers_init(&h);
	np_server_opts_init(&o);
	h.on_request = answers;
	ck_assert_int_eq(np_event_new(&let_go), 0);
	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .pin = NP_OFF, .log = keep_log));
}

static void teardown(void)
{
	serve_over(&server);
	if (held)
		np_conn_unref(held);
	end_pollers();
	np_event_free(&let_go);
}

static void given_server_at(const char *network, const char *address)
{
	serve_at(&server, &h, NULL, &o, network, address ? address : own_unix_name());
	ck_assert_int_eq(np_server_addr(server, 0, &at, &at_len), 0);
}

static void given_server(void)
{
	given_server_at("tcp", "127.0.0.1:0");
}

/* The server has it. */
static int given_fresh(void)
{
	uint64_t before = serve_stats(server).accepted;
	int fd = peer_connect(&at, at_len);

	AWAIT(serve_stats(server).accepted == before + 1);
	return fd;
}

static void expects(int fd, const char *answer)
{
	char got[6] = "";

	peer_recv(fd, got, 5);
	ck_assert_str_eq(got, answer);
}

static void asks(int fd, const char *answer)
{
	peer_send(fd, "ask\n", 4);
	expects(fd, answer);
}

static int given_used(void)
{
	int fd = given_fresh();

	asks(fd, "keep\n");
	return fd;
}

static void ends(int *fd)
{
	peer_expect_eof(*fd);
	peer_close(fd);
}

static struct {
	pthread_t thread;
	int timeout_ms, result;
	unsigned forced;
} stop;

static void *stop_it(void *arg)
{
	stop.result = np_server_stop(server, stop.timeout_ms, &stop.forced);
	return NULL;
}

static bool refuses(void)
{
	int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect(fd, (struct sockaddr *)&at, at_len);

	close(fd);
	return r < 0;
}

/* Its listeners are shut: the time of connections has begun. */
static void when_it_stops(int timeout_ms)
{
	stop.timeout_ms = timeout_ms;
	ck_assert_int_eq(pthread_create(&stop.thread, NULL, stop_it, NULL), 0);
	AWAIT(refuses());
}

static void stop_is_done(void)
{
	pthread_join(stop.thread, NULL);
	ck_assert_int_eq(stop.result, 0);
	ck_assert_uint_eq(stop.forced, 0);
}

static void counted(uint64_t drained, uint64_t fresh, uint64_t raced)
{
	struct np_server_stats st = serve_stats(server);

	ck_assert_uint_eq(st.drained, drained);
	ck_assert_uint_eq(st.fresh, fresh);
	ck_assert_uint_eq(st.raced, raced);
}

/* ------------------------------------------------------------------ a stop waits */

START_TEST(a_request_on_its_way_when_the_stop_comes_is_answered)
{
	int fd;

	given_server();
	fd = given_fresh();
	when_it_stops(AWAIT_MS);
	asks(fd, "last\n");
	ends(&fd);
	stop_is_done();
	counted(0, 0, 0);
}
END_TEST

START_TEST(the_next_request_of_a_kept_connection_gets_the_last_answer)
{
	int fd;

	given_server();
	fd = given_used();
	when_it_stops(AWAIT_MS);
	asks(fd, "last\n");
	ends(&fd);
	stop_is_done();
	counted(0, 0, 0);
}
END_TEST

static const struct {
	const char *network, *address;
} places[] = { { "tcp", "127.0.0.1:0" }, { "unix", NULL } };

START_TEST(a_fresh_connection_that_says_nothing_ends_with_FIN_at_its_time)
{
	int fd;

	o.fresh_ms = SHORT_MS;
	o.drain_ms = -1;
	given_server_at(places[_i].network, places[_i].address);
	fd = given_fresh();
	when_it_stops(0);
	ends(&fd);
	stop_is_done();
	counted(0, 1, 0);
}
END_TEST

START_TEST(a_kept_connection_that_says_nothing_ends_with_FIN_at_its_time)
{
	int fd;

	o.fresh_ms = -1;
	o.drain_ms = SHORT_MS;
	given_server_at(places[_i].network, places[_i].address);
	fd = given_used();
	when_it_stops(0);
	ends(&fd);
	stop_is_done();
	counted(1, 0, 0);
}
END_TEST

START_TEST(the_stops_timeout_caps_both_and_leaves_time_for_FIN)
{
	int fresh, used;

	o.fresh_ms = o.drain_ms = -1;
	given_server();
	fresh = given_fresh();
	used = given_used();
	when_it_stops(2000);
	ends(&fresh);
	ends(&used);
	stop_is_done();
	counted(1, 1, 0);
}
END_TEST

/* One answer more does not end it: its moment does. */
START_TEST(a_handler_that_knows_of_no_drain_serves_until_the_time_is_up)
{
	int fd, n = 0;
	char answer[5];

	h.on_request = answers_always;
	o.drain_ms = 10 * SHORT_MS; /* time for one answer at least */
	given_server();
	fd = given_used();
	when_it_stops(AWAIT_MS);
	asks(fd, "keep\n");
	/* until it is closed: the last of these may be what came too late */
	while (send(fd, "ask\n", 4, MSG_NOSIGNAL) == 4 && recv(fd, answer, 5, MSG_WAITALL) == 5)
		n++;
	peer_close(&fd);
	stop_is_done();
	ck_assert_uint_eq(serve_stats(server).drained, 1);
	printf("%d answers while it stopped\n", n);
}
END_TEST

START_TEST(what_a_final_close_races_is_counted_once)
{
	int fd;

	o.drain_ms = 1;
	given_server();
	fd = given_used();
	when_it_stops(AWAIT_MS);
	peer_expect_eof(fd);
	peer_send(fd, "late\n", 5);
	AWAIT(serve_stats(server).raced == 1);
	peer_send(fd, "late\n", 5);
	peer_close(&fd);
	stop_is_done();
	counted(1, 0, 1);
}
END_TEST

static _Atomic(unsigned) unanswered;

/* Asks all the time, unless it is closed by then. */
static void *keeps_asking(void *arg)
{
	int fd = *(int *)arg;
	char answer[5];

	while (recv(fd, answer, 1, MSG_PEEK | MSG_DONTWAIT) != 0) {
		if (send(fd, "ask\n", 4, MSG_NOSIGNAL) == 4 &&
		    recv(fd, answer, 5, MSG_WAITALL) == 5)
			continue;
		unanswered++;
		break;
	}
	close(fd);
	return NULL;
}

START_TEST(what_was_raced_is_what_the_peers_have_lost)
{
	enum { PEERS = 16 };
	pthread_t threads[PEERS];
	int fds[PEERS];

	h.on_request = answers_always;
	o.drain_ms = 4 * SHORT_MS;
	given_server();
	for (int i = 0; i < PEERS; i++)
		fds[i] = given_used();
	for (int i = 0; i < PEERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, keeps_asking, &fds[i]), 0);
	when_it_stops(AWAIT_MS);
	for (int i = 0; i < PEERS; i++)
		pthread_join(threads[i], NULL);
	stop_is_done();
	printf("%u of %d raced\n", unanswered, PEERS);
	counted(PEERS, 0, unanswered);
}
END_TEST

/* Of a machine that stands still meanwhile nothing can be said: then once more. */
START_TEST(the_final_closes_are_spread)
{
	enum { PEERS = 64, DRAIN_MS = 800 };
	struct pollfd fds[PEERS];
	bool spread = false;

	o.drain_ms = DRAIN_MS;
	for (int try = 0; try < 10 && !spread; try++) {
		uint64_t first = 0, last = 0;

		given_server();
		for (int i = 0; i < PEERS; i++)
			fds[i] = (struct pollfd){ .fd = given_used(), .events = POLLIN };
		when_it_stops(AWAIT_MS);
		for (int left = PEERS; left;) {
			ck_assert_int_gt(poll(fds, PEERS, AWAIT_MS), 0);
			last = now_ms();
			first = first ? first : last;
			for (int i = 0; i < PEERS; i++) {
				if (fds[i].fd < 0 || !fds[i].revents)
					continue;
				ends(&fds[i].fd);
				left--;
			}
		}
		stop_is_done();
		counted(PEERS, 0, 0);
		ck_assert_int_eq(np_server_free(&server), 0);
		spread = last - first >= DRAIN_MS / 8;
		printf("%d closes within %d ms\n", PEERS, (int)(last - first));
	}
	ck_assert(spread);
}
END_TEST

/* ------------------------------------------------------------------ peers that hold it up */

START_TEST(a_peer_that_drips_does_not_hold_up_a_stop)
{
	struct pollfd p = { .events = POLLIN };

	h.on_request = readers[_i];
	o.fresh_ms = SHORT_MS;
	given_server();
	p.fd = given_fresh();
	peer_send(p.fd, "d", 1);
	when_it_stops(0);
	while (poll(&p, 1, 5) == 0)
		peer_send(p.fd, "d", 1);
	ends(&p.fd);
	stop_is_done();
	ck_assert_uint_eq(serve_stats(server).fresh, 1);
}
END_TEST

START_TEST(a_request_that_is_here_in_part_gets_the_time_of_a_fresh_one)
{
	int fd;

	h.on_request = readers[_i];
	o.drain_ms = 1;
	given_server();
	fd = given_used();
	peer_send(fd, "as", 2);
	when_it_stops(AWAIT_MS);
	/* a turn of the poller has passed since */
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, SHORT_MS), 0);
	peer_send(fd, "k\n", 2);
	expects(fd, "last\n");
	ends(&fd);
	stop_is_done();
	counted(0, 0, 0);
}
END_TEST

START_TEST(a_half_closed_peer_is_answered_and_not_waited_for)
{
	int asked, silent;

	h.on_request = waits_and_answers;
	o.half_open = true;
	o.fresh_ms = o.drain_ms = -1;
	given_server();
	silent = given_fresh();
	shutdown(silent, SHUT_WR);
	asked = given_fresh();
	peer_send(asked, "ask\n", 4);
	shutdown(asked, SHUT_WR);
	AWAIT(inside == 1);
	when_it_stops(0);
	ends(&silent);
	np_event_set(let_go);
	expects(asked, "last\n");
	ends(&asked);
	stop_is_done();
}
END_TEST

START_TEST(a_connection_that_is_held_is_at_work)
{
	int fd;

	h.on_request = is_held;
	o.fresh_ms = o.drain_ms = 1;
	given_server();
	fd = given_fresh();
	peer_send(fd, "ask\n", 4);
	AWAIT(held);
	when_it_stops(AWAIT_MS);
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, SHORT_MS), 0);
	np_conn_post(held, unhold, NULL);
	expects(fd, "last\n");
	ends(&fd);
	stop_is_done();
}
END_TEST

START_TEST(a_second_stop_hurries_the_first)
{
	int fresh, used;
	unsigned forced;

	o.fresh_ms = o.drain_ms = -1;
	given_server();
	fresh = given_fresh();
	used = given_used();
	when_it_stops(0);
	ck_assert_int_eq(np_server_stop(server, 5 * SHORT_MS, &forced), 0);
	peer_expect_eof(fresh);
	peer_expect_eof(used);
	peer_close(&fresh);
	peer_close(&used);
	pthread_join(stop.thread, NULL);
	ck_assert_int_eq(stop.result, 0);
	counted(1, 1, 0);
}
END_TEST

/* ------------------------------------------------------------------ a drain */

START_TEST(a_drain_goes_on_serving_and_says_so)
{
	int fd, later;

	given_server_at(places[_i].network, places[_i].address);
	fd = given_used();
	ck_assert_int_eq(np_server_drain(server), 0);
	ck_assert_int_eq(np_server_drain(server), 0);
	later = given_fresh();
	asks(later, "last\n");
	ends(&later);
	asks(fd, "last\n");
	ends(&fd);
	ck_assert_int_eq(np_server_free(&server), -EBUSY);

	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	ck_assert_int_eq(np_server_drain(server), 0);
	counted(0, 0, 0);
}
END_TEST

START_TEST(a_drain_closes_nothing)
{
	int fd;

	o.fresh_ms = o.drain_ms = 1;
	given_server();
	fd = given_fresh();
	ck_assert_int_eq(np_server_drain(server), 0);
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, SHORT_MS), 0);
	asks(fd, "last\n");
	ends(&fd);
}
END_TEST

/* The time of a kept one began with the drain, that of a fresh one begins with the stop. */
START_TEST(a_stop_behind_a_drain_waits_for_fresh_ones_only)
{
	int fresh, used;

	h.on_request = answers_always;
	o.drain_ms = 1;
	given_server();
	used = given_used();
	fresh = given_fresh();
	ck_assert_int_eq(np_server_drain(server), 0);
	asks(used, "keep\n");
	when_it_stops(AWAIT_MS);
	ends(&used);
	asks(fresh, "keep\n");
	ends(&fresh);
	stop_is_done();
	counted(2, 0, 0);
}
END_TEST

static _Atomic(int) from_poller;

static void drain_here(void *arg)
{
	from_poller = np_server_drain(server);
}

START_TEST(a_drain_is_refused_where_it_makes_no_sense)
{
	ck_assert_int_eq(np_server_new(pollers, &h, NULL, &o, &server), 0);
	ck_assert_int_eq(np_server_drain(server), -EINVAL);
	ck_assert_str_eq(np_server_error(server),
			 "the server has not started: there is nothing to drain");
	ck_assert_int_eq(np_post(pollers, 0, drain_here, NULL), 0);
	AWAIT(from_poller == -EDEADLK);
}
END_TEST

static _Atomic(bool) keep;

static void keep_thread(void *arg)
{
	while (keep)
		;
}

START_TEST(what_is_queued_at_a_drain_is_accepted_and_served)
{
	enum { QUEUED = 300 };
	static int fds[QUEUED];

	given_server_at(places[_i].network, places[_i].address);
	keep = true;
	ck_assert_int_eq(np_post(pollers, 0, keep_thread, NULL), 0);
	for (int i = 0; i < QUEUED; i++)
		fds[i] = peer_connect(&at, at_len);
	ck_assert_int_eq(np_server_drain(server), 0);
	keep = false;
	for (int i = 0; i < QUEUED; i++) {
		asks(fds[i], "last\n");
		ends(&fds[i]);
	}
}
END_TEST

START_TEST(a_drain_while_a_handler_waits_is_seen_by_it)
{
	int fd;

	h.on_request = waits_and_answers;
	given_server();
	fd = given_fresh();
	peer_send(fd, "ask\n", 4);
	AWAIT(inside == 1);
	ck_assert_int_eq(np_server_drain(server), 0);
	np_event_set(let_go);
	expects(fd, "last\n");
	ends(&fd);
}
END_TEST

/* ------------------------------------------------------------------ on_drain */

START_TEST(on_drain_comes_once_to_each_and_to_those_that_begin_later)
{
	int fresh, used, later;

	h.on_drain = say_goodbye;
	given_server();
	fresh = given_fresh();
	used = given_used();
	ck_assert_int_eq(np_server_drain(server), 0);
	expects(fresh, "bye!\n");
	expects(used, "bye!\n");
	later = given_fresh();
	expects(later, "bye!\n");
	ck_assert_int_eq(np_server_drain(server), 0);
	asks(fresh, "last\n");
	asks(used, "last\n");
	asks(later, "last\n");
	ends(&fresh);
	ends(&used);
	ends(&later);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	ck_assert_uint_eq(told, 3);
}
END_TEST

START_TEST(on_drain_comes_while_a_handler_waits)
{
	int fd;

	h.on_request = waits_and_answers;
	h.on_drain = say_goodbye;
	given_server();
	fd = given_fresh();
	peer_send(fd, "ask\n", 4);
	AWAIT(inside == 1);
	ck_assert_int_eq(np_server_drain(server), 0);
	expects(fd, "bye!\n");
	ck_assert_uint_eq(inside, 1);
	np_event_set(let_go);
	expects(fd, "last\n");
	ends(&fd);
}
END_TEST

START_TEST(on_drain_waits_for_the_end_of_on_connect)
{
	int fd;

	h.on_connect = waits_to_connect;
	h.on_drain = say_goodbye;
	given_server();
	fd = given_fresh();
	AWAIT(inside == 1);
	ck_assert_int_eq(np_server_drain(server), 0);
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, SHORT_MS), 0);
	ck_assert_uint_eq(told, 0);
	np_event_set(let_go);
	expects(fd, "bye!\n");
	asks(fd, "last\n");
	ends(&fd);
}
END_TEST

/* It lingers until the peer closes, too. */
START_TEST(a_connection_that_is_closing_is_not_told)
{
	int fd, other;

	h.on_request = closes;
	h.on_drain = say_goodbye;
	o.linger_ms = -1;
	given_server();
	fd = given_fresh();
	other = given_fresh();
	peer_send(fd, "ask\n", 4);
	peer_expect_eof(fd);
	ck_assert_int_eq(np_server_drain(server), 0);
	expects(other, "bye!\n");
	ck_assert_uint_eq(told, 1);
	peer_close(&other);
	peer_close(&fd);
	ck_assert_int_eq(np_server_stop(server, AWAIT_MS, NULL), 0);
	counted(0, 0, 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *tc = add_case(s, "grace");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 2 * AWAIT_MS / 1000);
	tcase_add_test(tc, a_request_on_its_way_when_the_stop_comes_is_answered);
	tcase_add_test(tc, the_next_request_of_a_kept_connection_gets_the_last_answer);
	tcase_add_loop_test(tc, a_fresh_connection_that_says_nothing_ends_with_FIN_at_its_time, 0,
			    2);
	tcase_add_loop_test(tc, a_kept_connection_that_says_nothing_ends_with_FIN_at_its_time, 0,
			    2);
	tcase_add_test(tc, the_stops_timeout_caps_both_and_leaves_time_for_FIN);
	tcase_add_test(tc, a_handler_that_knows_of_no_drain_serves_until_the_time_is_up);
	tcase_add_test(tc, what_a_final_close_races_is_counted_once);
	tcase_add_test(tc, what_was_raced_is_what_the_peers_have_lost);
	tcase_add_test(tc, the_final_closes_are_spread);
	tcase_add_loop_test(tc, a_peer_that_drips_does_not_hold_up_a_stop, 0, 2);
	tcase_add_loop_test(tc, a_request_that_is_here_in_part_gets_the_time_of_a_fresh_one, 0, 2);
	tcase_add_test(tc, a_half_closed_peer_is_answered_and_not_waited_for);
	tcase_add_test(tc, a_connection_that_is_held_is_at_work);
	tcase_add_test(tc, a_second_stop_hurries_the_first);
	tcase_add_loop_test(tc, a_drain_goes_on_serving_and_says_so, 0, 2);
	tcase_add_test(tc, a_drain_closes_nothing);
	tcase_add_test(tc, a_stop_behind_a_drain_waits_for_fresh_ones_only);
	tcase_add_test(tc, a_drain_is_refused_where_it_makes_no_sense);
	tcase_add_loop_test(tc, what_is_queued_at_a_drain_is_accepted_and_served, 0, 2);
	tcase_add_test(tc, a_drain_while_a_handler_waits_is_seen_by_it);
	tcase_add_test(tc, on_drain_comes_once_to_each_and_to_those_that_begin_later);
	tcase_add_test(tc, on_drain_comes_while_a_handler_waits);
	tcase_add_test(tc, on_drain_waits_for_the_end_of_on_connect);
	tcase_add_test(tc, a_connection_that_is_closing_is_not_told);
}
