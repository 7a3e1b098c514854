/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * resolve: a line of names in, a line of addresses out
 *
 *   resolve 127.0.0.1:7053 &
 *   echo localhost example.org | nc -N 127.0.0.1 7053
 *
 * getaddrinfo(3) blocks. Each name of a line becomes a task, whose lookup runs on a worker thread:
 * so the names of a line are looked up side by side, and meanwhile the poller serves other
 * connections.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <netpoll/server.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 4096
#define NAMES_MAX      32
#define STOP_MS        5000

struct lookup {
	struct np_task *task;
	char name[256];
	char answer[INET6_ADDRSTRLEN];
};

/* On a worker thread: may block, and may use the memory of its fiber, which waits. */
static void look_up(void *arg)
{
	struct lookup *l = arg;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *ai;

	snprintf(l->answer, sizeof l->answer, "-");
	if (getaddrinfo(l->name, NULL, &hints, &ai) != 0)
		return;
	getnameinfo(ai->ai_addr, ai->ai_addrlen, l->answer, sizeof l->answer, NULL, 0,
		    NI_NUMERICHOST);
	freeaddrinfo(ai);
}

static int look_up_task(void *arg)
{
	return np_offload(look_up, arg);
}

/* Starts a task for each name. Return: how many, or a negative code; those up to *ret_n run all the
 * same. */
static int start(char *line, struct lookup *l, int *ret_n)
{
	char *rest = line, *name;
	int r;

	while ((name = strtok_r(rest, " \t\r\n", &rest)) && *ret_n < NAMES_MAX) {
		snprintf(l[*ret_n].name, sizeof l->name, "%s", name);
		r = np_go(NULL, NP_HERE, look_up_task, &l[*ret_n], &l[*ret_n].task);
		if (r < 0)
			return r;
		++*ret_n;
	}
	return 0;
}

/* In the order of the names, whichever is known first. All are joined: they use our memory. */
static int answer(struct np_conn *c, struct lookup *l, int n)
{
	int r = 0, failed;

	for (int i = 0; i < n; i++) {
		np_join(&l[i].task, &failed);
		if (failed < 0)
			snprintf(l[i].answer, sizeof l[i].answer, "-");
		if (r == 0)
			r = np_conn_printf(c, "%s%s", l[i].answer, i + 1 < n ? " " : "\n");
	}
	return r;
}

static int on_request(struct np_conn *c, void *arg)
{
	struct lookup *l;
	const void *p;
	char *line;
	size_t len;
	int n = 0, r, started;

	r = np_conn_until(c, '\n', LINE_MAX_BYTES, &p, &len);
	if (r < 0)
		return r;
	/* Not on the stack, of which a fiber has 64 KiB; and the line is the connection's, strtok()
	 * writes. */
	l = calloc(NAMES_MAX, sizeof *l);
	line = strndup(p, len);
	if (!l || !line) {
		free(l);
		free(line);
		return -1;
	}
	started = start(line, l, &n);
	r = answer(c, l, n);
	free(line);
	free(l);
	if (r < 0 || started < 0)
		return -1;
	return np_conn_flush(c);
}

static int serve(struct np_server *s, const char *address)
{
	struct sockaddr_storage ss;
	socklen_t len;
	sigset_t ends;
	int sig;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	if (np_server_listen(s, "tcp", address) < 0 || np_server_start(s) < 0 ||
	    np_server_addr(s, 0, &ss, &len) < 0) {
		fprintf(stderr, "resolve: %s\n", np_server_error(s));
		return EXIT_FAILURE;
	}
	/* where IPv6 has it too */
	printf("listening on port %d\n", ntohs(((struct sockaddr_in *)&ss)->sin_port));
	fflush(stdout);
	sigwait(&ends, &sig);
	return np_server_stop(s, STOP_MS, NULL) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = on_request };
	struct np_server *s;
	sigset_t ends;
	int code, r;

	if (argc != 2) {
		fprintf(stderr, "usage: resolve ADDRESS:PORT\n");
		return 2;
	}
	/* Before there are other threads, so that they inherit it and sigwait() gets them. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	r = np_server_new(NULL, &h, NULL, NULL, &s);
	if (r < 0) {
		fprintf(stderr, "resolve: %s\n", np_strerror(r));
		return EXIT_FAILURE;
	}
	code = serve(s, argv[1]);
	np_server_free(&s);
	return code;
}
