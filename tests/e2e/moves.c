/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * moves: connections go from poller to poller without a rest, while they are asked and other
 * threads send on them, and each byte comes once, in its place
 *
 * NP_MOVES moves in all: make check-upgrades. Some connections are echoed, and their peer compares
 * (support/flows.h); on the others SENDERS threads send numbers, and those of each have to come in
 * their order.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/status.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/flows.h"
#include "support/peer.h"
#include "support/samples.h"
#include "support/serve.h"
#include "support/test.h"

#define POLLERS 3
#define ECHOED  48
#define SENT_ON 16
#define SENDERS 4
#define LAST    UINT32_MAX

/* On a connection that is sent on: of which thread, and its how manieth. */
struct message {
	uint32_t sender, number, sum;
	unsigned char more[52];
};

static struct {
	_Atomic(uint64_t) wanted, moves, refused; /* wanted: 0 before they are to begin */
	_Atomic(unsigned) known;
	struct np_conn *conn[SENT_ON]; /* with references */
	int fd[SENT_ON];               /* their peers */
	_Atomic(bool) over;
	uint64_t sent[SENDERS], read; /* messages */
} ut;

/* ------------------------------------------------------------------ the server */

static void move_on(struct np_conn *c)
{
	int r = ut.moves >= ut.wanted ? 0 : np_conn_move(c, (np_conn_poller(c) + 1) % POLLERS);

	if (r < 0 && r != -NP_ECLOSED)
		ut.refused++;
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
	if (!arrived)
		return;
	ut.moves++;
	move_on(c);
}

static int on_connect(struct np_conn *c, void *arg)
{
	if (ut.known < SENT_ON) {
		ut.conn[ut.known] = np_conn_ref(c);
		ut.known++;
	}
	move_on(c);
	return 0;
}

static int echo(struct np_conn *c, void *arg)
{
	struct np_linkbuf *b = NULL;
	int r = np_conn_slice(c, np_conn_len(c), &b);

	if (r == 0)
		r = np_conn_append(c, &b);
	np_linkbuf_free(&b);
	move_on(c);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers handlers = {
	.sz = sizeof handlers, .on_connect = on_connect, .on_request = echo, .on_move = on_move
};

static uint64_t moved(void)
{
	return serve_stats(serve_server).moved;
}

/* ------------------------------------------------------------------ other threads */

static uint32_t message_sum(const struct message *m)
{
	uint32_t sum = m->sender * 31 + m->number;

	for (unsigned i = 0; i < sizeof m->more; i++)
		sum = sum * 33 + m->more[i];
	return sum;
}

/* Whatever the queue takes; it is full where the peer is slow. */
static void message_send(struct np_conn *c, uint32_t sender, uint32_t number)
{
	struct message m = { .sender = sender, .number = number };
	struct np_linkbuf *b;
	int r;

	for (unsigned i = 0; i < sizeof m.more; i++)
		m.more[i] = (unsigned char)(number * 7 + i);
	m.sum = message_sum(&m);
	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_write(b, &m, sizeof m), 0);
	while ((r = np_conn_send(c, &b)) == -EAGAIN)
		test_pause();
	ck_assert_int_eq(r, 0);
}

static void *sender_run(void *arg)
{
	uint32_t sender = (uint32_t)(intptr_t)arg, number = 0;

	for (; !ut.over; number++) {
		for (int i = 0; i < SENT_ON; i++)
			message_send(ut.conn[i], sender, number);
		if (number % 8 == 7)
			test_pause();
	}
	for (int i = 0; i < SENT_ON; i++)
		message_send(ut.conn[i], sender, LAST);
	ut.sent[sender] = (uint64_t)SENT_ON * (number + 1);
	return NULL;
}

struct reader {
	uint32_t next[SENDERS];
	int left; /* senders whose last has not come */
};

static void reader_takes(struct reader *r, const struct message *m)
{
	ck_assert_uint_lt(m->sender, SENDERS);
	ck_assert_uint_eq(m->sum, message_sum(m));
	if (m->number == LAST) {
		r->left--;
		return;
	}
	ck_assert_uint_eq(m->number, r->next[m->sender]);
	r->next[m->sender]++;
}

static int reader_reads(struct reader *r, int fd)
{
	struct message m;

	peer_recv(fd, &m, sizeof m);
	ut.read++;
	reader_takes(r, &m);
	return r->left == 0;
}

