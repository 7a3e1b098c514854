/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rebalance: what np_server_opts.rebalance does to hot connections that lie on one poller, and to
 * an even load; prints doc/rebalance-figures.md
 *
 * Each connection has a thread that asks at moments drawn beforehand, whatever the answers do: a
 * latency counts from the moment at which the request was due. What a run does in its first
 * seconds, while connections move, is not counted.
 */
#include <arpa/inet.h>
#include <math.h>
#include <netpoll/server.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX   64
#define SAMPLES_MAX 2000 /* of a connection in a second */
#define WARM_UP_S   4
#define MEASURED_S  5 /* seconds */

enum work { BLOCKS, COMPUTES };

static const struct run {
	const char *name;
	enum work work;
	int us; /* of a hot request */
	int pollers, hot, light, rate;
	bool even;
} runs[] = {
	{ "4 hot of 64 on one of four, handlers that block", BLOCKS, 1000, 4, 4, 60, 210, false },
	{ "the same, even", BLOCKS, 1000, 4, 4, 60, 210, true },
	{ "8 hot on one of two, handlers that block", BLOCKS, 1000, 2, 8, 0, 105, false },
	{ "the same, even", BLOCKS, 1000, 2, 8, 0, 105, true },
	{ "8 hot on one of two, handlers that compute", COMPUTES, 500, 2, 8, 0, 180, false },
	{ "the same, even", COMPUTES, 500, 2, 8, 0, 180, true },
};

static struct {
	const struct run *run;
	struct sockaddr_storage ss;
	socklen_t len;
	_Atomic(int) conns;
	uint64_t begin_ns;
} now;

struct client {
	pthread_t thread;
	int fd;
	bool hot;
	unsigned seed;
	unsigned n[MEASURED_S]; /* by the second in which they were due */
	double us[MEASURED_S][SAMPLES_MAX];
};

static struct client clients[CONNS_MAX];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ------------------------------------------------------------------ the server */

/* The hot ones first, so that an even load has as many of them on each. */
static int on_connect(struct np_conn *c, void *arg)
{
	int n = now.conns++;

	return np_conn_move(c, now.run->even || n >= now.run->hot ? n % now.run->pollers : 0);
}

static void on_move(struct np_conn *c, void *arg, bool arrived)
{
}

static void work(void)
{
	uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + (uint64_t)now.run->us * 1000u;
	struct timespec t = { .tv_nsec = now.run->us * 1000l };

	if (now.run->work == BLOCKS)
		nanosleep(&t, NULL);
	else
		while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
			;
}

static int on_request(struct np_conn *c, void *arg)
{
	const char *p;
	int r = np_conn_next(c, 1, (const void **)&p);

	if (r < 0)
		return r;
	if (*p == 'h')
		work();
	r = np_conn_write(c, p, 1);
	return r < 0 ? r : np_conn_flush(c);
}

/* ------------------------------------------------------------------ the load */

static double gap_ns(struct client *c, int rate)
{
	return -log(1 - rand_r(&c->seed) / (RAND_MAX + 1.0)) * 1e9 / rate;
}

