/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fanout: a line is asked of several servers at once; the first answer goes back, within 100 ms
 *
 *   fanout 127.0.0.1:7060 127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003
 *
 * The deadline is said once. The tasks begin with it, the losers are cancelled, and all are joined:
 * they use this handler's memory.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netpoll/client.h>
#include <netpoll/server.h>
#include <netpoll/sync.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define ASKED_MAX 16
#define LIMIT_MS  100

struct asked {
	const char *address, *line;
	size_t n;
	struct np_sem *ended;
	struct np_task *task;
	char answer[512];
	size_t got; /* 0: no answer */
};

static char **servers;
static int n_servers;

static int exchange(struct np_conn *c, struct asked *a)
{
	const void *line;
	size_t n;
	int r = np_conn_write(c, a->line, a->n);

	if (r == 0)
		r = np_conn_flush(c);
	if (r == 0)
		r = np_conn_until(c, '\n', sizeof a->answer, &line, &n);
	if (r == 0)
		memcpy(a->answer, line, a->got = n);
	return r;
}

static int ask(void *arg)
{
	struct asked *a = arg;
	struct np_conn *c;
	int r = np_dial(NULL, NP_HERE, "tcp", a->address, NULL, &c);

	if (r == 0) {
		r = exchange(c, a);
		np_conn_close(c);
		np_conn_unref(c);
	}
	np_sem_post(a->ended);
	return r;
}

/* Return: the one that answered first, or NULL. No task is left when it returns. */
static const struct asked *ask_all(struct asked *a, int n)
{
	const struct asked *first = NULL;
	int begun = 0;

	while (begun < n && np_go(NULL, NP_HERE, ask, &a[begun], &a[begun].task) == 0)
		begun++;
	for (int left = begun; left && !first && np_sem_wait(a->ended, 0) == 0; left--)
		for (int i = 0; i < begun && !first; i++)
			first = a[i].got ? &a[i] : NULL;
	for (int i = 0; i < begun; i++)
		np_task_cancel(a[i].task);
	for (int i = 0; i < begun; i++)
		np_join(&a[i].task, NULL);
	return first;
}

static int on_request(struct np_conn *c, void *arg)
{
	struct asked a[ASKED_MAX] = { 0 };
	const struct asked *first;
	struct np_sem *ended;
	const void *line;
	size_t n;
	int r = np_conn_until(c, '\n', 512, &line, &n);

	if (r == 0)
		r = np_sem_new(0, &ended);
	if (r < 0)
		return r;
	for (int i = 0; i < n_servers; i++) {
		a[i].address = servers[i];
		a[i].line = line;
		a[i].n = n;
		a[i].ended = ended;
	}
	np_deadline(LIMIT_MS, NULL);
	first = ask_all(a, n_servers);
	np_deadline_restore(0);
	np_sem_free(&ended);
	r = first ? np_conn_write(c, first->answer, first->got) : np_conn_write(c, "nobody\n", 7);
	return r < 0 ? r : np_conn_flush(c);
}

int main(int argc, char **argv)
{
	struct np_handlers handlers = { .sz = sizeof handlers, .on_request = on_request };
	struct np_pollers_opts po = { .sz = sizeof po, .stack_size = 128u << 10 };
	struct np_pollers *pollers;
	struct np_server *server;
	struct sockaddr_storage at;
	socklen_t len;
	sigset_t end;
	int r, sig;

	if (argc < 3 || argc - 2 > ASKED_MAX) {
		fprintf(stderr, "usage: fanout LISTEN SERVER... (up to %d)\n", ASKED_MAX);
		return 2;
	}
	servers = argv + 2;
	n_servers = argc - 2;
	sigemptyset(&end);
	sigaddset(&end, SIGINT);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	r = np_pollers_start(&po, &pollers);
	if (r == 0)
		r = np_server_new(pollers, &handlers, NULL, NULL, &server);
	if (r < 0) {
		fprintf(stderr, "fanout: %s\n", np_strerror(r));
		return 1;
	}
	r = np_server_listen(server, "tcp", argv[1]);
	if (r == 0)
		r = np_server_start(server);
	if (r < 0) {
		fprintf(stderr, "fanout: %s\n", np_server_error(server));
		return 1;
	}
	np_server_addr(server, 0, &at, &len);
	printf("listening on port %u\n", ntohs(((struct sockaddr_in *)(void *)&at)->sin_port));
	fflush(stdout);
	sigwait(&end, &sig);
	np_server_stop(server, 1000, NULL);
	np_server_free(&server);
	np_pollers_stop(pollers, 1000);
	return np_pollers_free(&pollers) < 0;
}
