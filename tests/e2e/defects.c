/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * defects: what went wrong in the libraries before this one, and does not here
 *
 * One promise each; doc/behaviours.md numbers them, and names the tests for those that lie
 * elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/block.h>
#include <netpoll/conn.h>
#include <netpoll/linkbuf.h>
#include <netpoll/pollers.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define NOTHING 12345

static struct {
	_Atomic(int) requests, closes, result, second, callbacks;
	_Atomic(bool) held, go_on;
	_Atomic(struct np_conn *) conn; /* with a reference */
} saw;

static void on_close(struct np_conn *c, void *arg)
{
	saw.closes++;
}

static void given_with(const struct np_handlers *h, const struct np_server_opts *o)
{
	saw.result = saw.second = NOTHING;
	serve(1, h, NULL, o);
}

static void given(int (*on_request)(struct np_conn *, void *), const struct np_server_opts *o)
{
	static struct np_handlers h;

	h = (struct np_handlers){ .sz = sizeof h, .on_request = on_request, .on_close = on_close };
	given_with(&h, o);
}

static void keep_reference(struct np_conn *c)
{
	if (!saw.conn)
		saw.conn = np_conn_ref(c);
}

static int echo(struct np_conn *c, void *arg)
{
	size_t n = np_conn_len(c);
	const void *p;
	int r = np_conn_next(c, n, &p);

	saw.requests++;
	keep_reference(c);
	if (r == 0)
		r = np_conn_write(c, p, n);
	return r < 0 ? r : np_conn_flush(c);
}

/* ------------------------------------------------------------------ a stop loses nothing */

static void hold(struct np_conn *c, void *arg)
{
	saw.held = true;
	while (!saw.go_on)
		;
}

static void *stop(void *arg)
{
	saw.result = np_server_stop(serve_server, AWAIT_MS, NULL);
	return NULL;
}

/* netpoll lost 21 of 50: those in the accept queue, and those whose request was still in the
 * kernel. */
START_TEST(a_stop_loses_no_request_of_fifty_that_were_queued_before_it)
{
	int fd[50], first;
	pthread_t t;
	char back;

	given(echo, NULL);
	first = serve_connect(0);
	peer_send(first, "1", 1);
	peer_recv(first, &back, 1);
	for (int i = 0; i < 25; i++)
		fd[i] = serve_connect(0);
	AWAIT(serve_conns() == 26);
	/* from here on nothing is accepted and nothing is read */
	np_conn_post(saw.conn, hold, NULL);
	AWAIT(saw.held);
	for (int i = 25; i < 50; i++)
		fd[i] = serve_connect(0);
	for (int i = 0; i < 50; i++)
		peer_send(fd[i], "r", 1);
	pthread_create(&t, NULL, stop, NULL);
	saw.go_on = true;
	for (int i = 0; i < 50; i++) {
		peer_recv(fd[i], &back, 1);
		peer_expect_eof(fd[i]);
		peer_close(&fd[i]);
	}
	peer_expect_eof(first);
	peer_close(&first);
	pthread_join(t, NULL);
	ck_assert_int_eq(saw.result, 0);
	np_conn_unref(saw.conn);
	serve_end();
}
END_TEST

static int wait_for_more(struct np_conn *c, void *arg)
{
	const void *p;

	keep_reference(c);
	return np_conn_next(c, 1000, &p);
}

static void *stop_in_a_hurry(void *arg)
{
	unsigned forced = 0;

	saw.result = np_server_stop(serve_server, 1, &forced);
	saw.second = (int)forced;
	return NULL;
}

/* It gave up before it had forced anybody, where a poller was late by more than the deadline. */
START_TEST(a_stop_forces_though_its_deadline_is_over_before_a_late_poller_answers)
{
	uint64_t until;
	pthread_t t;
	int fd;

	given(wait_for_more, NULL);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.conn);
	np_conn_post(saw.conn, hold, NULL);
	AWAIT(saw.held);
	pthread_create(&t, NULL, stop_in_a_hurry, NULL);
	for (until = now_ms() + 20; now_ms() < until;)
		test_pause();
	saw.go_on = true;
	pthread_join(t, NULL);
	ck_assert_int_eq(saw.result, 0);
	ck_assert_int_eq(saw.second, 1);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ write deadlines */

