/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * forward: np_conn_forward(), from both sides of a small proxy
 *
 * The fault injector counts the splices: that bytes arrive does not tell which way they went.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/server.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"
#include "sys/fault.h"

#ifdef NP_FAULT

#define MIB ((size_t)1 << 20)

static char upstream[32];
static int listener = -1;
static unsigned char pattern[MIB];
static _Atomic(unsigned) with_bytes, without; /* calls of on_request */
static _Atomic(int) left;                     /* calls of on_disconnect */
static bool reads;                            /* on_request takes the bytes itself */
static int write_ms;                          /* the write timeout towards the server; 0: none */
static size_t out_high;                       /* likewise; 0: the default */
static bool binds;                            /* the two are a set */
static struct np_conn *_Atomic newest;        /* the client's */
static _Atomic(int) arrived;                  /* at another poller */

/* ------------------------------------------------------------------ the proxy */

static struct np_conn *other_of(struct np_conn *c)
{
	return np_conn_data(c);
}

static int forward(struct np_conn *c, void *arg)
{
	atomic_fetch_add(np_conn_len(c) ? &with_bytes : &without, 1);
	return np_conn_forward(c, other_of(c));
}

/* Each second time only it forwards: the other bytes it copies itself. */
static int in_turns(struct np_conn *c, void *arg)
{
	size_t n = np_conn_len(c);
	const void *p;
	int r;

	reads = !reads;
	if (!reads || !n)
		return reads ? 0 : np_conn_forward(c, other_of(c));
	r = np_conn_next(c, n, &p);
	if (r == 0)
		r = np_conn_write(other_of(c), p, n);
	return r < 0 ? r : np_conn_flush(other_of(c));
}

static void gone(struct np_conn *c, void *arg)
{
	struct np_conn *to = other_of(c);
	int why = np_conn_error(c);

	atomic_fetch_add(&left, 1);
	if (to && why == -NP_EEOF)
		np_conn_shutdown_write(to);
	else if (to)
		np_conn_abort(to);
}

static void closed(struct np_conn *c, void *arg)
{
	struct np_conn *to = other_of(c);

	if (!to)
		return;
	np_conn_set_data(c, NULL);
	np_conn_set_data(to, NULL);
	np_conn_close(to);
	np_conn_unref(to);
	np_conn_unref(c);
}

static int begin(struct np_conn *c, void *arg)
{
	const struct np_dial_opts o = { .sz = sizeof o,
					.handlers = arg,
					.limits = { .out_high = out_high } };
	struct np_conn *up;
	int r = np_dial(NULL, NP_HERE, "tcp", upstream, &o, &up);

	if (r < 0)
		return r;
	np_conn_set_data(c, up);
	np_conn_set_data(up, np_conn_ref(c));
	newest = c;
	if (write_ms)
		np_conn_set_write_timeout(up, write_ms);
	return binds ? np_conn_bind(c, up) : 0;
}

static void moves(struct np_conn *c, void *arg, bool is_there)
{
	arrived += is_there;
}

static struct np_handlers handlers = {
	.sz = sizeof handlers,
	.on_connect = begin,
	.on_request = forward,
	.on_disconnect = gone,
	.on_close = closed,
	.on_move = moves,
};
static struct np_handlers up_handlers;

static void given_pollers_of_proxy(int pollers, const struct np_server_opts *o,
				   int (*fn)(struct np_conn *, void *), int *ret_client,
				   int *ret_server)
{
	for (size_t i = 0; i < MIB; i++)
		pattern[i] = (unsigned char)(i * 7 + (i >> 8));
	handlers.on_request = fn;
	up_handlers = handlers;
	up_handlers.on_connect = NULL;
	listener = peer_listen(upstream, sizeof upstream);
	serve(pollers, &handlers, &up_handlers, o);
	*ret_client = serve_connect(0);
	await_fd(listener, POLLIN);
	*ret_server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(*ret_server, 0);
}

static void given_proxy(int (*fn)(struct np_conn *, void *), int *ret_client, int *ret_server)
{
	given_pollers_of_proxy(1, NP_OPTS(np_server_opts, .half_open = true), fn, ret_client,
			       ret_server);
}

static void over(int *client, int *server)
{
	peer_close(client);
	peer_close(server);
	AWAIT(serve_conns() == 0);
	serve_end();
	close(listener);
}

