/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * runtime: what it costs that a handler waits: ns for each park and wake, and bytes for each that
 * is parked
 *
 *   runtime [FIBERS [CONNS]]      default 10000 and 4000
 *
 * Each time is the median of RUNS runs, in CPU time of the poller's thread, so that other work on
 * the machine counts little. A fiber that is woken goes on in the next turn, and a turn asks the
 * kernel for events: alone, a wake-up pays for a turn; among many, its share of one. Bytes are
 * resident, anonymous and private.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netpoll/server.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS   9
#define ROUNDS 2000

static struct np_pollers *pollers;

static void die(const char *what, int r)
{
	fprintf(stderr, "runtime: %s: %s\n", what, np_strerror(r));
	exit(1);
}

static void must(const char *what, int r)
{
	if (r < 0)
		die(what, r);
}

static void *must_have(void *p)
{
	if (!p)
		die("memory", -ENOMEM);
	return p;
}

/* ------------------------------------------------------------------ time */

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static struct {
	int (*fn)(void *);
	void *arg;
	double ns[RUNS];
} measured;

static int measure_on_fiber(void *arg)
{
	for (int i = 0; i < RUNS; i++) {
		double before = cpu_ns();

		must("a measured function", measured.fn(measured.arg));
		measured.ns[i] = cpu_ns() - before;
	}
	return 0;
}

/* What @fn(@arg), which does something @n times, costs each time. */
static void report(const char *what, int (*fn)(void *), void *arg, double n)
{
	measured.fn = fn;
	measured.arg = arg;
	must("np_run", np_run(pollers, measure_on_fiber, NULL));
	qsort(measured.ns, RUNS, sizeof measured.ns[0], by_value);
	printf("%-58s %8.0f ns\n", what, measured.ns[RUNS / 2] / n);
}

static int yield(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		np_yield();
	return 0;
}

struct pair {
	struct np_event *a, *b;
};

static int answer(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		must("np_event_wait", np_event_wait(p->a, 0));
		np_event_set(p->b);
	}
	return 0;
}

static int ask(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		np_event_set(p->a);
		must("np_event_wait", np_event_wait(p->b, 0));
	}
	return 0;
}

/* @arg pairs of fibers that take turns: each round is two waits and two sets. */
static int pairs(void *arg)
{
	int n = *(int *)arg;
	struct pair *p = must_have(calloc((size_t)n, sizeof *p));
	struct np_task **t = must_have(calloc((size_t)n * 2, sizeof *t));

	for (int i = 0; i < n; i++) {
		must("np_event_new", np_event_new(&p[i].a));
		must("np_event_new", np_event_new(&p[i].b));
		must("np_go", np_go(NULL, NP_HERE, answer, &p[i], &t[2 * i]));
		must("np_go", np_go(NULL, NP_HERE, ask, &p[i], &t[2 * i + 1]));
	}
	for (int i = 0; i < 2 * n; i++)
		must("np_join", np_join(&t[i], NULL));
	for (int i = 0; i < n; i++) {
		np_event_free(&p[i].a);
		np_event_free(&p[i].b);
	}
	free(p);
	free(t);
	return 0;
}

static int set_and_take(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		np_event_set(p->a);
		must("np_event_wait", np_event_wait(p->a, 0));
	}
	return 0;
}

static int nothing(void *arg)
{
	return 0;
}

static int go_and_join(void *arg)
{
	struct np_task *t[64];

	for (int i = 0; i < ROUNDS / 64; i++) {
		for (int k = 0; k < 64; k++)
			must("np_go", np_go(NULL, NP_HERE, nothing, NULL, &t[k]));
		for (int k = 0; k < 64; k++)
			must("np_join", np_join(&t[k], NULL));
	}
	return 0;
}

static void times(unsigned n)
{
	int one = 1, many = 64;
	struct pair p;

	must("np_event_new", np_event_new(&p.a));
	report("np_event_set() and np_event_wait() that need not park", set_and_take, &p, ROUNDS);
	report("np_yield(): a park, a turn of the poller, a wake", yield, NULL, ROUNDS);
	report("np_event: set, park, wake; two fibers alone", pairs, &one, 2.0 * ROUNDS);
	report("np_event: set, park, wake; two fibers among 128", pairs, &many,
	       2.0 * ROUNDS * many);
	report("np_go() and np_join() of a task that does nothing, 64 at once", go_and_join, NULL,
	       ROUNDS / 64 * 64);
	np_event_free(&p.a);
}

/* ------------------------------------------------------------------ memory */

