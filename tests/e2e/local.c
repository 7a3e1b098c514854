/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * local: unix sockets and pipes, which have no RST: a steady reader gets all, one that stops is let
 * go, and np_conn_error() and the server's count tell what was cut
 */
#include <errno.h>
#include <fcntl.h>
#include <netpoll/client.h>
#include <netpoll/conn.h>
#include <netpoll/server.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/pollers.h"
#include "support/serve.h"
#include "support/test.h"

#define LARGE    (4u << 20)
#define PIECE    (64u << 10) /* what a steady reader takes every STEP_MS: 1.2 s for all of it */
#define STEP_MS  20
#define SHORT_MS 250 /* each clock */

enum clock { LINGER, WRITE, IDLE, CLOCKS };

static const char *const clock_names[] = { "linger", "write timeout", "idle timeout" };

struct reader {
	enum clock clock;
	bool stops;
	int fd;
	_Atomic(bool) closed;
	_Atomic(int) why;
	uint64_t next_ms;
	size_t got;
	int last; /* 0: EOF, or an errno */
	bool over;
};

static struct reader readers[2 * CLOCKS];
static struct np_server *server;
static char *bytes;

/* ------------------------------------------------------------------ unix sockets */

static int on_request(struct np_conn *c, void *arg)
{
	const unsigned char *index;
	int r = np_conn_next(c, 1, (const void **)&index);
	struct reader *k;

	if (r < 0)
		return r;
	k = &readers[*index];
	np_conn_set_data(c, k);
	if (k->clock == WRITE)
		np_conn_set_write_timeout(c, SHORT_MS);
	if (k->clock == IDLE)
		np_conn_set_idle_timeout(c, SHORT_MS);
	r = np_conn_write_ref(c, bytes, LARGE, NULL, NULL);
	if (r == 0)
		r = k->clock == WRITE ? np_conn_sync(c) : np_conn_flush(c);
	if (r == 0 && k->clock != IDLE)
		np_conn_close(c);
	return r;
}

static void on_close(struct np_conn *c, void *arg)
{
	struct reader *k = np_conn_data(c);

	k->why = np_conn_error(c);
	k->closed = true;
}

static void given_server(void)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = on_request,
					      .on_close = on_close };
	char name[64];

	snprintf(name, sizeof name, "@np-local-%d", (int)getpid());
	given_pollers(NULL);
	serve_at(&server, &h, NULL,
		 NP_OPTS(np_server_opts, .linger_ms = SHORT_MS, .limits.out_high = LARGE), "unix",
		 name);
}

static void given_reader(unsigned char index, enum clock clock, bool stops)
{
	struct reader *k = &readers[index];
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(np_server_addr(server, 0, &ss, &len), 0);
	k->clock = clock;
	k->stops = stops;
	k->fd = peer_connect(&ss, len);
	k->next_ms = now_ms();
	peer_send(k->fd, &index, 1);
}

/* One piece at a time, without catching up; one that stops reads what is left when all is over. */
static void read_on(struct reader *k)
{
	static char got[PIECE];
	size_t left = sizeof got;
	ssize_t n = 1;

	if (k->over || now_ms() < k->next_ms || (k->stops && !k->closed))
		return;
	k->next_ms += STEP_MS;
	while (left && (n = recv(k->fd, got, left, MSG_DONTWAIT)) > 0) {
		k->got += (size_t)n;
		left -= (size_t)n;
	}
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;
	k->last = n < 0 ? errno : 0;
	k->over = true;
	peer_close(&k->fd);
}

static bool all_over(void)
{
	bool over = true;

	for (int i = 0; i < 2 * CLOCKS; i++) {
		read_on(&readers[i]);
		over &= readers[i].over && readers[i].closed;
	}
	return over;
}

static int wrong(const struct reader *k)
{
	int why = k->clock == IDLE ? -ETIMEDOUT : k->stops ? -NP_EWRITETIMEOUT : -NP_ECLOSED;

	if (k->why == why && k->last == 0 && (k->stops ? k->got < LARGE : k->got == LARGE))
		return 0;
	fprintf(stderr, "%s, %s: %zu of %u, then %s; np_conn_error() %d, not %d\n",
		clock_names[k->clock], k->stops ? "stops" : "steady", k->got, LARGE,
		k->last ? strerror(k->last) : "EOF", k->why, why);
	return 1;
}

START_TEST(a_unix_reader_that_is_steady_gets_all_and_one_that_stops_is_let_go_and_counted)
{
	struct np_server_stats st = { .sz = sizeof st };
	int bad = 0;

	bytes = calloc(1, LARGE);
	given_server();
	for (unsigned char i = 0; i < 2 * CLOCKS; i++)
		given_reader(i, i / 2, i % 2);
	AWAIT(all_over());
	for (int i = 0; i < 2 * CLOCKS; i++)
		bad += wrong(&readers[i]);
	ck_assert_int_eq(bad, 0);
	AWAIT(np_server_stats(server, &st) == 0 && st.conns == 0);
	ck_assert_uint_eq(st.cut, CLOCKS);
	serve_over(&server);
	end_pollers();
	free(bytes);
}
END_TEST

/* ------------------------------------------------------------------ pipes */

/* The writing end, closed with all of it flushed. Return: why it ended. */
static int write_and_close(void *arg)
{
	int *fd = arg, r;
	struct np_conn *c;

	r = np_conn_from_fd(NULL, NP_HERE, fd, NULL, NULL, &c);
	if (r < 0)
		return r;
	np_conn_set_linger(c, SHORT_MS);
	np_conn_set_limits(c, &(struct np_limits){ .out_high = LARGE });
	r = np_conn_write_ref(c, bytes, LARGE, NULL, NULL);
	if (r == 0)
		r = np_conn_flush(c);
	np_conn_close(c);
	while (r == 0 && np_conn_fd(c) >= 0)
		r = np_sleep(1);
	if (r == 0)
		r = np_conn_error(c);
	np_conn_unref(c);
	return r;
}