/* @n bytes from @from to @to, both at once, checked. */
static void expect_flow(int from, int to, size_t n)
{
	static unsigned char got[65536];
	size_t sent = 0, come = 0;

	while (come < n) {
		struct pollfd p[2] = { { to, POLLIN, 0 }, { sent < n ? from : -1, POLLOUT, 0 } };
		size_t at = sent % MIB, most = MIB - at < n - sent ? MIB - at : n - sent;
		ssize_t r;

		ck_assert_int_gt(poll(p, 2, AWAIT_MS), 0);
		if (p[1].revents) {
			r = send(from, pattern + at, most, MSG_DONTWAIT | MSG_NOSIGNAL);
			sent += r > 0 ? (size_t)r : 0;
		}
		if (!p[0].revents)
			continue;
		most = MIB - come % MIB < sizeof got ? MIB - come % MIB : sizeof got;
		r = recv(to, got, most, MSG_DONTWAIT);
		ck_assert_msg(r > 0, "after %zu of %zu bytes: %s", come, n,
			      r ? strerror(errno) : "FIN");
		ck_assert_mem_eq(got, pattern + come % MIB, (size_t)r);
		come += (size_t)r;
	}
}

/* How many bytes @fd took before nobody took any more. */
static size_t fill(int fd, int ms)
{
	struct pollfd p = { fd, POLLOUT, 0 };
	size_t sent = 0;
	ssize_t n;

	do {
		n = send(fd, pattern + sent % MIB, MIB - sent % MIB, MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
	} while (n > 0 || poll(&p, 1, ms) > 0);
	return sent;
}

static void expect_all(int fd, size_t n)
{
	static unsigned char got[MIB];

	for (size_t come = 0, most; come < n; come += most) {
		most = MIB - come % MIB;
		most = most < n - come ? most : n - come;
		peer_recv(fd, got, most);
		ck_assert_mem_eq(got, pattern + come % MIB, most);
	}
}

/* ------------------------------------------------------------------ the way */

START_TEST(a_big_flow_stays_in_the_kernel_both_ways)
{
	int a, b;

	given_proxy(forward, &a, &b);
	expect_flow(a, b, 8 * MIB);
	sys_fault_arm(SYS_recv, 0, 0);
	sys_fault_arm(SYS_splice, 0, 0);
	expect_flow(a, b, 32 * MIB);
	expect_flow(b, a, 32 * MIB);
	ck_assert_uint_gt(sys_fault_calls(SYS_splice), 64);
	ck_assert_uint_lt(sys_fault_calls(SYS_recv), 16); /* the first of each way */
	ck_assert_uint_gt(without, 0);
	over(&a, &b);
}
END_TEST

static bool has_room(int fd)
{
	int room = 4 << 20;

	return setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) == 0 &&
	       setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) == 0;
}

static int give_room(void *arg)
{
	return has_room(np_conn_fd(newest)) && has_room(np_conn_fd(other_of(newest)));
}

static sem_t held, goes_on;

static int hold_the_poller(void *arg)
{
	sem_post(&held);
	sem_wait(&goes_on);
	return 0;
}

static bool has_come_through(int fd)
{
	int queued = 1;

	return ioctl(fd, SIOCOUTQ, &queued) == 0 && !queued;
}

static int result_of(int (*fn)(void *))
{
	struct np_task *t;
	int r;

	ck_assert_int_eq(np_go(pollers, 0, fn, NULL, &t), 0);
	ck_assert_int_eq(np_join(&t, &r), 0);
	return r;
}

/* One into the pipe, one out of it, and one that finds no more; 256 KiB a pipe took seven. */
START_TEST(a_mebibyte_that_has_come_goes_on_by_three_splices)
{
	struct np_task *t;
	int a, b, r;

	given_proxy(forward, &a, &b);
	expect_flow(a, b, 4 * MIB);
	if (!result_of(give_room) || !has_room(b)) {
		over(&a, &b);
		SKIP("buffers of a socket beyond net.core.rmem_max: needs CAP_NET_ADMIN");
	}
	expect_flow(a, b, 4 * MIB);
	sem_init(&held, 0, 0);
	sem_init(&goes_on, 0, 0);
	ck_assert_int_eq(np_go(pollers, 0, hold_the_poller, NULL, &t), 0);
	sem_wait(&held);
	peer_send(a, pattern, MIB);
	AWAIT(has_come_through(a));
	sys_fault_arm(SYS_splice, 0, 0);
	sem_post(&goes_on);
	expect_all(b, MIB);
	ck_assert_int_eq(np_join(&t, &r), 0);
	result_of(give_room); /* a turn later */
	ck_assert_uint_le(sys_fault_calls(SYS_splice), 3);
	over(&a, &b);
}
END_TEST

