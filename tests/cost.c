/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cost: system calls, counted exactly, in builds whose lib/sys counts (debug, asan)
 *
 * The counters are the fault injector's: it counts every call and here fails none.
 */
#include <netpoll/server.h>
#include <string.h>

#include "netpoll/linkbuf.h"
#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"
#include "sys/fault.h"

#ifdef NP_FAULT
static struct np_server *server;

static int frame(struct np_conn *c, void *arg)
{
	const void *head, *body;
	unsigned len;
	int r = np_conn_next(c, 4, &head);

	if (r < 0)
		return r;
	memcpy(&len, head, 4);
	r = np_conn_next(c, len, &body);
	if (r == 0)
		r = np_conn_write(c, head, 4);
	if (r == 0)
		r = np_conn_write(c, body, len);
	return r < 0 ? r : np_conn_flush(c);
}

static void block(void *arg)
{
}

/* The first of a batch: its length is odd. */
static int frame_that_blocks(struct np_conn *c, void *arg)
{
	const unsigned char *len;
	int r = np_conn_peek(c, 1, (const void **)&len);

	if (r == 0 && (*len & 1))
		r = np_blocking(block, NULL);
	return r == 0 ? frame(c, arg) : r;
}

/* One that may block is not left alone here, however long it waits for its slice. */
static void given_server_of(unsigned flags)
{
	struct np_handlers h = { .sz = sizeof h,
				 .on_request = flags ? frame_that_blocks : frame,
				 .flags = flags };

	given_pollers(NP_OPTS(np_pollers_opts, .count = 1, .handoff_ms = 1000 * 1000));
	serve_at(&server, &h, NULL, NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), "tcp",
		 "127.0.0.1:0");
}

static void given_server(void)
{
	given_server_of(0);
}

static int connected(void)
{
	return peer_of(server, 0);
}

static void teardown(void)
{
	serve_over(&server);
	end_pollers();
}

/* Each batch is one write of the peer and is answered before the next. */
static void exchange(int fd, unsigned size, unsigned depth)
{
	static char out[128 * 1024], in[128 * 1024];

	for (unsigned i = 0; i < depth; i++)
		memcpy(out + (size_t)i * (size + 4), &size, 4);
	peer_send(fd, out, (size_t)depth * (size + 4));
	peer_recv(fd, in, (size_t)depth * (size + 4));
	ck_assert_mem_eq(out, in, (size_t)depth * (size + 4));
}

static uint64_t connections(void)
{
	uint64_t accepted, conns;

	ck_assert_int_eq(np_server_poller_stats(server, 0, &accepted, &conns), 0);
	return conns;
}

static unsigned total(void)
{
	unsigned n = 0;

	for (int i = 0; i < SYS_CALL_MAX; i++)
		n += sys_fault_calls((enum sys_call)i);
	return n;
}

static void count_from_zero(void)
{
	for (int i = 0; i < SYS_CALL_MAX; i++)
		sys_fault_arm((enum sys_call)i, 0, 0);
}

START_TEST(a_request_costs_one_wait_one_read_and_one_send)
{
	enum { N = 200 };
	int fd;

	given_server();
	fd = connected();
	exchange(fd, 1024, 1);
	count_from_zero();
	for (int i = 0; i < N; i++)
		exchange(fd, 1024, 1);
	ck_assert_uint_eq(sys_fault_calls(SYS_recv) + sys_fault_calls(SYS_readv) +
				  sys_fault_calls(SYS_read),
			  N);
	ck_assert_uint_eq(sys_fault_calls(SYS_send) + sys_fault_calls(SYS_sendmsg), N);
	/* The loop may be caught between its wait and ours: one more or less at the edges. */
	ck_assert_uint_le(sys_fault_calls(SYS_epoll_wait), N + 1);
	ck_assert_uint_le(total(), 3 * N + 1);
	peer_close(&fd);
	teardown();
}
END_TEST

