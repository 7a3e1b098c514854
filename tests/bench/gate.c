/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate: verbs, so often, in a handler without NP_MAY_BLOCK and in one with it, for callgrind
 *
 *   gate TIMES
 *
 * scripts/bench-gate reads what off_VERB() and on_VERB() took, whose code is the same.
 */
#include <arpa/inet.h>
#include <netpoll/linkbuf.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The watchdog is to look once in the whole run: all that is counted is of the verbs. */
#define HANDOFF_MS 1000000000

static long times;

static int peek(struct np_conn *c)
{
	const void *p;

	return np_conn_peek(c, 1, &p);
}

/* Of different numbers of arguments, and results. */
/* clang-format off */
#define VERBS(X)                                                                                   \
	X(np_conn_len,      np_conn_len(c))                                                        \
	X(np_conn_error,    np_conn_error(c))                                                      \
	X(np_conn_hold,     np_conn_hold(c))                                                       \
	X(np_conn_want,     np_conn_want(c, 1))                                                    \
	X(np_conn_peek,     peek(c))                                                               \
	X(np_conn_write,    np_conn_write(c, "", 1))                                               \
	X(np_deadline_left, np_deadline_left())
/* clang-format on */

#define VERB(verb, call)                                                 \
	static __attribute__((noipa)) void off_##verb(struct np_conn *c) \
	{                                                                \
		for (long i = 0; i < times; i++)                         \
			(void)(call);                                    \
	}                                                                \
	static __attribute__((noipa)) void on_##verb(struct np_conn *c)  \
	{                                                                \
		for (long i = 0; i < times; i++)                         \
			(void)(call);                                    \
	}
VERBS(VERB)
#undef VERB

/* So that the connection can end. */
static int off_request(struct np_conn *c, void *arg)
{
#define VERB(verb, call) off_##verb(c);
	VERBS(VERB)
#undef VERB
	for (long i = 0; i < times; i++)
		np_conn_unhold(c);
	np_conn_skip(c, 1);
	return np_conn_flush(c);
}

static int on_request(struct np_conn *c, void *arg)
{
#define VERB(verb, call) on_##verb(c);
	VERBS(VERB)
#undef VERB
	for (long i = 0; i < times; i++)
		np_conn_unhold(c);
	np_conn_skip(c, 1);
	return np_conn_flush(c);
}

static void must(const char *what, int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "gate: %s: %s\n", what, np_strerror(r));
	exit(1);
}

static void ask(struct np_server *s)
{
	struct sockaddr_storage ss;
	socklen_t len;
	char answer[4096];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long n = 0;

	must("np_server_addr", np_server_addr(s, 0, &ss, &len));
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 || send(fd, "x", 1, 0) != 1)
		must("a connection", -1);
	while (n < times) {
		ssize_t k = recv(fd, answer, sizeof answer, 0);

		if (k <= 0)
			must("an answer", -1);
		n += k;
	}
	close(fd);
}

static void serve(struct np_pollers *p, const struct np_handlers *h)
{
	struct np_server *s;

	must("np_server_new",
	     np_server_new(p, h, NULL, NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), &s));
	must("np_server_listen", np_server_listen(s, "tcp", "127.0.0.1:0"));
	must("np_server_start", np_server_start(s));
	ask(s);
	must("np_server_stop", np_server_stop(s, 10000, NULL));
	must("np_server_free", np_server_free(&s));
}

int main(int argc, char **argv)
{
	struct np_handlers off = { .sz = sizeof off, .on_request = off_request };
	struct np_handlers on = { .sz = sizeof on,
				  .on_request = on_request,
				  .flags = NP_MAY_BLOCK };
	struct np_pollers *p;

	times = argc == 2 ? atol(argv[1]) : 0;
	if (times <= 0) {
		fprintf(stderr, "usage: gate TIMES\n");
		return 2;
	}
	must("np_pollers_start",
	     np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1, .handoff_ms = HANDOFF_MS), &p));
	serve(p, &off);
	serve(p, &on);
	must("np_pollers_stop", np_pollers_stop(p, 10000));
	must("np_pollers_free", np_pollers_free(&p));
	return 0;
}
