/* SPDX-License-Identifier: BSD-2-Clause */
/* overflow: a handler that overruns its stack is named; in a child, since that dies of it. Public
 * headers only. */
#include <netpoll/conn.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/serve.h"
#include "support/test.h"

static volatile int never;

static __attribute__((noinline)) int endless(volatile char *from)
{
	volatile char frame[512];

	frame[0] = *from;
	return never ? 0 : endless(frame) + frame[0];
}

static int overrun(struct np_conn *c, void *arg)
{
	volatile char first = 0;

	return endless(&first);
}

/* Whose thread: the poller's own, with the poller; that, left alone with it; a spare one. */
enum where { AT_HOME, ALONE, SPARE, PLACES };

/* The first byte of a connection: 'b' keeps its thread for ever. */
static int overrun_there(struct np_conn *c, void *arg)
{
	const void *p;

	if (np_conn_peek(c, 1, &p) == 0 && *(const char *)p == 'b')
		for (;;)
			pause();
	if (*(enum where *)arg == ALONE)
		poll(NULL, 0, 200);
	return overrun(c, NULL);
}

static const struct np_handlers overrunning = { .sz = sizeof overrunning,
						.on_request = overrun_there,
						.flags = NP_MAY_BLOCK };

/* A server with one connection, whose handler is @overrunning; stderr goes to @err. */
static void serve_and_die(int err, bool report, enum where where)
{
	struct rlimit no_core = { 0, 0 };
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	setrlimit(RLIMIT_CORE, &no_core);
	dup2(err, STDERR_FILENO);
	if (np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1, .stack_size = 32768,
				     .handoff_ms = 2, .report_overflow = report),
			     &pollers) < 0 ||
	    np_server_new(pollers, &overrunning, &where,
			  NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), &serve_server) < 0 ||
	    np_server_listen(serve_server, "tcp", "127.0.0.1:0") < 0 ||
	    np_server_start(serve_server) < 0 || np_server_addr(serve_server, 0, &ss, &len) < 0)
		_exit(1);
	if (where == SPARE) {
		fd = peer_connect(&ss, len);
		peer_send(fd, "b", 1);
	}
	fd = peer_connect(&ss, len);
	peer_send(fd, "x", 1);
	for (;;)
		pause();
}

/* What the child said before it died, and of which signal. */
static int said_by_child(bool report, enum where where, char *said, size_t cap)
{
	int fds[2], status;
	size_t n = 0;
	ssize_t r;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(60);
		serve_and_die(fds[1], report, where);
	}
	close(fds[1]);
	while ((r = read(fds[0], said + n, cap - 1 - n)) > 0)
		n += (size_t)r;
	said[n] = '\0';
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	return WTERMSIG(status);
}

START_TEST(a_handler_that_overruns_its_stack_is_named_with_its_connection_and_what_to_raise)
{
	char said[1000], handler[96];

	if (under_asan() || under_tsan() || under_valgrind())
		SKIP("the sanitizer has its own report of this");

	ck_assert_int_eq(said_by_child(true, (enum where)_i, said, sizeof said), SIGSEGV);

	snprintf(handler, sizeof handler,
		 "poller 0: handler 0x%lx, of the connection on descriptor ",
		 (unsigned long)(uintptr_t)overrun_there);
	ck_assert_msg(strstr(said, handler) != NULL, "%s", said);
	ck_assert_msg(strstr(said, "has overrun its stack of 32768 bytes: raise stack_size") !=
			      NULL,
		      "%s", said);
}
END_TEST

START_TEST(who_did_not_ask_for_the_report_gets_no_handler)
{
	char said[1000];

	if (under_asan() || under_tsan() || under_valgrind())
		SKIP("the sanitizer has its own report of this");

	ck_assert_int_eq(said_by_child(false, AT_HOME, said, sizeof said), SIGSEGV);

	ck_assert_str_eq(said, "");
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "overflow");

	tcase_add_loop_test(
		t, a_handler_that_overruns_its_stack_is_named_with_its_connection_and_what_to_raise,
		0, PLACES);
	tcase_add_test(t, who_did_not_ask_for_the_report_gets_no_handler);
}