START_TEST(small_messages_are_read_and_a_flow_that_becomes_small_is_read_again)
{
	unsigned n;
	int a, b;

	given_proxy(forward, &a, &b);
	for (int i = 0; i < 20; i++)
		expect_flow(a, b, 100);
	ck_assert_uint_eq(without, 0);
	expect_flow(a, b, 8 * MIB);
	expect_flow(a, b, 100); /* the last one that is left in the kernel */
	n = without;
	ck_assert_uint_gt(n, 0);
	for (int i = 0; i < 20; i++)
		expect_flow(a, b, 100);
	ck_assert_uint_eq(without, n);
	over(&a, &b);
}
END_TEST

START_TEST(a_handler_that_reads_in_between_gets_every_byte_in_order)
{
	int a, b;

	given_proxy(in_turns, &a, &b);
	for (int i = 0; i < 8; i++)
		expect_flow(a, b, MIB);
	for (int i = 0; i < 32; i++)
		expect_flow(b, a, MIB / 8);
	over(&a, &b);
}
END_TEST

static _Atomic(bool) full;

/* More than the kernel takes goes in front of the first bytes. */
static int forward_to_a_full_one(struct np_conn *c, void *arg)
{
	int r = 0;

	for (int i = 0; i < 8 && r == 0 && !full; i++)
		r = np_conn_write_ref(other_of(c), pattern, MIB, NULL, NULL);
	full = true;
	return r < 0 ? r : np_conn_forward(c, other_of(c));
}

/* The flush of what came first waits, and meanwhile more is read; the rest is in the kernel. */
START_TEST(bytes_that_were_read_meanwhile_are_not_overtaken_in_the_pipe)
{
	size_t n;
	int a, b;

	out_high = 4096;
	given_proxy(forward_to_a_full_one, &a, &b);
	n = fill(a, 200);
	expect_all(b, 8 * MIB);
	expect_all(b, n);
	over(&a, &b);
}
END_TEST

/* ------------------------------------------------------------------ ends */

START_TEST(all_before_the_fin_goes_on_and_the_fin_behind_it)
{
	char end[3];
	size_t n;
	int a, b;

	given_proxy(forward, &a, &b);
	expect_flow(a, b, 4 * MIB);
	n = fill(a, 200);
	ck_assert_int_eq(shutdown(a, SHUT_WR), 0);
	expect_all(b, n);
	peer_expect_eof(b);
	peer_send(b, "end", 3);
	peer_recv(a, end, 3);
	ck_assert_mem_eq(end, "end", 3);
	over(&a, &b);
}
END_TEST

static _Atomic(bool) ended;

static void note_end(struct np_conn *c, void *arg)
{
	ended = true;
}

/* As the header has it: at 0 all up to the FIN has gone on, and the FIN is ours to send. */
static int forward_and_pass_the_end(struct np_conn *c, void *arg)
{
	int r = forward_to_a_full_one(c, arg);

	return r < 0 || !ended ? r : np_conn_shutdown_write(other_of(c));
}

/* Bytes and FIN come while the flush of the first byte waits. */
START_TEST(the_fin_of_one_that_has_left_comes_behind_its_last_byte)
{
	const size_t n = 100000;
	int a, b;

	out_high = 4096;
	handlers.on_disconnect = note_end;
	given_proxy(forward_and_pass_the_end, &a, &b);
	peer_send(a, pattern, 1);
	AWAIT(full);
	peer_send(a, pattern + 1, n - 1);
	ck_assert_int_eq(shutdown(a, SHUT_WR), 0);
	AWAIT(ended);
	expect_all(b, 8 * MIB);
	expect_all(b, n);
	peer_expect_eof(b);
	over(&a, &b);
}
END_TEST