static void wait_until(double ns)
{
	uint64_t at = (uint64_t)ns;
	struct timespec t = { (time_t)(at / 1000000000u), (long)(at % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void note(struct client *c, unsigned second, double us)
{
	if (second < MEASURED_S && c->n[second] < SAMPLES_MAX)
		c->us[second][c->n[second]++] = us;
}

static void *ask(void *arg)
{
	struct client *c = arg;
	int rate = c->hot ? now.run->rate : 5;
	double from = (double)now.begin_ns + WARM_UP_S * 1e9, end = from + MEASURED_S * 1e9;
	char byte = c->hot ? 'h' : 'l';

	for (double due = (double)now.begin_ns + gap_ns(c, rate); due < end;
	     due += gap_ns(c, rate)) {
		wait_until(due);
		if (write(c->fd, &byte, 1) != 1 || read(c->fd, &byte, 1) != 1)
			die("request");
		if (due >= from)
			note(c, (unsigned)((due - from) / 1e9),
			     ((double)clock_ns(CLOCK_MONOTONIC) - due) / 1000);
	}
	return NULL;
}

static void connect_client(int i)
{
	struct client *c = &clients[i];

	*c = (struct client){ .seed = (unsigned)i + 1, .hot = i < now.run->hot };
	c->fd = socket(now.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&now.ss, now.len) < 0)
		die("connect");
	while (now.conns <= i)
		usleep(1000);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(const double *sorted, unsigned n, double p)
{
	return n ? sorted[(unsigned)(p * (n - 1))] / 1000 : 0;
}

/* Return: how many requests there were; *p50, *p99 in ms. */
static unsigned second(int clients_n, unsigned at, double *p50, double *p99)
{
	static double all[CONNS_MAX * SAMPLES_MAX];
	unsigned k = 0;

	for (int i = 0; i < clients_n; i++) {
		memcpy(all + k, clients[i].us[at], clients[i].n[at] * sizeof *all);
		k += clients[i].n[at];
	}
	qsort(all, k, sizeof *all, by_size);
	*p50 = percentile(all, k, 0.5);
	*p99 = percentile(all, k, 0.99);
	return k;
}

/* The median of the seconds: one in which something else ran on this machine is no result. */
static void report(const char *mode, struct np_server *s, int n)
{
	struct np_server_stats st = { .sz = sizeof st };
	double p50[MEASURED_S], p99[MEASURED_S];
	unsigned k = 0;

	for (unsigned i = 0; i < MEASURED_S; i++)
		k += second(n, i, &p50[i], &p99[i]);
	qsort(p50, MEASURED_S, sizeof *p50, by_size);
	qsort(p99, MEASURED_S, sizeof *p99, by_size);
	np_server_stats(s, &st);
	printf("| %s | %s | %.0f | %.1f | %.1f | %llu |\n", now.run->name, mode,
	       k / (double)MEASURED_S, p50[MEASURED_S / 2], p99[MEASURED_S / 2],
	       (unsigned long long)st.rebalanced);
	fflush(stdout);
}

static void run(const struct run *r, int rebalance)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = on_connect,
					      .on_request = on_request,
					      .on_move = on_move };
	struct np_pollers *p;
	struct np_server *s;
	int n = r->hot + r->light;

	now.run = r;
	now.conns = 0;
	if (np_pollers_start(NP_OPTS(np_pollers_opts, .count = r->pollers), &p) < 0 ||
	    np_server_new(p, &h, NULL,
			  NP_OPTS(np_server_opts, .steer = NP_STEER_OFF, .rebalance = rebalance),
			  &s) < 0 ||
	    np_server_listen(s, "tcp", "127.0.0.1:0") < 0 || np_server_start(s) < 0 ||
	    np_server_addr(s, 0, &now.ss, &now.len) < 0)
		die("server");
	for (int i = 0; i < n; i++)
		connect_client(i);
	now.begin_ns = clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < n; i++)
		pthread_create(&clients[i].thread, NULL, ask, &clients[i]);
	for (int i = 0; i < n; i++)
		pthread_join(clients[i].thread, NULL);
	report(rebalance ? "on" : "off", s, n);
	for (int i = 0; i < n; i++)
		close(clients[i].fd);
	np_server_stop(s, 1000, NULL);
	np_server_free(&s);
	np_pollers_stop(p, 1000);
	np_pollers_free(&p);
}

int main(void)
{
	printf("# The rebalancer: figures\n\n"
	       "Written by `make bench-rebalance` (tests/bench/rebalance.c): %ld CPUs, loads that ask at drawn moments "
	       "whatever the answers do, %d s\nmeasured behind %d s in which connections may move, at most 10 a second; p50 and p99 are the "
	       "median of these seconds'.\nA hot request takes 1 ms that blocks the thread, or 0.5 ms of CPU.\n\n"
	       "| load | rebalance | requests/s | p50 ms | p99 ms | moves |\n|---|---|---|---|---|---|\n",
	       sysconf(_SC_NPROCESSORS_ONLN), MEASURED_S, WARM_UP_S);
	fflush(stdout);
	for (unsigned i = 0; i < sizeof runs / sizeof runs[0]; i++) {
		run(&runs[i], 0);
		run(&runs[i], 10);
	}
	return 0;
}
