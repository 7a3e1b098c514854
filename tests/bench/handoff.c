/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handoff: what a handler that keeps its thread costs the other connections of its poller; prints
 * doc/handoff-figures.md
 *
 *   handoff [GO-SERVER]    GO-SERVER: tests/bench/go/stall.go, built; beside ours where it is given
 *
 * The server is a process of its own with one poller, or one P. The others ask at moments fixed
 * beforehand, whatever the answers do: a latency counts from the moment at which the request was
 * due. The rows are measured in turns, so that what else runs on this machine meets them all.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <netpoll/server.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STALL_MS   250
#define PAUSE_MS   50 /* between two stalls */
#define RUN_S      4
#define TURNS      5
#define OTHERS     4 /* connections */
#define SAMPLES    (RUN_S * 1000)
#define MANY       100
#define MANY_MAX   200000
#define WARM_UP_MS 2500
#define IDLE_MS    5000

enum op { QUICK, SLEEP, COMPUTE, BLOCKING, OFFLOAD };

/* On the wire; the answer is the same. */
struct request {
	uint32_t op, us;
};

enum kind { GO = -3 };

struct setup {
	int handoff_ms; /* -1: handlers without NP_MAY_BLOCK; GO */
	int threads;
};

static struct server {
	pid_t pid;
	int port, alive; /* closed: it ends */
} server;

static const char *go_server;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void must(const char *what, int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "handoff: %s: %s\n", what, np_strerror(r));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_us(unsigned us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000l };

	nanosleep(&t, NULL);
}

static void wait_until(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* ------------------------------------------------------------------ the server */

static void block(void *arg)
{
	sleep_us(*(unsigned *)arg);
}

static int work(struct request *q)
{
	uint64_t end = now_ns() + q->us * 1000ull;

	switch (q->op) {
	case SLEEP:
		sleep_us(q->us);
		return 0;
	case COMPUTE:
		while (now_ns() < end)
			;
		return 0;
	case BLOCKING:
		return np_blocking(block, &q->us);
	case OFFLOAD:
		return np_offload(block, &q->us);
	default:
		return 0;
	}
}

static int on_request(struct np_conn *c, void *arg)
{
	struct request q;
	const void *p;
	int r = np_conn_next(c, sizeof q, &p);

	if (r < 0)
		return r;
	memcpy(&q, p, sizeof q);
	r = work(&q);
	if (r == 0)
		r = np_conn_write(c, &q, sizeof q);
	return r < 0 ? r : np_conn_flush(c);
}

/* Until the other end of @alive is closed. */
static void serve(const struct setup *o, int port_to, int alive)
{
	struct np_handlers h = { .sz = sizeof h, .on_request = on_request };
	struct np_pollers_opts po = { .sz = sizeof po, .count = 1, .hog_ms = -1 };
	struct np_server_opts so = { .sz = sizeof so, .steer = NP_STEER_OFF };
	struct sockaddr_storage ss;
	struct np_pollers *p;
	struct np_server *s;
	socklen_t len;
	char end;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	h.flags = o->handoff_ms > 0 ? NP_MAY_BLOCK : 0;
	po.handoff_ms = o->handoff_ms > 0 ? o->handoff_ms : 0;
	po.handoff_threads = o->threads;
	must("pollers", np_pollers_start(&po, &p));
	must("server", np_server_new(p, &h, NULL, &so, &s));
	must("listen", np_server_listen(s, "tcp", "127.0.0.1:0"));
	must("start", np_server_start(s));
	must("address", np_server_addr(s, 0, &ss, &len));
	dprintf(port_to, "%d\n", ntohs(((struct sockaddr_in *)&ss)->sin_port));
	while (read(alive, &end, 1) > 0)
		;
	_exit(0);
}

static void exec_go(int port_to)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setenv("GOMAXPROCS", "1", 1);
	dup2(port_to, 1);
	execl(go_server, go_server, (char *)NULL);
	die(go_server);
}