START_TEST(a_reset_is_seen_while_the_other_side_takes_nothing)
{
	int a, b;

	given_proxy(forward, &a, &b);
	expect_flow(a, b, 4 * MIB);
	fill(a, 200);
	peer_reset(&a);
	AWAIT(left == 1);
	over(&a, &b);
}
END_TEST

START_TEST(a_receiver_that_resets_ends_both_and_no_pipe_is_left_with_bytes)
{
	int a, b, fds;

	given_proxy(forward, &a, &b);
	fds = open_fds();
	expect_flow(a, b, 4 * MIB);
	fill(a, 200);
	peer_reset(&b);
	peer_drain(a);
	peer_close(&a);
	AWAIT(serve_conns() == 0);
	AWAIT(open_fds() <= fds); /* the two connections gave four, and two pipes may stay */
	over(&a, &b);
}
END_TEST

START_TEST(a_receiver_that_takes_nothing_for_the_write_timeout_ends_both)
{
	int a, b;

	write_ms = 200;
	given_proxy(forward, &a, &b);
	AWAIT(({
		send(a, pattern, MIB, MSG_DONTWAIT | MSG_NOSIGNAL);
		serve_conns() == 0;
	}));
	peer_drain(a);
	peer_drain(b);
	over(&a, &b);
}
END_TEST

/* ------------------------------------------------------------------ meanwhile */

START_TEST(what_passes_through_the_kernel_alone_is_no_idleness)
{
	int a, b;

	given_pollers_of_proxy(1,
			       NP_OPTS(np_server_opts, .half_open = true, .idle_timeout_ms = 2000),
			       forward, &a, &b);
	for (uint64_t end = now_ms() + 2500; now_ms() < end; test_pause())
		expect_flow(a, b, MIB);
	ck_assert_uint_eq(serve_conns(), 1);
	AWAIT(serve_conns() == 0);
	over(&a, &b);
}
END_TEST

static int move_newest(void *arg)
{
	return np_conn_move(newest, *(int *)arg);
}

/* Asked for at a moment when bytes are on their way, in a pipe or not. */
START_TEST(a_set_that_forwards_moves_and_loses_no_byte)
{
	int a, b;

	binds = true;
	given_pollers_of_proxy(2, NP_OPTS(np_server_opts, .half_open = true), forward, &a, &b);
	expect_flow(a, b, 4 * MIB);
	for (int i = 0; i < 6; i++) {
		int here = np_conn_poller(newest), there = 1 - here, r = 1;
		struct np_task *t = NULL;
		size_t n = fill(a, 20);

		ck_assert_int_eq(np_go(pollers, here, move_newest, &there, &t), 0);
		ck_assert_int_eq(np_join(&t, &r), 0);
		ck_assert_int_eq(r, 0);
		expect_all(b, n);
		expect_flow(b, a, MIB);
		AWAIT(arrived == 2 * (i + 1));
		ck_assert_int_eq(np_conn_poller(newest), there);
	}
	expect_flow(a, b, 4 * MIB);
	over(&a, &b);
}
END_TEST

/* ------------------------------------------------------------------ what fails */

static const struct {
	enum sys_call call;
	int err;
} faults[] = {
	{ SYS_pipe, EMFILE },   { SYS_pipe, ENFILE },   { SYS_splice, ENOMEM },
	{ SYS_splice, EINVAL }, { SYS_splice, ENOSYS },
};

START_TEST(a_pipe_that_cannot_be_had_or_used_costs_a_copy_and_no_byte)
{
	int a, b;

	given_proxy(forward, &a, &b);
	sys_fault_arm(faults[_i].call, 1, faults[_i].err);
	expect_flow(a, b, 8 * MIB);
	ck_assert_int_ne(sys_fault_hit(faults[_i].call), 0);
	over(&a, &b);
}
END_TEST

