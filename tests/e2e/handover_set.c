/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handover_set: a proxy's two connections go to the next process as one, and neither end notices
 *
 * The test is the client, and the upstream. What a process that misbehaves is told stands in
 * tests/handover_frames.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/status.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/handover.h"
#include "support/peer.h"
#include "support/test.h"

#define MANY 40

static struct child old, next;
static struct hand_facts facts;
static char where[32], upstream[32];
static int listener, client[MANY + 1], up[MANY + 1];

/* ------------------------------------------------------------------ given */

static void given(struct hand_opts o, struct hand_opts n)
{
	snprintf(where, sizeof where, "@np-pairs-%d", (int)getpid());
	listener = peer_listen(upstream, sizeof upstream);
	o.upstream = n.upstream = upstream;
	hand_old(&old, &o, &facts);
	hand_new(&next, &n);
}

static void limit_time(int fd)
{
	struct timeval t = { .tv_sec = AWAIT_MS / 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static void goes_through(int from, int to)
{
	char back[3] = "";

	peer_send(from, "abc", 3);
	peer_recv(to, back, 3);
	ck_assert_mem_eq(back, "abc", 3);
}

static void given_pair(int i)
{
	client[i] = peer_connect(&facts.ss, facts.len);
	await_fd(listener, POLLIN);
	up[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(up[i], 0);
	limit_time(up[i]);
	goes_through(client[i], up[i]);
	goes_through(up[i], client[i]);
}

static void given_pairs(int n)
{
	for (int i = 0; i < n; i++)
		given_pair(i);
}

static void ask_both(int answer_ms)
{
	hand_ask_over(&old, where, AWAIT_MS, answer_ms);
	hand_ask_take(&next, where, AWAIT_MS);
}

static void hand_all_over(struct hand_facts *ret)
{
	struct hand_facts n;

	ask_both(AWAIT_MS);
	hand_hear(&next, &n);
	ck_assert_msg(n.r == 0, "%s", n.error);
	hand_hear(&old, ret);
	ck_assert_msg(ret->r == 0, "%s", ret->error);
}

/* ------------------------------------------------------------------ then */

static void all_go_through(int n)
{
	for (int i = 0; i < n; i++) {
		goes_through(client[i], up[i]);
		goes_through(up[i], client[i]);
	}
}

/* Processes that were forked meanwhile have duplicates. */
static void close_pairs(int n)
{
	for (int i = 0; i < n; i++) {
		shutdown(client[i], SHUT_WR);
		shutdown(up[i], SHUT_WR);
		peer_close(&client[i]);
		peer_close(&up[i]);
	}
}

static void end_both(void)
{
	struct hand_facts f;

	hand_stop(&old, &f);
	hand_stop(&next, &f);
	close(listener);
}

static void then_expect_handed(const struct hand_facts *f, unsigned n)
{
	ck_assert_uint_eq(f->handed.handed, n);
	ck_assert_uint_eq(f->handed.refused + f->handed.busy + f->handed.stays, 0);
}

static void expect_reset(int fd)
{
	char byte;

	ck_assert_int_eq(recv(fd, &byte, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
}

/* ------------------------------------------------------------------ the promise */

START_TEST(pairs_go_on_in_the_next_process)
{
	struct hand_facts f;

	given((struct hand_opts){ 0 }, (struct hand_opts){ 0 });
	given_pairs(MANY);
	hand_all_over(&f);
	then_expect_handed(&f, MANY);
	hand_stop(&old, &f);
	ck_assert_int_eq(f.closes, 2 * MANY);
	ck_assert_int_eq(f.emoved, 2 * MANY);

	given_pair(MANY); /* a new one, too */
	all_go_through(MANY + 1);
	close_pairs(MANY + 1);
	AWAIT(({
		hand_facts(&next, &f);
		f.closes == 2 * (MANY + 1);
	}));
	hand_stop(&next, &f);
	close(listener);
}
END_TEST

START_TEST(a_pair_goes_from_process_to_process_again_and_again)
{
	struct hand_facts f;
	struct child gone;

	given((struct hand_opts){ 0 }, (struct hand_opts){ 0 });
	given_pairs(4);
	for (int i = 0; i < 5; i++) {
		hand_all_over(&f);
		then_expect_handed(&f, 4);
		all_go_through(4);
		gone = old;
		old = next;
		hand_stop(&gone, &f);
		hand_new(&next, &(struct hand_opts){ .upstream = upstream });
	}
	close_pairs(4);
	end_both();
}
END_TEST

/* Each way, in its place: what has ended stays so, and the other way goes on. */
START_TEST(a_FIN_that_went_through_before_is_remembered)
{
	struct hand_facts f;

	given((struct hand_opts){ 0 }, (struct hand_opts){ 0 });
	given_pairs(2);
	shutdown(client[0], SHUT_WR);
	peer_expect_eof(up[0]);
	shutdown(up[1], SHUT_WR);
	peer_expect_eof(client[1]);
	hand_all_over(&f);
	then_expect_handed(&f, 2);
	hand_stop(&old, &f);

	goes_through(up[0], client[0]);
	goes_through(client[1], up[1]);
	shutdown(up[0], SHUT_WR);
	peer_expect_eof(client[0]);
	shutdown(client[1], SHUT_WR);
	peer_expect_eof(up[1]);
	AWAIT(({
		hand_facts(&next, &f);
		f.closes == 4;
	}));
	close_pairs(2);
	hand_stop(&next, &f);
	close(listener);
}
END_TEST

/* ------------------------------------------------------------------ bytes on their way */

static char pattern(uint64_t at)
{
	return (char)(at * 7 + (at >> 8) * 3 + (at >> 16));
}

static void expect_pattern(const char *p, size_t n, uint64_t at)
{
	size_t i = 0;

	while (i < n && p[i] == pattern(at + i))
		i++;
	ck_assert_msg(i == n, "byte %llu is another", (unsigned long long)(at + i));
}

/* As much as goes, and no more. Return: how many bytes. */
static uint64_t fill(int fd, uint64_t at)
{
	static char some[65536];
	uint64_t from = at;
	ssize_t n;

	do {
		for (size_t i = 0; i < sizeof some; i++)
			some[i] = pattern(at + i);
		n = send(fd, some, sizeof some, MSG_DONTWAIT | MSG_NOSIGNAL);
		at += n > 0 ? (uint64_t)n : 0;
	} while (n > 0);
	ck_assert_int_eq(errno, EAGAIN);
	return at - from;
}

/* Until nothing has gone for a while: all on the way is full. */
static uint64_t fill_all(int fd)
{
	uint64_t all = fill(fd, 0), more;

	do {
		poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 200);
		more = fill(fd, all);
		all += more;
	} while (more);
	return all;
}

static void drain(int fd, uint64_t n)
{
	static char some[65536];

	for (uint64_t at = 0; at < n;) {
		ssize_t got = recv(fd, some, sizeof some, 0);

		ck_assert_int_gt(got, 0);
		expect_pattern(some, (size_t)got, at);
		at += (uint64_t)got;
	}
}

/* What is buffered, and in a pipe, goes along: by its handler nothing would ever be quiet. */
START_TEST(one_whose_client_takes_nothing_goes_with_all_that_waits_for_it)
{
	struct hand_facts f;
	uint64_t n;

	given((struct hand_opts){ 0 }, (struct hand_opts){ 0 });
	given_pairs(1);
	n = _i ? fill_all(client[0]) : fill_all(up[0]);
	hand_all_over(&f);
	then_expect_handed(&f, 1);
	hand_stop(&old, &f);
	goes_through(_i ? up[0] : client[0], _i ? client[0] : up[0]);

	drain(_i ? up[0] : client[0], n);
	all_go_through(1);
	close_pairs(1);
	hand_stop(&next, &f);
	close(listener);
}
END_TEST

/* A FIN behind bytes that wait goes along as one that is due. */
START_TEST(a_FIN_that_is_due_behind_what_waits_comes_behind_it)
{
	struct hand_opts o = { .work_ms = 100 };
	struct hand_facts f;
	uint64_t n;

	given(o, (struct hand_opts){ 0 });
	given_pairs(1);
	n = fill_all(up[0]);
	shutdown(up[0], SHUT_WR);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed + f.handed.busy, 1);
	drain(client[0], n);
	peer_expect_eof(client[0]);
	goes_through(client[0], up[0]);
	close_pairs(1);
	end_both();
}
END_TEST

struct flow {
	pthread_t writer, reader;
	int from, to;
	uint64_t sent, got;
	bool wrong;
};

static _Atomic(bool) flows_end;

static void *flow_write(void *arg)
{
	struct flow *f = arg;
	static _Thread_local char some[20000];
	unsigned seed = (unsigned)f->from;

	while (!flows_end) {
		size_t n = 1 + (size_t)rand_r(&seed) % sizeof some;

		for (size_t i = 0; i < n; i++)
			some[i] = pattern(f->sent + i);
		if (send(f->from, some, n, MSG_NOSIGNAL) != (ssize_t)n)
			break;
		f->sent += n;
		if (rand_r(&seed) % 8 == 0)
			poll(NULL, 0, 1);
	}
	shutdown(f->from, SHUT_WR);
	return NULL;
}

static void *flow_read(void *arg)
{
	struct flow *f = arg;
	static _Thread_local char some[65536];
	ssize_t n;

	while ((n = recv(f->to, some, sizeof some, 0)) > 0)
		for (ssize_t i = 0; i < n; i++)
			f->wrong |= some[i] != pattern(f->got++);
	f->wrong |= n < 0;
	return NULL;
}

static void flow_begin(struct flow *f, int from, int to)
{
	*f = (struct flow){ .from = from, .to = to };
	pthread_create(&f->writer, NULL, flow_write, f);
	pthread_create(&f->reader, NULL, flow_read, f);
}

static void flow_end(struct flow *f)
{
	pthread_join(f->writer, NULL);
	pthread_join(f->reader, NULL);
	ck_assert_uint_gt(f->sent, 0);
	ck_assert_uint_eq(f->got, f->sent);
	ck_assert(!f->wrong);
}

/* No process is forked while there are threads. */
START_TEST(flows_both_ways_lose_no_byte_over_five_processes)
{
	enum { TIMES = 4 };
	struct child more[TIMES], gone;
	struct flow flow[6];
	struct hand_facts f;
	unsigned handed = 0;

	flows_end = false;
	given((struct hand_opts){ 0 }, (struct hand_opts){ 0 });
	for (int i = 0; i < TIMES; i++)
		hand_new(&more[i], &(struct hand_opts){ .upstream = upstream });
	given_pairs(3);
	for (int i = 0; i < 3; i++) {
		flow_begin(&flow[2 * i], client[i], up[i]);
		flow_begin(&flow[2 * i + 1], up[i], client[i]);
	}
	for (int i = 0; i < TIMES; i++) {
		hand_all_over(&f);
		handed += (unsigned)f.handed.handed;
		gone = old;
		old = next;
		next = more[i];
		hand_stop(&gone, &f);
	}
	flows_end = true;
	for (int i = 0; i < 6; i++)
		flow_end(&flow[i]);
	ck_assert_uint_eq(handed, 3 * TIMES);
	close_pairs(3);
	end_both();
}
END_TEST

/* ------------------------------------------------------------------ neither, where not both */

START_TEST(what_is_refused_for_one_side_stays_whole)
{
	const struct hand_opts n = { .import_refuses = 4 }; /* the dialed one of every second */
	struct hand_facts f;

	given((struct hand_opts){ .pollers = 1 },
	      (struct hand_opts){ .pollers = 1, .import_refuses = n.import_refuses });
	given_pairs(8);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 4);
	ck_assert_uint_eq(f.handed.refused, 4);
	ck_assert_uint_eq(f.handed.stays, 4);
	all_go_through(8);
	hand_facts(&old, &f);
	ck_assert_uint_eq(f.conns, 4);
	hand_facts(&next, &f);
	ck_assert_uint_eq(f.conns, 4);
	ck_assert_int_eq(f.closes, 0);
	close_pairs(8);
	end_both();
}
END_TEST

START_TEST(a_dialed_one_that_is_not_asked_for_keeps_its_pair_here)
{
	struct hand_facts f;

	given((struct hand_opts){ 0 }, (struct hand_opts){ .leaves_mate = 1 });
	given_pairs(2);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 0);
	ck_assert_uint_eq(f.handed.refused, 2);
	hand_facts(&next, &f);
	ck_assert_int_eq(f.closes, 2); /* the clients' sides: their on_import had said yes */
	ck_assert_int_eq(f.emoved, 2);
	all_go_through(2);
	close_pairs(2);
	end_both();
}
END_TEST

START_TEST(a_dialed_one_does_not_come_to_one_that_is_in_another_set)
{
	struct hand_facts f;

	given((struct hand_opts){ 0 }, (struct hand_opts){ .binds_other = 1 });
	given_pairs(1);
	hand_all_over(&f);
	ck_assert_uint_eq(f.handed.handed, 0);
	ck_assert_uint_eq(f.handed.refused, 1);
	all_go_through(1);
	close_pairs(1);
	end_both();
}
END_TEST

/* ------------------------------------------------------------------ ends in the middle */

/* The receiver stands still with the pair in its hands, and one end of it goes. */
static void given_receiver_that_stands(int answer_ms)
{
	given((struct hand_opts){ .pollers = 1 },
	      (struct hand_opts){ .pollers = 1, .import_signal = SIGSTOP, .import_nth = 2 });
	given_pairs(1);
	ask_both(answer_ms);
	ck_assert_int_eq(waitpid(next.pid, NULL, WUNTRACED), next.pid);
}

START_TEST(a_reset_on_the_way_is_one_for_the_other_end)
{
	struct hand_facts f;

	given_receiver_that_stands(AWAIT_MS);
	peer_reset(_i ? &client[0] : &up[0]);
	kill(next.pid, SIGCONT);
	hand_hear(&next, &f);
	hand_hear(&old, &f);
	ck_assert_uint_eq(f.handed.handed, 1);

	expect_reset(_i ? up[0] : client[0]);
	close_pairs(1);
	end_both();
}
END_TEST

START_TEST(and_so_where_the_pair_comes_back)
{
	struct hand_facts f;

	given_receiver_that_stands(200);
	peer_reset(_i ? &client[0] : &up[0]);
	hand_hear(&old, &f);
	ck_assert_int_eq(f.r, -ETIMEDOUT);

	expect_reset(_i ? up[0] : client[0]);
	close_pairs(1);
	kill(next.pid, SIGCONT);
	hand_hear(&next, &f);
	end_both();
}
END_TEST

/* ------------------------------------------------------------------ killed */

static void reap(struct child *c)
{
	close(c->sock);
	ck_assert_int_eq(waitpid(c->pid, NULL, 0), c->pid);
}

/* Whether the bytes of @from arrive at @to, those and no others. */
static bool tries_through(int from, int to, const char *what)
{
	char got[8];

	return send(from, what, 4, MSG_NOSIGNAL) == 4 && recv(to, got, 4, MSG_WAITALL) == 4 &&
	       memcmp(got, what, 4) == 0;
}

/* Both ways or neither; and what is dead is so for both. Return: how many pairs live. */
static unsigned then_count_whole(int n)
{
	unsigned alive = 0;

	for (int i = 0; i < n; i++) {
		bool there = tries_through(client[i], up[i], "1234");
		bool back = tries_through(up[i], client[i], "5678");

		ck_assert_msg(there == back, "pair %d has one side", i);
		if (!there) {
			peer_drain(client[i]);
			peer_drain(up[i]);
		}
		alive += there;
	}
	return alive;
}

/* Between any two steps: each pair has two calls on either side. */
static int nth_of(int i)
{
	return 1 + i * 7 % (2 * MANY);
}

START_TEST(a_killed_receiver_leaves_pairs_whole)
{
	struct hand_opts n = { .import_signal = SIGKILL, .import_nth = nth_of(_i) };
	struct hand_facts f;

	given((struct hand_opts){ 0 }, n);
	given_pairs(MANY);
	ask_both(AWAIT_MS);
	hand_hear(&old, &f);
	ck_assert_int_eq(f.r, -EPIPE);
	reap(&next);

	ck_assert_uint_eq(then_count_whole(MANY), MANY - f.handed.handed);
	close_pairs(MANY);
	hand_stop(&old, &f);
	close(listener);
}
END_TEST

START_TEST(a_killed_sender_leaves_pairs_whole)
{
	struct hand_opts o = { .export_signal = SIGKILL, .export_nth = nth_of(_i) };
	struct hand_facts f;

	given(o, (struct hand_opts){ 0 });
	given_pairs(MANY);
	ask_both(AWAIT_MS);
	hand_hear(&next, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
	reap(&old);
	ck_assert_uint_lt(then_count_whole(MANY), MANY);
	close_pairs(MANY);
	hand_stop(&next, &f);
	close(listener);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "handover_set"), *k = add_case(s, "killed");
	int kills = getenv("NP_KILLS") ? atoi(getenv("NP_KILLS")) : 24;

	tcase_add_test(t, pairs_go_on_in_the_next_process);
	tcase_add_test(t, a_pair_goes_from_process_to_process_again_and_again);
	tcase_add_test(t, a_FIN_that_went_through_before_is_remembered);
	tcase_add_loop_test(t, one_whose_client_takes_nothing_goes_with_all_that_waits_for_it, 0,
			    2);
	tcase_add_test(t, a_FIN_that_is_due_behind_what_waits_comes_behind_it);
	tcase_add_test(t, flows_both_ways_lose_no_byte_over_five_processes);
	tcase_add_test(t, what_is_refused_for_one_side_stays_whole);
	tcase_add_test(t, a_dialed_one_that_is_not_asked_for_keeps_its_pair_here);
	tcase_add_test(t, a_dialed_one_does_not_come_to_one_that_is_in_another_set);
	tcase_add_loop_test(t, a_reset_on_the_way_is_one_for_the_other_end, 0, 2);
	tcase_add_loop_test(t, and_so_where_the_pair_comes_back, 0, 2);
	tcase_add_loop_test(k, a_killed_receiver_leaves_pairs_whole, 0, kills / 2);
	tcase_add_loop_test(k, a_killed_sender_leaves_pairs_whole, 0, kills / 2);
}