static int write_past_a_deadline(struct np_conn *c, void *arg)
{
	static char block[1 << 16];
	int r;

	np_conn_skip(c, np_conn_len(c));
	np_conn_set_write_deadline(c, now_ns() + 30000000);
	do {
		r = np_conn_write(c, block, sizeof block);
		if (r == 0)
			r = np_conn_flush(c);
	} while (r == 0);
	saw.result = r;
	np_conn_set_write_deadline(c, 0);
	saw.second = np_conn_flush(c);
	return 0;
}

START_TEST(after_an_expired_write_deadline_no_flush_reports_success_for_unsent_bytes)
{
	int fd;

	given(write_past_a_deadline, NULL);
	fd = serve_connect(0);
	peer_send(fd, "go", 2);
	AWAIT(saw.second != NOTHING);
	ck_assert_int_eq(saw.result, -NP_EWRITETIMEOUT);
	ck_assert_int_eq(saw.second, -NP_EWRITETIMEOUT);
	peer_close(&fd);
	AWAIT(saw.closes == 1);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ memory */

static struct np_block_stats blocks(void)
{
	struct np_block_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_block_stats(&st), 0);
	return st;
}

static size_t rss(void)
{
	unsigned long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%lu %lu", &size, &resident), 2);
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

#define MARK  (256u << 10)
#define BLOCK (64u << 10)

/* Sends until the other side has taken nothing for a while; how much it took. */
static size_t send_until_it_stops(int fd)
{
	static char block[BLOCK];
	uint64_t quiet = now_ms();
	size_t total = 0;
	ssize_t n;

	while (now_ms() - quiet < 200) {
		n = send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			total += (size_t)n;
			quiet = now_ms();
		} else {
			test_pause();
		}
	}
	return total;
}

static int park_and_read_nothing(struct np_conn *c, void *arg)
{
	keep_reference(c);
	saw.requests++;
	return 0; /* leaves the input alone */
}

static const struct np_server_opts small_marks = { .sz = sizeof small_marks,
						   .limits.in_high = MARK,
						   .limits.out_high = MARK };

/* Bytes in blocks and resident memory; buffers of the kernel are neither. */
static void expect_bounded(size_t rss_before, size_t bound)
{
	ck_assert_uint_le(blocks().bytes_high, bound);
	if (!under_asan() && !under_tsan())
		ck_assert_uint_le(rss(), rss_before + bound + (4u << 20));
}