static size_t read_pipe(int fd, uint64_t step_ms)
{
	static char got[PIECE];
	uint64_t next_ms = now_ms();
	size_t all = 0;
	ssize_t n;

	while ((n = read(fd, got, sizeof got)) > 0) {
		all += (size_t)n;
		for (next_ms += step_ms; now_ms() < next_ms;)
			test_pause();
	}
	ck_assert_int_eq((int)n, 0);
	return all;
}

START_TEST(a_pipe_that_is_read_steadily_brings_all_and_one_that_is_not_says_that_it_was_cut)
{
	bool stops = _i;
	struct np_task *t;
	size_t all = 0;
	int fd[2], why;

	bytes = calloc(1, LARGE);
	given_pollers(NULL);
	ck_assert_int_eq(pipe2(fd, O_CLOEXEC), 0);
	t = given_task(0, write_and_close, &fd[1]);
	if (!stops)
		all = read_pipe(fd[0], STEP_MS);
	why = joined(t);
	if (stops)
		all = read_pipe(fd[0], 0);
	ck_assert_int_eq(why, stops ? -NP_EWRITETIMEOUT : -NP_ECLOSED);
	ck_assert(stops ? all < LARGE : all == LARGE);
	close(fd[0]);
	end_pollers();
	free(bytes);
}
END_TEST

/* Its writing end cannot be read, which says nothing about its reader. */
static int keep_open(void *arg)
{
	struct np_conn *c;
	int r = np_conn_from_fd(NULL, NP_HERE, arg, NULL, NULL, &c);

	if (r == 0)
		r = np_conn_set_idle_timeout(c, SHORT_MS);
	while (r == 0 && np_conn_fd(c) >= 0)
		r = np_sleep(1);
	if (r == 0)
		r = np_conn_error(c);
	np_conn_unref(c);
	return r;
}

START_TEST(a_pipe_into_which_nothing_is_written_ends_as_idle_or_by_its_reader)
{
	bool leaves = _i;
	struct np_task *t;
	int fd[2];

	given_pollers(NULL);
	ck_assert_int_eq(pipe2(fd, O_CLOEXEC), 0);
	t = given_task(0, keep_open, &fd[1]);
	if (leaves)
		close(fd[0]);
	ck_assert_int_eq(joined(t), leaves ? -EPIPE : -ETIMEDOUT);
	if (!leaves)
		close(fd[0]);
	end_pollers();
}
END_TEST

static int take(void *arg)
{
	struct np_conn *c;

	return np_conn_from_fd(NULL, NP_HERE, arg, NULL, NULL, &c);
}

/* Of a descriptor of O_PATH most calls say EBADF, though there is one. */
START_TEST(whatever_is_refused_is_closed)
{
	int before, fd;

	given_pollers(NULL);
	before = open_fds();
	fd = open("/", O_PATH | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(joined(given_task(0, take, &fd)), -EBADF);
	ck_assert_int_eq(fd, -1);
	fd = open("/", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(joined(given_task(0, take, &fd)), -EPERM);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(open_fds(), before);
	end_pollers();
}
END_TEST

static _Atomic(size_t) came;
static _Atomic(int) shut, ended;

static int count(struct np_conn *c, void *arg)
{
	came += np_conn_len(c);
	return np_conn_skip(c, np_conn_len(c));
}

static void on_end(struct np_conn *c, void *arg)
{
	ended = np_conn_error(c);
}

static void shut_it(struct np_conn *c, void *arg)
{
	shut += np_conn_shutdown_write(c) == 0;
}

/* There is nothing to shut, and reading goes on. */
START_TEST(the_reading_end_of_a_pipe_is_read_to_its_end_whatever_is_shut)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_request = count,
					      .on_close = on_end };
	struct np_conn *c;
	int fd[2];

	given_pollers(NULL);
	ck_assert_int_eq(pipe2(fd, O_CLOEXEC), 0);
	ck_assert_int_eq(np_conn_from_fd(pollers, 0, &fd[0], &h, NULL, &c), 0);
	ck_assert_int_eq(np_conn_post(c, shut_it, NULL), 0);
	AWAIT(shut == 1);
	ck_assert_int_eq(np_conn_post(c, shut_it, NULL), 0);
	AWAIT(shut == 2); /* behind the end of the first one's turn */
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq((int)write(fd[1], "0123456789", 10), 10);
	close(fd[1]);
	AWAIT(ended != 0);
	ck_assert_int_eq(ended, -NP_EEOF);
	ck_assert_uint_eq(came, 1000);
	np_conn_unref(c);
	end_pollers();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "readers");

	tcase_set_timeout(t, 60);
	tcase_add_test(
		t, a_unix_reader_that_is_steady_gets_all_and_one_that_stops_is_let_go_and_counted);
	tcase_add_loop_test(
		t, a_pipe_that_is_read_steadily_brings_all_and_one_that_is_not_says_that_it_was_cut,
		0, 2);
	tcase_add_test(t, whatever_is_refused_is_closed);
	tcase_add_test(t, the_reading_end_of_a_pipe_is_read_to_its_end_whatever_is_shut);
	tcase_add_loop_test(t, a_pipe_into_which_nothing_is_written_ends_as_idle_or_by_its_reader,
			    0, 2);
}