static void *reader_run(void *arg)
{
	struct pollfd p[SENT_ON];
	struct reader reader[SENT_ON];
	int open = SENT_ON;

	for (int i = 0; i < SENT_ON; i++) {
		p[i] = (struct pollfd){ .fd = ut.fd[i], .events = POLLIN };
		reader[i] = (struct reader){ .left = SENDERS };
	}
	while (open) {
		poll(p, SENT_ON, AWAIT_MS);
		for (int i = 0; i < SENT_ON; i++)
			if (p[i].revents && reader_reads(&reader[i], p[i].fd)) {
				p[i].fd = -1;
				open--;
			}
	}
	return NULL;
}

/* ------------------------------------------------------------------ the promise */

static void given_moves(unsigned otherwise)
{
	const char *v = getenv("NP_MOVES");

	ut.wanted = v ? strtoull(v, NULL, 10) : otherwise;
}

static void begin_to_move(struct np_conn *c, void *arg)
{
	move_on(c);
}

/* Bounded by the time of the test, and says how far it is. */
static void await_moves(void)
{
	uint64_t say = ut.wanted / 10;

	while (ut.moves < ut.wanted) {
		test_pause();
		if (ut.moves < say)
			continue;
		printf("%llu moves\n", (unsigned long long)ut.moves);
		fflush(stdout);
		say += ut.wanted / 10;
	}
}

static void given_connections_that_are_sent_on(void)
{
	for (unsigned i = 0; i < SENT_ON; i++) {
		ut.fd[i] = serve_connect(0);
		AWAIT(ut.known == i + 1);
	}
}

static void then_nothing_was_lost(const struct flows_facts *f)
{
	uint64_t sent = 0;

	for (int i = 0; i < SENDERS; i++)
		sent += ut.sent[i];
	printf("moves: | %d | %llu | %llu | %llu | %llu | %llu | %llu | %llu | - |\n",
	       ECHOED + SENT_ON, (unsigned long long)ut.moves, (unsigned long long)f->answered,
	       (unsigned long long)ut.read, (unsigned long long)f->resets,
	       (unsigned long long)f->ends, (unsigned long long)f->wrong,
	       (unsigned long long)f->unanswered);
	ck_assert_uint_eq(ut.read, sent);
	flows_expect_whole(f);
	ck_assert_uint_eq(ut.refused, 0);
	ck_assert_uint_ge(moved(), ut.wanted);
}

START_TEST(connections_lose_no_byte_while_they_move)
{
	struct flows_opts o = { .n = ECHOED, .rate = 8000, .answered = samples_new(1) };
	pthread_t sender[SENDERS], reader;
	struct child client;
	struct flows_facts f;

	flows_start(&client);
	serve(POLLERS, &handlers, NULL, NULL);
	given_connections_that_are_sent_on();
	np_server_addr(serve_server, 0, &o.ss, &o.len);
	flows_begin(&client, &o);
	flows_await(&client);
	pthread_create(&reader, NULL, reader_run, NULL);
	for (int i = 0; i < SENDERS; i++)
		pthread_create(&sender[i], NULL, sender_run, (void *)(intptr_t)i);
	given_moves(under_tsan() || under_asan() ? 20000 : 100000);
	for (int i = 0; i < SENT_ON; i++)
		ck_assert_int_eq(np_conn_post(ut.conn[i], begin_to_move, NULL), 0);
	await_moves();
	ut.over = true;
	for (int i = 0; i < SENDERS; i++)
		pthread_join(sender[i], NULL);
	pthread_join(reader, NULL);
	flows_end(&client, &f);

	then_nothing_was_lost(&f);
	for (int i = 0; i < SENT_ON; i++) {
		np_conn_unref(ut.conn[i]);
		peer_close(&ut.fd[i]);
	}
	serve_end();
	child_join(&client);
}
END_TEST

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Nothing is asked: what is left is what a move costs. */
START_TEST(idle_ones_move_as_well)
{
	uint64_t cpu;
	int fd[ECHOED];

	given_moves(10000);
	ut.known = SENT_ON; /* none of them is sent on */
	serve(POLLERS, &handlers, NULL, NULL);
	cpu = cpu_ns();
	for (int i = 0; i < ECHOED; i++)
		fd[i] = serve_connect(0);
	await_moves();
	cpu = cpu_ns() - cpu;
	printf("moves: | %d, idle | %llu | - | - | - | - | - | - | %.2f |\n", ECHOED,
	       (unsigned long long)ut.moves, (double)cpu / 1e3 / (double)ut.moves);
	ck_assert_uint_ge(moved(), ut.wanted);
	ck_assert_uint_eq(ut.refused, 0);
	for (int i = 0; i < ECHOED; i++)
		peer_close(&fd[i]);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "moves");

	tcase_add_test(t, connections_lose_no_byte_while_they_move);
	tcase_add_test(t, idle_ones_move_as_well);
}