static void server_start(const struct setup *o)
{
	int port[2], alive[2];
	FILE *f;

	if (pipe(port) < 0 || pipe(alive) < 0)
		die("pipe");
	fflush(stdout);
	server.pid = fork();
	if (server.pid < 0)
		die("fork");
	if (server.pid == 0) {
		close(alive[1]);
		if (o->handoff_ms == GO)
			exec_go(port[1]);
		serve(o, port[1], alive[0]);
	}
	close(port[1]);
	close(alive[0]);
	server.alive = alive[1];
	f = fdopen(port[0], "r");
	if (!f || fscanf(f, "%d", &server.port) != 1) {
		fprintf(stderr, "handoff: the server did not start\n");
		exit(1);
	}
	fclose(f);
}

static void server_stop(void)
{
	close(server.alive);
	kill(server.pid, SIGKILL);
	waitpid(server.pid, NULL, 0);
}

/* ------------------------------------------------------------------ clients */

static int dial(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons((uint16_t)server.port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static void send_part(int fd, const void *p, size_t n)
{
	if (send(fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("send");
}

static void ask(int fd, enum op op, unsigned us)
{
	send_part(fd, &(struct request){ op, us }, sizeof(struct request));
}

static void await(int fd)
{
	struct request q;

	if (recv(fd, &q, sizeof q, MSG_WAITALL) != sizeof q)
		die("recv");
}

static double ms_since(uint64_t ns)
{
	return (double)(now_ns() - ns) / 1e6;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double of_sorted(const double *v, unsigned n, double p)
{
	return n ? v[(unsigned)(p * (n - 1))] : 0;
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof *v, by_size);
	return v[n / 2];
}

/* ------------------------------------------------------------------ one stalls, the others ask */

static _Atomic(bool) over;
static enum op stall_op;

static void *stall_on(void *arg)
{
	int fd = dial();

	while (!over) {
		ask(fd, stall_op, STALL_MS * 1000);
		await(fd);
		sleep_us(PAUSE_MS * 1000);
	}
	close(fd);
	return NULL;
}

static unsigned ask_others(double *ms)
{
	uint64_t due = now_ns();
	int fd[OTHERS];
	unsigned n;

	for (int i = 0; i < OTHERS; i++)
		fd[i] = dial();
	for (n = 0; n < SAMPLES; n++) {
		due += 1000000;
		wait_until(due);
		ask(fd[n % OTHERS], QUICK, 0);
		await(fd[n % OTHERS]);
		ms[n] = ms_since(due);
	}
	for (int i = 0; i < OTHERS; i++)
		close(fd[i]);
	return n;
}

struct row {
	const char *stall, *how;
	enum op op; /* QUICK: nothing stalls */
	struct setup setup;
	double p50[TURNS], p99[TURNS], p999[TURNS], max[TURNS];
};

static struct row rows[] = {
	{ "none", "off", QUICK, { -1, 0 } },
	{ "none", "handoff_ms 10", QUICK, { 10, 16 } },
	{ "none", "Go", QUICK, { GO, 0 } },
	{ "sleep", "off", SLEEP, { -1, 0 } },
	{ "sleep", "handoff_ms 10", SLEEP, { 10, 16 } },
	{ "sleep", "handoff_ms 2", SLEEP, { 2, 16 } },
	{ "sleep", "np_blocking()", BLOCKING, { -1, 16 } },
	{ "sleep", "np_offload()", OFFLOAD, { -1, 0 } },
	{ "sleep", "Go", SLEEP, { GO, 0 } },
	{ "CPU loop", "off", COMPUTE, { -1, 0 } },
	{ "CPU loop", "handoff_ms 10", COMPUTE, { 10, 16 } },
	{ "CPU loop", "handoff_ms 2", COMPUTE, { 2, 16 } },
	{ "CPU loop", "Go", COMPUTE, { GO, 0 } },
};
#define ROWS (sizeof rows / sizeof rows[0])

static bool can_run(const struct setup *o)
{
	return o->handoff_ms != GO || go_server;
}

static void run_row(struct row *r, unsigned turn)
{
	static double ms[SAMPLES];
	pthread_t stalls;
	unsigned n;

	server_start(&r->setup);
	over = false;
	stall_op = r->op;
	if (r->op != QUICK)
		pthread_create(&stalls, NULL, stall_on, NULL);
	n = ask_others(ms);
	over = true;
	if (r->op != QUICK)
		pthread_join(stalls, NULL);
	server_stop();
	qsort(ms, n, sizeof *ms, by_size);
	r->p50[turn] = of_sorted(ms, n, 0.5);
	r->p99[turn] = of_sorted(ms, n, 0.99);
	r->p999[turn] = of_sorted(ms, n, 0.999);
	r->max[turn] = ms[n - 1];
}

static void one_stalls(void)
{
	for (unsigned turn = 0; turn < TURNS; turn++)
		for (unsigned i = 0; i < ROWS; i++)
			if (can_run(&rows[i].setup))
				run_row(&rows[i], turn);
	printf("## Requests on the stalled worker\n\n"
	       "One connection's handler keeps its thread for %d ms of every %d; %d other connections of the same poller ask, "
	       "together once a millisecond.\nMedians of %d turns of %d s, in ms; of p99 the least and most, too.\n\n"
	       "| the stall | how it is met | p50 | p99 | p99, least to most | p99.9 | max |\n|---|---|---|---|---|---|---|\n",
	       STALL_MS, STALL_MS + PAUSE_MS, OTHERS, TURNS, RUN_S);
	for (unsigned i = 0; i < ROWS; i++) {
		struct row *r = &rows[i];

		if (!can_run(&r->setup))
			continue;
		printf("| %s | %s | %.2f | **%.2f** |", r->stall, r->how, median(r->p50, TURNS),
		       median(r->p99, TURNS));
		printf(" %.2f to %.2f | %.2f | %.2f |\n", r->p99[0], r->p99[TURNS - 1],
		       median(r->p999, TURNS), median(r->max, TURNS));
	}
	fflush(stdout);
}

/* ------------------------------------------------------------------ many stall at once */

static unsigned threads_of(pid_t pid)
{
	char path[64], line[128];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "Threads: %u", &n);
	if (f)
		fclose(f);
	return n;
}

static unsigned answered(const int *fd)
{
	struct pollfd p[MANY];
	int n;

	for (int i = 0; i < MANY; i++)
		p[i] = (struct pollfd){ .fd = fd[i], .events = POLLIN };
	n = poll(p, MANY, 0);
	return n < 0 ? 0 : (unsigned)n;
}

static void many_stall(const char *how, enum op op, const struct setup *o)
{
	static double ms[MANY_MAX];
	unsigned n = 0, most = 0, before, threads;
	int fd[MANY], bystander;
	uint64_t begin, asked;
	double took;

	if (!can_run(o))
		return;
	server_start(o);
	for (int i = 0; i < MANY; i++)
		fd[i] = dial();
	bystander = dial();
	ask(bystander, QUICK, 0);
	await(bystander);
	before = threads_of(server.pid);
	begin = now_ns();
	for (int i = 0; i < MANY; i++)
		ask(fd[i], op, STALL_MS * 1000);
	while (answered(fd) < MANY && n < MANY_MAX) {
		asked = now_ns();
		ask(bystander, QUICK, 0);
		await(bystander);
		ms[n++] = ms_since(asked);
		threads = threads_of(server.pid);
		most = threads > most ? threads : most;
		sleep_us(500);
	}
	took = ms_since(begin);
	server_stop();
	for (int i = 0; i < MANY; i++)
		close(fd[i]);
	close(bystander);
	qsort(ms, n, sizeof *ms, by_size);
	printf("| %s | %.0f | %u | %.2f | %.1f |\n", how, took, most > before ? most - before : 0,
	       of_sorted(ms, n, 0.5), of_sorted(ms, n, 1));
	fflush(stdout);
}

static void many(void)
{
	printf("\n## %d handlers that sleep for %d ms each, at once, on one poller\n\n"
	       "| how | all answered after ms | threads more, at most | a bystander, p50 ms | its worst ms |\n|---|---|---|---|---|\n",
	       MANY, STALL_MS);
	many_stall("off", SLEEP, &(struct setup){ -1, 0 });
	many_stall("handoff_ms 10, 16 threads", SLEEP, &(struct setup){ 10, 16 });
	many_stall("handoff_ms 10, 100 threads", SLEEP, &(struct setup){ 10, 100 });
	many_stall("np_blocking(), 100 threads", BLOCKING, &(struct setup){ -1, 100 });
	many_stall("np_offload(), 4 threads", OFFLOAD, &(struct setup){ -1, 0 });
	many_stall("Go", SLEEP, &(struct setup){ GO, 0 });
}

/* ------------------------------------------------------------------ what was there before */

static void parked(void)
{
	struct request q = { QUICK, 0 };
	int stalls, half, fresh;
	uint64_t begin;
	double new_ms;

	server_start(&(struct setup){ 10, 16 });
	stalls = dial();
	half = dial();
	fresh = dial();
	send_part(half, &q, 4);
	sleep_us(50000);
	ask(stalls, SLEEP, STALL_MS * 1000);
	sleep_us(50000);
	begin = now_ns();
	ask(fresh, QUICK, 0);
	await(fresh);
	new_ms = ms_since(begin);
	send_part(half, (char *)&q + 4, sizeof q - 4);
	await(half);
	printf("\n## What was parked before the stall\n\n"
	       "%d ms into a stall of %d (handoff_ms 10), a request that is new is answered after %.2f ms. The rest of one "
	       "that had come half\nbefore, and whose handler waits for it on the stuck thread, is answered after **%.0f** ms: "
	       "when the thread is free again.\n",
	       50, STALL_MS, new_ms, ms_since(begin));
	server_stop();
	close(stalls);
	close(half);
	close(fresh);
}

/* ------------------------------------------------------------------ idle */

static unsigned long switches_of(pid_t pid)
{
	char path[320], line[128];
	unsigned long sum = 0, n;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		FILE *f;

		snprintf(path, sizeof path, "/proc/%d/task/%s/status", pid, e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (f && fgets(line, sizeof line, f))
			if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
				sum += n;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return sum;
}

static void idle_row(const char *how, const struct setup *o)
{
	unsigned long before, idle;
	int fd;

	if (!can_run(o))
		return;
	server_start(o);
	fd = dial();
	ask(fd, QUICK, 0);
	await(fd);
	sleep_us(WARM_UP_MS * 1000); /* a timer gives stacks back after a second */
	before = switches_of(server.pid);
	sleep_us(IDLE_MS * 1000);
	idle = switches_of(server.pid) - before;
	before = switches_of(server.pid);
	for (int i = 0; i < 50; i++) {
		ask(fd, QUICK, 0);
		await(fd);
		sleep_us(100000);
	}
	printf("| %s | %lu | %.1f |\n", how, idle, (double)(switches_of(server.pid) - before) / 50);
	fflush(stdout);
	server_stop();
	close(fd);
}

static void idle(void)
{
	printf("\n## Idle, and nearly so\n\n"
	       "How often threads of the server were woken.\n\n"
	       "| how | idle, in %d s | for each of 10 requests a second |\n|---|---|---|\n",
	       IDLE_MS / 1000);
	idle_row("off", &(struct setup){ -1, 0 });
	idle_row("handoff_ms 10", &(struct setup){ 10, 16 });
	idle_row("Go", &(struct setup){ GO, 0 });
}

int main(int argc, char **argv)
{
	struct utsname u;
	double load[2][3];

	go_server = argc > 1 ? argv[1] : NULL;
	signal(SIGPIPE, SIG_IGN);
	uname(&u);
	getloadavg(load[0], 3);
	printf("# A handler that blocks: figures\n\n"
	       "Written by `make bench-handoff` (tests/bench/handoff.c): %ld CPUs, Linux %s, one poller. \"Off\" is handlers without\n"
	       "NP_MAY_BLOCK; the others have it, and handoff_ms as the row says. Go: tests/bench/go/stall.go, GOMAXPROCS=1%s.\n\n",
	       sysconf(_SC_NPROCESSORS_ONLN), u.release, go_server ? "" : ", not installed here");
	one_stalls();
	many();
	parked();
	idle();
	getloadavg(load[1], 3);
	printf("\nLoad average (1 minute) of the machine at the beginning %.1f, at the end %.1f.\n",
	       load[0][0], load[1][0]);
	return 0;
}