START_TEST(a_large_request_costs_one_read_once_the_connection_has_seen_one)
{
	enum { N = 50 };
	int fd;

	given_server();
	fd = connected();
	exchange(fd, 16384, 1);
	count_from_zero();
	for (int i = 0; i < N; i++)
		exchange(fd, 16384, 1);
	ck_assert_uint_eq(sys_fault_calls(SYS_recv) + sys_fault_calls(SYS_readv) +
				  sys_fault_calls(SYS_read),
			  N);
	ck_assert_uint_eq(sys_fault_calls(SYS_send) + sys_fault_calls(SYS_sendmsg), N);
	peer_close(&fd);
	teardown();
}
END_TEST

/* More than the connections of a poller that keep what only a busy one needs. */
#define MANY 300
static int many[MANY];

static void exchange_many(unsigned size, unsigned depth)
{
	for (int i = 0; i < MANY; i++)
		exchange(many[i], size, depth);
}

/* Each of which has asked before, and is idle. */
static void given_many(unsigned size, unsigned depth)
{
	given_server();
	for (int i = 0; i < MANY; i++)
		many[i] = connected();
	exchange_many(size, depth);
	exchange_many(size, depth);
}

static void many_are_over(void)
{
	for (int i = 0; i < MANY; i++)
		peer_close(&many[i]);
	teardown();
}

START_TEST(so_it_does_where_the_connection_has_been_idle_among_many)
{
	given_many(16384, 1);
	count_from_zero();
	exchange_many(16384, 1);
	ck_assert_uint_eq(sys_fault_calls(SYS_recv), MANY); /* each into one block: no readv() */
	ck_assert_uint_eq(sys_fault_calls(SYS_readv) + sys_fault_calls(SYS_read), 0);
	many_are_over();
}
END_TEST

/* More than one block of 2 KiB, and less than another way of sending them would be worth. */
START_TEST(replies_that_are_sent_at_once_lie_in_one_block_from_the_second_time_on)
{
	given_many(1024, 16);
	count_from_zero();
	exchange_many(1024, 16);
	ck_assert_uint_eq(sys_fault_calls(SYS_sendmsg), 0);
	ck_assert_uint_ge(sys_fault_calls(SYS_send), MANY);
	many_are_over();
}
END_TEST

/* However many it comes in: their answers are over 64 KiB, and no more than one read takes. */
START_TEST(answers_to_what_one_read_has_brought_leave_in_one_send)
{
	enum { N = 100 };
	int fd;

	given_server();
	fd = connected();
	exchange(fd, 16384, 7);
	count_from_zero();
	for (int i = 0; i < N; i++)
		exchange(fd, 16384, 7);
	ck_assert_uint_le(sys_fault_calls(SYS_send) + sys_fault_calls(SYS_sendmsg),
			  sys_fault_calls(SYS_recv) + sys_fault_calls(SYS_readv));
	peer_close(&fd);
	teardown();
}
END_TEST

static void sixteen_must_cost_what_one_costs(unsigned flags)
{
	enum { N = 100 };
	int fd;

	given_server_of(flags);
	fd = connected();
	exchange(fd, 64, 16);
	count_from_zero();
	for (int i = 0; i < N; i++)
		exchange(fd, 64, 16);
	ck_assert_uint_eq(sys_fault_calls(SYS_send) + sys_fault_calls(SYS_sendmsg), N);
	ck_assert_uint_le(total(), 3 * N + 1);
	peer_close(&fd);
	teardown();
}

START_TEST(sixteen_pipelined_requests_cost_what_one_costs)
{
	sixteen_must_cost_what_one_costs(0);
}
END_TEST

START_TEST(so_they_do_to_a_handler_that_may_block_and_does_not)
{
	sixteen_must_cost_what_one_costs(NP_MAY_BLOCK);
}
END_TEST