static double resident(void)
{
	char line[256];
	double kb, sum = 0;
	FILE *f = fopen("/proc/self/smaps_rollup", "re");

	if (!f)
		die("smaps_rollup", -errno);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "Anonymous: %lf kB", &kb) == 1)
			sum = kb;
	fclose(f);
	return sum * 1024;
}

static struct np_event *all_parked;
static unsigned expected, parked;

static void one_more(void)
{
	if (++parked == expected)
		np_event_set(all_parked);
}

static int park(void *arg)
{
	one_more();
	return np_event_wait(arg, 0);
}

static void fibers(unsigned n)
{
	struct np_event **e = must_have(calloc(n, sizeof *e));
	struct np_task **t = must_have(calloc(n, sizeof *t));
	double before, during;

	for (unsigned i = 0; i < n; i++)
		must("np_event_new", np_event_new(&e[i]));
	expected = n;
	parked = 0;
	before = resident();
	for (unsigned i = 0; i < n; i++)
		must("np_go", np_go(pollers, 0, park, e[i], &t[i]));
	must("np_event_wait", np_event_wait(all_parked, 0));
	during = resident();
	printf("%-58s %8.0f bytes\n", "a fiber parked in np_event_wait()", (during - before) / n);
	for (unsigned i = 0; i < n; i++) {
		np_event_set(e[i]);
		must("np_join", np_join(&t[i], NULL));
		np_event_free(&e[i]);
	}
	free(e);
	free(t);
}

/* ------------------------------------------------------------------ handlers of connections */

static int on_connect(struct np_conn *c, void *arg)
{
	one_more();
	return 0;
}

static int on_request(struct np_conn *c, void *arg)
{
	const void *p;

	one_more();
	return np_conn_next(c, 4, &p);
}

/* Connects; on a word from the parent sends one byte of the four that a handler wants; goes with
 * the parent. */
static void client(in_port_t port, unsigned n, int from_parent)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = port };
	int *fd = must_have(calloc(n, sizeof *fd));
	char word;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < n; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd[i] < 0 || connect(fd[i], (struct sockaddr *)&sa, sizeof sa) < 0)
			die("connect", -errno);
	}
	if (read(from_parent, &word, 1) != 1)
		die("read", -errno);
	for (unsigned i = 0; i < n; i++)
		if (send(fd[i], &word, 1, MSG_NOSIGNAL) != 1)
			die("send", -errno);
	if (read(from_parent, &word, 1) != 0)
		die("read", -errno);
	exit(0);
}

static void await_parked(void)
{
	must("np_event_wait", np_event_wait(all_parked, 0));
	parked = 0;
}

static void connections(unsigned n)
{
	static const struct np_handlers h = { .sz = sizeof h,
					      .on_connect = on_connect,
					      .on_request = on_request };
	struct sockaddr_storage sa;
	struct np_server *s;
	double idle, during;
	socklen_t len;
	int p[2];
	pid_t pid;

	expected = n;
	parked = 0;
	must("np_server_new",
	     np_server_new(pollers, &h, NULL, NP_OPTS(np_server_opts, .steer = NP_STEER_OFF), &s));
	must("np_server_listen", np_server_listen(s, "tcp4", "127.0.0.1:0"));
	must("np_server_addr", np_server_addr(s, 0, &sa, &len));
	must("np_server_start", np_server_start(s));
	if (pipe(p) < 0)
		die("pipe", -errno);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		close(p[1]);
		client(((struct sockaddr_in *)&sa)->sin_port, n, p[0]);
	}
	await_parked();
	idle = resident();
	if (write(p[1], "x", 1) != 1)
		die("write", -errno);
	await_parked();
	during = resident();
	printf("%-58s %8.0f bytes\n", "a handler parked in np_conn_next(), beyond its connection",
	       (during - idle) / n);
	close(p[1]);
	waitpid(pid, NULL, 0);
	must("np_server_stop", np_server_stop(s, 10000, NULL));
	must("np_server_free", np_server_free(&s));
}

/* Each part has pollers of its own: what one takes is not what another has left behind. */
static void with_pollers(void (*part)(unsigned), unsigned n)
{
	must("np_pollers_start", np_pollers_start(NP_OPTS(np_pollers_opts, .count = 1), &pollers));
	must("np_event_new", np_event_new(&all_parked));
	part(n);
	must("np_pollers_stop", np_pollers_stop(pollers, 10000));
	must("np_pollers_free", np_pollers_free(&pollers));
	np_event_free(&all_parked);
}

int main(int argc, char **argv)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
	with_pollers(times, 0);
	with_pollers(fibers, argc > 1 ? (unsigned)atoi(argv[1]) : 10000);
	with_pollers(connections, argc > 2 ? (unsigned)atoi(argv[2]) : 4000);
	return 0;
}