/* netpoll had 256 MB in its buffers. */
START_TEST(memory_stays_bounded_when_a_peer_sends_and_nobody_reads)
{
	size_t before = rss();
	int fd;

	given(park_and_read_nothing, &small_marks);
	fd = serve_connect(0);
	ck_assert_uint_ge(send_until_it_stops(fd), MARK);
	ck_assert_uint_ge(blocks().bytes_in_use, MARK);
	expect_bounded(before, 2 * MARK + BLOCK);
	np_conn_abort(saw.conn);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* One fast sender and one slow reader, and they are the same peer: what is echoed is not taken. */
START_TEST(memory_stays_bounded_when_a_peer_does_not_read_what_it_is_sent)
{
	static char back[BLOCK];
	size_t before = rss(), sent;
	int fd, small = 65536;

	given(echo, &small_marks);
	fd = serve_connect(0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	sent = send_until_it_stops(fd);
	ck_assert_uint_ge(sent, 2 * MARK);
	/* The input, its bytes pulled together, the output with one frame above its mark, blocks
	 * half full. */
	expect_bounded(before, 8 * MARK);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	for (size_t got = 0; got < sent;) { /* and all of it comes, once it is taken */
		size_t n = sent - got < sizeof back ? sent - got : sizeof back;

		peer_recv(fd, back, n);
		got += n;
	}
	peer_expect_eof(fd);
	peer_close(&fd);
	np_conn_unref(saw.conn);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ descriptors */

static struct {
	_Atomic(bool) on;
	_Atomic(int) closes, failed;
} shim;

/* In place of libc's: what the library closes goes through here. */
int close(int fd)
{
	int r = (int)syscall(SYS_close, fd);

	if (shim.on) {
		shim.closes++;
		shim.failed += r < 0 && errno == EBADF;
	}
	return r;
}

/*
 * netpoll closed its listener twice, which in a process with threads is somebody else's descriptor.
 */
START_TEST(every_descriptor_is_closed_exactly_once)
{
	int fd[20], before = open_fds();
	char back;

	shim.on = true;
	given(echo, NULL);
	for (int i = 0; i < 20; i++) {
		fd[i] = serve_connect(0);
		peer_send(fd[i], "x", 1);
		peer_recv(fd[i], &back, 1);
	}
	np_conn_close(saw.conn);
	np_conn_close(saw.conn);
	np_conn_unref(saw.conn);
	for (int i = 0; i < 10; i++)
		peer_close(&fd[i]);
	ck_assert_int_eq(np_server_stop(serve_server, AWAIT_MS, NULL), 0);
	for (int i = 10; i < 20; i++)
		peer_close(&fd[i]);
	serve_end();
	ck_assert_int_eq(open_fds(), before);
	ck_assert_int_ge(shim.closes, 40);
	ck_assert_int_eq(shim.failed, 0);
}
END_TEST

START_TEST(pollers_can_be_stopped_and_everything_they_held_is_given_back)
{
	size_t mapped = 0;
	char back;
	int fd;

	for (int round = 0; round < 10; round++) {
		given(echo, NULL);
		fd = serve_connect(0);
		peer_send(fd, "x", 1);
		peer_recv(fd, &back, 1);
		np_conn_unref(saw.conn);
		saw.conn = NULL;
		peer_close(&fd);
		serve_end(); /* no descriptor, no thread */
		ck_assert_uint_eq(blocks().blocks_in_use, 0);
		ck_assert_uint_eq(blocks().cells_in_use, 0);
		if (!round)
			mapped = blocks().bytes_mapped;
		ck_assert_uint_le(blocks().bytes_mapped, mapped);
	}
}
END_TEST

static struct np_pollers *hundred;

static int which(void *arg)
{
	saw.requests++;
	return np_poller_self();
}

static void *run_here_and_there(void *arg)
{
	struct np_task *t;
	int r;

	for (int i = 0; i < 20; i++) {
		r = np_run(hundred, which, NULL);
		if (r < 0 || r >= 100 || np_go(hundred, NP_SPREAD, which, NULL, &t) < 0 ||
		    np_join(&t, &r) < 0 || r < 0 || r >= 100)
			saw.second = r;
	}
	return NULL;
}

START_TEST(a_hundred_pollers_take_work_from_32_threads)
{
	pthread_t t[32];
	int before = open_fds();

	saw.second = NOTHING;
	ck_assert_int_eq(np_pollers_start(NP_OPTS(np_pollers_opts, .count = 100), &hundred), 0);
	ck_assert_int_eq(np_pollers_count(hundred), 100);
	for (int i = 0; i < 32; i++)
		pthread_create(&t[i], NULL, run_here_and_there, NULL);
	for (int i = 0; i < 32; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(saw.requests, 32 * 20 * 2);
	ck_assert_int_eq(saw.second, NOTHING);
	ck_assert_int_eq(np_pollers_stop(hundred, AWAIT_MS), 0);
	ck_assert_int_eq(np_pollers_free(&hundred), 0);
	ck_assert_int_eq(open_fds(), before);
	AWAIT(np_threads() == 0);
}
END_TEST

/* ------------------------------------------------------------------ signals */

static _Atomic(int) signals;
static _Atomic(bool) enough;
static pthread_t poller_thread;

static void on_signal(int sig)
{
	signals++;
}

/* Pollers are deaf to signals; this one is made to hear, without SA_RESTART. */
static int hear_signals(struct np_conn *c, void *arg)
{
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t set;

	sigaction(SIGUSR1, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	poller_thread = pthread_self();
	saw.held = true;
	return 0;
}

static void *send_signals(void *arg)
{
	while (!enough) {
		pthread_kill(poller_thread, SIGUSR1);
		sched_yield();
	}
	return NULL;
}

static void *send_much(void *arg)
{
	static char block[BLOCK];

	for (int i = 0; i < 64; i++)
		peer_send(*(int *)arg, block, sizeof block);
	return NULL;
}

START_TEST(eintr_fails_no_flush_and_closes_no_connection)
{
	static const struct np_handlers h = {
		.sz = sizeof h, .on_connect = hear_signals, .on_request = echo, .on_close = on_close
	};
	static char back[BLOCK];
	pthread_t t[2];
	int fd;

	given_with(&h, NULL);
	fd = serve_connect(0);
	AWAIT(saw.held);
	pthread_create(&t[0], NULL, send_signals, NULL);
	pthread_create(&t[1], NULL, send_much, &fd);
	for (int i = 0; i < 64; i++)
		peer_recv(fd, back, sizeof back);
	AWAIT(signals > 100);
	enough = true;
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	ck_assert_int_eq(saw.closes, 0);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ two writers */

static void write_too(struct np_conn *c, void *arg)
{
	saw.second = np_conn_write(c, "x", 1);
	saw.go_on = true;
}

static int park_in_flush(struct np_conn *c, void *arg)
{
	static char block[1 << 16];
	int r, n = 32768;

	keep_reference(c);
	np_conn_skip(c, np_conn_len(c));
	setsockopt(np_conn_fd(c), SOL_SOCKET, SO_SNDBUF, &n, sizeof n);
	saw.held = true;
	do {
		r = np_conn_write(c, block, sizeof block);
		if (r == 0)
			r = np_conn_sync(c);
	} while (r == 0);
	saw.result = r;
	return 0;
}

START_TEST(a_second_writer_is_refused_with_its_own_code)
{
	int fd;

	given(park_in_flush, NULL);
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.held);
	/* Until it parks, a post finds nobody in the way, or does not run. */
	for (uint64_t end = now_ms() + AWAIT_MS; saw.second != -NP_ECONCURRENT && now_ms() < end;) {
		saw.go_on = false;
		np_conn_post(saw.conn, write_too, NULL);
		AWAIT(saw.go_on);
	}
	ck_assert_int_eq(saw.second, -NP_ECONCURRENT);
	np_conn_abort(saw.conn);
	AWAIT(saw.result != NOTHING);
	ck_assert_int_eq(saw.result, -NP_ECLOSED);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

/* ------------------------------------------------------------------ one teardown */

static void last_added(struct np_conn *c, void *arg)
{
	if (saw.callbacks++ != 0 || saw.closes)
		saw.second = 1;
}

static void first_added(struct np_conn *c, void *arg)
{
	if (saw.callbacks++ != 1 || saw.closes)
		saw.second = 1;
}

static void close_from_its_thread(struct np_conn *c, void *arg)
{
	np_conn_close(c);
	np_conn_close(c);
}

static int (*during)(struct np_conn *c); /* what runs when the close comes */

static int wait_in_vain(struct np_conn *c)
{
	return np_conn_wait(c, 1000);
}

static int flush_in_vain(struct np_conn *c)
{
	return park_in_flush(c, NULL), saw.result;
}

static int close_itself(struct np_conn *c)
{
	np_conn_close(c);
	return np_conn_close(c);
}

static int begin(struct np_conn *c)
{
	keep_reference(c);
	np_conn_add_close_callback(c, first_added, NULL);
	np_conn_add_close_callback(c, last_added, NULL);
	saw.held = true;
	saw.result = during(c);
	return 0;
}

static int begin_in_connect(struct np_conn *c, void *arg)
{
	return begin(c);
}

static int begin_in_request(struct np_conn *c, void *arg)
{
	saw.requests++;
	np_conn_skip(c, np_conn_len(c));
	return begin(c);
}

static void closed_by_thread(void)
{
	np_conn_close(saw.conn);
	np_conn_close(saw.conn);
}

static void closed_on_the_poller(void)
{
	np_conn_post(saw.conn, close_from_its_thread, NULL);
}

static void aborted(void)
{
	np_conn_abort(saw.conn);
	np_conn_close(saw.conn);
}

static void closed_already(void)
{
}

static const struct teardown {
	bool in_connect;
	int (*during)(struct np_conn *c);
	void (*how)(void);
} teardowns[] = {
	{ true, wait_in_vain, closed_by_thread },
	{ true, wait_in_vain, closed_on_the_poller },
	{ true, wait_in_vain, aborted },
	{ true, flush_in_vain, closed_by_thread },
	{ true, close_itself, closed_already },
	{ false, wait_in_vain, closed_by_thread },
	{ false, wait_in_vain, closed_on_the_poller },
	{ false, wait_in_vain, aborted },
	{ false, flush_in_vain, closed_by_thread },
	{ false, flush_in_vain, closed_on_the_poller },
	{ false, flush_in_vain, aborted },
	{ false, close_itself, closed_already },
};

#define TEARDOWNS (int)(sizeof teardowns / sizeof teardowns[0])

START_TEST(a_connection_closed_at_any_moment_and_twice_has_one_teardown_in_order)
{
	const struct teardown *t = &teardowns[_i];
	struct np_handlers h = { .sz = sizeof h,
				 .on_connect = t->in_connect ? begin_in_connect : NULL,
				 .on_request = begin_in_request,
				 .on_close = on_close };
	int fd;

	during = t->during;
	given_with(&h, NP_OPTS(np_server_opts, .linger_ms = 50));
	fd = serve_connect(0);
	peer_send(fd, "x", 1);
	AWAIT(saw.held);
	t->how();
	AWAIT(saw.closes == 1);
	ck_assert_int_eq(saw.callbacks, 2);
	ck_assert_int_eq(saw.second, NOTHING); /* in their order */
	ck_assert_int_eq(saw.requests, t->in_connect ? 0 : 1);
	ck_assert_int_eq(saw.result, t->during == close_itself ? 0 : -NP_ECLOSED);
	np_conn_close(saw.conn);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
	ck_assert_int_eq(saw.closes, 1);
}
END_TEST

/* ------------------------------------------------------------------ lengths */

static int ask_for_nonsense(struct np_conn *c, void *arg)
{
	const void *p;
	void *w;
	char b;
	int bad = 0;

	bad += np_conn_next(c, 0, &p) != 0;
	bad += np_conn_peek(c, 0, &p) != 0;
	bad += np_conn_skip(c, 0) != 0;
	bad += np_conn_wait(c, 0) != 0;
	bad += np_conn_read(c, &b, 0) != 0;
	bad += np_conn_next(c, (size_t)-1, &p) != -NP_ETOOLONG;
	bad += np_conn_peek(c, (size_t)-5, &p) != -NP_ETOOLONG;
	bad += np_conn_skip(c, (size_t)1 << 62) != -NP_ETOOLONG;
	bad += np_conn_wait(c, SIZE_MAX) != -NP_ETOOLONG;
	bad += np_conn_want(c, SIZE_MAX) != -NP_ETOOLONG;
	bad += np_conn_len(c) != 3;
	bad += np_conn_reserve(c, 0, &w) != 0;
	bad += np_conn_reserve(c, 4, &w) != 0;
	bad += np_conn_trim(c, 5) != -EINVAL;
	bad += np_conn_trim(c, (size_t)-1) != -EINVAL;
	bad += np_conn_write_direct(c, "x", 1, 5, NULL, NULL) != -EINVAL;
	bad += np_conn_pending(c) != 4;
	bad += np_conn_trim(c, 0) != 0;
	bad += np_conn_write(c, NULL, 0) != 0;
	bad += np_conn_pending(c) != 0;
	bad += np_conn_set_read_timeout(c, -2) != -EINVAL;
	bad += np_conn_set_write_timeout(c, -2) != -EINVAL;
	bad += np_conn_set_idle_timeout(c, -2) != -EINVAL;
	bad += np_conn_set_linger(c, -3) != -EINVAL;
	bad += np_conn_set_user_timeout(c, -2) != -EINVAL;
	bad += np_conn_set_limits(c, &(struct np_limits){ .in_high = 100, .in_max = 50 }) !=
	       -EINVAL;
	saw.result = bad;
	return echo(c, arg);
}

START_TEST(a_length_that_makes_no_sense_is_an_error_or_nothing_and_never_corruption)
{
	char back[3];
	int fd;

	given(ask_for_nonsense, NULL);
	fd = serve_connect(0);
	peer_send(fd, "abc", 3);
	peer_recv(fd, back, 3);
	ck_assert_mem_eq(back, "abc", 3);
	ck_assert_int_eq(saw.result, 0);
	np_conn_unref(saw.conn);
	peer_close(&fd);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "defects");

	tcase_add_test(t, a_stop_loses_no_request_of_fifty_that_were_queued_before_it);
	tcase_add_test(t, a_stop_forces_though_its_deadline_is_over_before_a_late_poller_answers);
	tcase_add_test(t,
		       after_an_expired_write_deadline_no_flush_reports_success_for_unsent_bytes);
	tcase_add_test(t, memory_stays_bounded_when_a_peer_sends_and_nobody_reads);
	tcase_add_test(t, memory_stays_bounded_when_a_peer_does_not_read_what_it_is_sent);
	tcase_add_test(t, every_descriptor_is_closed_exactly_once);
	tcase_add_test(t, pollers_can_be_stopped_and_everything_they_held_is_given_back);
	tcase_add_test(t, a_hundred_pollers_take_work_from_32_threads);
	tcase_add_test(t, eintr_fails_no_flush_and_closes_no_connection);
	tcase_add_test(t, a_second_writer_is_refused_with_its_own_code);
	tcase_add_loop_test(t,
			    a_connection_closed_at_any_moment_and_twice_has_one_teardown_in_order,
			    0, TEARDOWNS);
	tcase_add_test(t, a_length_that_makes_no_sense_is_an_error_or_nothing_and_never_corruption);
}