/* It gives the poller up at each verb; those behind it have no need to. */
START_TEST(a_request_that_was_left_alone_fences_for_itself_and_not_for_its_batch)
{
	enum { N = 64 };
	static const unsigned one = 1, two = 2;
	char batch[5 + (N - 1) * 6] = "", answer[sizeof batch];
	int fd;

	given_server_of(NP_MAY_BLOCK);
	memcpy(batch, &one, 4);
	for (unsigned i = 0; i < N - 1; i++)
		memcpy(batch + 5 + i * 6, &two, 4);
	fd = connected();
	exchange(fd, 64, 1);
	count_from_zero();
	peer_send(fd, batch, sizeof batch);
	peer_recv(fd, answer, sizeof answer);

	ck_assert_mem_eq(answer, batch, sizeof batch);
	ck_assert_uint_eq(pollers_stats().handoffs, 1);
	ck_assert_uint_le(sys_fault_calls(SYS_fence), 8);
	peer_close(&fd);
	teardown();
}
END_TEST

START_TEST(an_accepted_connection_costs_accept4_and_epoll_ctl)
{
	enum { N = 20 };
	int fds[N];

	given_server();
	fds[0] = connected();
	AWAIT(connections() == 1);
	count_from_zero();
	for (int i = 1; i < N; i++) {
		for (uint64_t ms = now_ms(); now_ms() <= ms + 1;)
			test_pause(); /* not a burst: those are accepted several at a time */
		fds[i] = connected();
		AWAIT(connections() == (uint64_t)i + 1);
	}
	ck_assert_uint_eq(sys_fault_calls(SYS_accept4), N - 1);
	ck_assert_uint_eq(sys_fault_calls(SYS_epoll_ctl), N - 1);
	ck_assert_uint_eq(total() - sys_fault_calls(SYS_epoll_wait), 2 * (N - 1));
	for (int i = 0; i < N; i++)
		peer_close(&fds[i]);
	teardown();
}
END_TEST

START_TEST(the_end_of_a_connection_costs_one_wait_one_read_and_one_close)
{
	enum { N = 20 };
	int fds[N];

	given_server();
	for (int i = 0; i < N; i++) {
		fds[i] = connected();
		exchange(fds[i], 64, 1);
	}
	count_from_zero();
	for (int i = 0; i < N; i++) {
		peer_close(&fds[i]);
		AWAIT(connections() == (uint64_t)(N - 1 - i));
	}
	ck_assert_uint_eq(sys_fault_calls(SYS_recv), N);
	ck_assert_uint_eq(sys_fault_calls(SYS_close), N);
	ck_assert_uint_le(total(), 3 * N + 2);
	teardown();
}
END_TEST

static bool quiet_for_ms(uint64_t ms)
{
	uint64_t end = now_ms() + ms;

	count_from_zero();
	while (now_ms() < end && !total())
		test_pause();
	return total() == 0;
}

START_TEST(an_idle_poller_makes_no_system_call)
{
	int fd;

	given_server();
	fd = connected();
	exchange(fd, 64, 1);
	/* What it still has to give back after the exchange it does in a second or two. */
	AWAIT(quiet_for_ms(2500));
	peer_close(&fd);
	teardown();
}
END_TEST
#else
START_TEST(system_calls_are_counted)
{
	SKIP("needs a build with NP_FAULT");
}
END_TEST
#endif

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "cost");

#ifdef NP_FAULT
	tcase_add_test(t, a_request_costs_one_wait_one_read_and_one_send);
	tcase_add_test(t, a_large_request_costs_one_read_once_the_connection_has_seen_one);
	tcase_add_test(t, so_it_does_where_the_connection_has_been_idle_among_many);
	tcase_add_test(t, replies_that_are_sent_at_once_lie_in_one_block_from_the_second_time_on);
	tcase_add_test(t, answers_to_what_one_read_has_brought_leave_in_one_send);
	tcase_add_test(t, sixteen_pipelined_requests_cost_what_one_costs);
	tcase_add_test(t, so_they_do_to_a_handler_that_may_block_and_does_not);
	tcase_add_test(t, a_request_that_was_left_alone_fences_for_itself_and_not_for_its_batch);
	tcase_add_test(t, an_accepted_connection_costs_accept4_and_epoll_ctl);
	tcase_add_test(t, the_end_of_a_connection_costs_one_wait_one_read_and_one_close);
	tcase_add_test(t, an_idle_poller_makes_no_system_call);
#else
	tcase_add_test(t, system_calls_are_counted);
#endif
}
