/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stalls: a thread that was kept, by a handler or with its whole process, takes it out on no peer
 *
 * Deadlines pass meanwhile, and what refutes them lies unread in the kernel.
 */
#include <errno.h>
#include <netpoll/conn.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

#define CLIENTS 400
#define IDLE_MS 500
#define LARGE   (8u << 20)

static _Atomic(int) held;

static void keep_the_thread(int ms)
{
	for (uint64_t until = now_ms() + (uint64_t)ms; now_ms() < until;)
		;
}

/* ------------------------------------------------------------------ the linger */

static char *large;

static int block_then_close(struct np_conn *c, void *arg)
{
	int r = np_conn_skip(c, np_conn_len(c));

	keep_the_thread(600);
	if (r == 0)
		r = np_conn_write_ref(c, large, LARGE, NULL, NULL);
	if (r == 0)
		r = np_conn_flush(c);
	np_conn_close(c);
	return r;
}

START_TEST(a_linger_begins_when_it_is_armed_and_not_when_the_turn_began)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = block_then_close };
	int fd;

	large = calloc(1, LARGE);
	serve(1, &h, NULL, NP_OPTS(np_server_opts, .linger_ms = 300, .limits.out_high = 2 * LARGE));
	fd = serve_connect(0);
	peer_send(fd, "?", 1);
	ck_assert_uint_eq(peer_drain(fd), LARGE);
	peer_expect_eof(fd);
	peer_close(&fd);
	serve_end();
	free(large);
}
END_TEST

/* ------------------------------------------------------------------ idle */

static struct np_conn *conns[CLIENTS + 1];
static int n_conns;
static _Atomic(bool) asked;

static int note(struct np_conn *c, void *arg)
{
	conns[n_conns++] = c;
	return 0;
}

/* From now on, however long it took to connect and to serve them. */
static int begin_idle_clocks(void)
{
	int r = 0;

	for (int i = 0; r == 0 && i < n_conns; i++)
		r = np_conn_set_idle_timeout(conns[i], IDLE_MS);
	return r;
}

/* 'k' keeps the thread for longer than the idle timeout, 's' stops the process. */
static int echo(struct np_conn *c, void *arg)
{
	const char *p;
	int r = np_conn_next(c, 1, (const void **)&p);

	if (r == 0 && *p != '?')
		r = begin_idle_clocks();
	if (r == 0 && *p == 's')
		r = raise(SIGSTOP);
	if (r == 0 && *p == 'k') {
		held = 1;
		keep_the_thread(IDLE_MS + 300);
		while (!asked)
			;
	}
	if (r == 0)
		r = np_conn_write(c, p, 1);
	return r < 0 ? r : np_conn_flush(c);
}

static const struct np_handlers echoing = { .sz = sizeof echoing,
					    .on_prepare = note,
					    .on_request = echo };

struct address {
	struct sockaddr_storage ss;
	socklen_t len;
};

static void serve_until_told(int sock, void *arg)
{
	struct address a = { 0 };

	serve(1, &echoing, NULL, NULL);
	if (np_server_addr(serve_server, 0, &a.ss, &a.len) < 0)
		child_fail("no address");
	child_send(sock, &a, sizeof a);
	child_hear(sock);
	serve_end();
}

static int fds[CLIENTS];

static int answered(void)
{
	int n = 0;
	char c;

	for (int i = 0; i < CLIENTS; i++)
		n += recv(fds[i], &c, 1, 0) == 1;
	return n;
}

static void all_ask(void)
{
	for (int i = 0; i < CLIENTS; i++)
		send(fds[i], "?", 1, MSG_NOSIGNAL);
}

START_TEST(a_process_that_was_stopped_closes_nobody_as_idle_whose_bytes_are_here)
{
	struct child server;
	struct address a;
	int status, last;
	char c;

	child_start(&server, serve_until_told, NULL);
	child_recv(server.sock, &a, sizeof a);
	for (int i = 0; i < CLIENTS; i++)
		fds[i] = peer_connect(&a.ss, a.len);
	last = peer_connect(&a.ss, a.len);
	all_ask();
	ck_assert_int_eq(answered(), CLIENTS);

	peer_send(last, "s", 1);
	ck_assert_int_eq(waitpid(server.pid, &status, WUNTRACED), server.pid);
	ck_assert(WIFSTOPPED(status));
	all_ask();
	poll(NULL, 0, IDLE_MS + 300);
	ck_assert_int_eq(kill(server.pid, SIGCONT), 0);
	ck_assert_int_eq(answered(), CLIENTS);
	peer_recv(last, &c, 1);

	peer_close(&last);
	for (int i = 0; i < CLIENTS; i++)
		peer_close(&fds[i]);
	child_say(server.sock, 'x');
	child_join(&server);
}
END_TEST

START_TEST(nor_does_a_poller_that_a_handler_has_kept)
{
	int hog;
	char c;

	serve(1, &echoing, NULL, NULL);
	for (int i = 0; i < CLIENTS; i++)
		fds[i] = serve_connect(0);
	hog = serve_connect(0);
	all_ask();
	ck_assert_int_eq(answered(), CLIENTS);

	peer_send(hog, "k", 1);
	AWAIT(held);
	all_ask();
	asked = true;
	ck_assert_int_eq(answered(), CLIENTS);
	peer_recv(hog, &c, 1);

	for (int i = 0; i < CLIENTS; i++)
		peer_close(&fds[i]);
	peer_close(&hog);
	serve_end();
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "stalls");

	tcase_add_test(t, a_linger_begins_when_it_is_armed_and_not_when_the_turn_began);
	tcase_add_test(t, a_process_that_was_stopped_closes_nobody_as_idle_whose_bytes_are_here);
	tcase_add_test(t, nor_does_a_poller_that_a_handler_has_kept);
}