/* Receivers take nothing until every pipe is in use; then each gets all that is its own. */
START_TEST(where_all_pipes_are_in_use_the_others_are_copied)
{
	enum { N = 34, PIPES = 32 };
	int a[N], b[N], small = 65536;
	size_t n[N];

	sys_fault_arm(SYS_pipe, 0, 0);
	given_proxy(forward, &a[0], &b[0]);
	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	for (int i = 1; i < N; i++) {
		a[i] = serve_connect(0);
		await_fd(listener, POLLIN);
		b[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	}
	for (int i = 0; i < N; i++)
		n[i] = fill(a[i], 30);
	AWAIT(sys_fault_calls(SYS_pipe) == PIPES);
	for (int i = 0; i < N; i++)
		expect_all(b[i], n[i]);
	for (int i = 0; i < N; i++) {
		peer_close(&a[i]);
		peer_close(&b[i]);
	}
	AWAIT(serve_conns() == 0);
	serve_end();
	close(listener);
}
END_TEST

/* ------------------------------------------------------------------ what cannot go on */

static _Atomic(unsigned) refusals;
static size_t message;
static bool written;

/* More than the kernel takes: it waits until the peer reads. */
static int writes(void *to)
{
	int r = 0;

	for (int i = 0; i < 8 && r == 0; i++)
		r = np_conn_write_ref(to, pattern, MIB, NULL, NULL);
	written = true;
	return r < 0 ? r : np_conn_sync(to);
}

static int forward_beside_a_writer(struct np_conn *c, void *arg)
{
	struct np_task *writer;
	int r;

	if (np_conn_len(c) < message)
		return np_conn_want(c, message);
	ck_assert_int_eq(np_go(NULL, NP_HERE, writes, other_of(c), &writer), 0);
	while (!written)
		np_yield();
	while ((r = np_conn_forward(c, other_of(c))) == -NP_ECONCURRENT) {
		ck_assert_uint_eq(np_conn_len(c), message);
		refusals++;
		np_sleep(1);
	}
	np_join(&writer, NULL);
	return r;
}

START_TEST(what_cannot_go_on_now_stays_with_the_connection_that_it_came_of)
{
	int a, b;

	message = _i ? MIB / 8 : 100;
	given_proxy(forward_beside_a_writer, &a, &b);
	peer_send(a, pattern, message);
	AWAIT(refusals);
	expect_all(b, 8 * MIB);
	expect_all(b, message);
	over(&a, &b);
}
END_TEST

static int refused(struct np_conn *c, void *arg)
{
	ck_assert_int_eq(np_conn_forward(c, c), -EINVAL);
	return np_conn_forward(c, other_of(c));
}

START_TEST(a_connection_cannot_be_forwarded_to_itself)
{
	int a, b;

	given_proxy(refused, &a, &b);
	expect_flow(a, b, 10);
	over(&a, &b);
}
END_TEST

#endif

START_TEST(splices_are_counted)
{
#ifndef NP_FAULT
	SKIP("this build cannot count splices: it needs NP_FAULT");
#endif
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "forward");

	tcase_add_test(t, splices_are_counted);
#ifdef NP_FAULT
	tcase_add_test(t, a_big_flow_stays_in_the_kernel_both_ways);
	tcase_add_test(t, a_mebibyte_that_has_come_goes_on_by_three_splices);
	tcase_add_test(t, small_messages_are_read_and_a_flow_that_becomes_small_is_read_again);
	tcase_add_test(t, a_handler_that_reads_in_between_gets_every_byte_in_order);
	tcase_add_test(t, bytes_that_were_read_meanwhile_are_not_overtaken_in_the_pipe);
	tcase_add_test(t, all_before_the_fin_goes_on_and_the_fin_behind_it);
	tcase_add_test(t, the_fin_of_one_that_has_left_comes_behind_its_last_byte);
	tcase_add_test(t, a_reset_is_seen_while_the_other_side_takes_nothing);
	tcase_add_test(t, a_receiver_that_resets_ends_both_and_no_pipe_is_left_with_bytes);
	tcase_add_test(t, a_receiver_that_takes_nothing_for_the_write_timeout_ends_both);
	tcase_add_test(t, what_passes_through_the_kernel_alone_is_no_idleness);
	tcase_add_test(t, a_set_that_forwards_moves_and_loses_no_byte);
	tcase_add_loop_test(t, a_pipe_that_cannot_be_had_or_used_costs_a_copy_and_no_byte, 0,
			    (int)(sizeof faults / sizeof *faults));
	tcase_add_test(t, where_all_pipes_are_in_use_the_others_are_copied);
	tcase_add_loop_test(t, what_cannot_go_on_now_stays_with_the_connection_that_it_came_of, 0,
			    2);
	tcase_add_test(t, a_connection_cannot_be_forwarded_to_itself);
#endif
}
