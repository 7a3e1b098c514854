/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steer: balance, and what a stalled worker costs others: workers on one address, open-loop arrivals
 *
 *   steer MODE WORKERS SECONDS STALL_MS [RATE [HANG_MS]]
 *
 * MODE: "shared" (one listener, plain epoll), "exclusive" (the same with EPOLLEXCLUSIVE), "kernel" (SO_REUSEPORT and
 * no program), or a policy of npsteer(8), after which "-norescue" leaves a stalled worker's queue alone.
 * RATE connections come each second (1000), at random and whatever became of those before; 95 of 100 live 5 ms,
 * the others 2 s. A worker says one byte to each that it accepts. With STALL_MS worker 0 sleeps that long once a
 * second, with events in hand.
 *
 * Prints: mode, workers, median over time of the live connections' max/mean, ms from connect() to that byte: p50, p99,
 * p99.9, most; connections; failures. What came in the first two seconds is left out.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netpoll/steer.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define WARM_MS     2000
#define SHORT_NS    5000000ull
#define LONG_NS     2000000000ull

static struct np_steer *steer;
static struct sockaddr_in address = { .sin_family = AF_INET };
static unsigned workers, stall_ms;
static int hang_ms;
static _Atomic(bool) over;

static struct worker {
	pthread_t thread;
	unsigned i;
	struct np_steer_worker *w;
	int listener;
	uint32_t how; /* it is watched */
	_Atomic(unsigned) live __attribute__((aligned(64)));
} worker[WORKERS_MAX];

static void die(const char *what)
{
	fprintf(stderr, "steer: %s: %s\n", what, steer && np_steer_error(steer)[0] ? np_steer_error(steer) : strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ------------------------------------------------------------------ a worker */

static void idle(struct worker *k)
{
	if (k->w)
		np_steer_idle(k->w);
}

static void busy(struct worker *k)
{
	if (k->w)
		np_steer_busy(k->w);
}

static void watch(int ep, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
}

static void accept_all(struct worker *k, int ep)
{
	int fd;

	while ((fd = accept4(k->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		k->live++;
		if (k->w)
			np_steer_conn_inc(k->w);
		if (write(fd, "x", 1) < 0)
			perror("write");
		watch(ep, fd, EPOLLIN | EPOLLRDHUP);
	}
	if (errno == EINVAL && k->w && np_steer_relisten(k->w, k->listener) < 0)
		die("np_steer_relisten");
}

static void end(struct worker *k, int fd)
{
	close(fd);
	k->live--;
	if (k->w)
		np_steer_conn_dec(k->w);
}

static void *work(void *arg)
{
	struct epoll_event ev[64];
	struct worker *k = arg;
	int ep = epoll_create1(EPOLL_CLOEXEC), n;
	uint64_t stall_at = now_ns() + 1000000000u;

	watch(ep, k->listener, k->how);
	while (!over) {
		idle(k);
		n = epoll_wait(ep, ev, 64, 100);
		busy(k);
		if (n > 0 && stall_ms && k->i == 0 && now_ns() >= stall_at) {
			nanosleep(&(struct timespec){ 0, (long)stall_ms * 1000000 }, NULL);
			stall_at = now_ns() + 1000000000u;
		}
		for (int i = 0; i < n; i++)
			if (ev[i].data.fd == k->listener)
				accept_all(k, ep);
			else
				end(k, ev[i].data.fd);
	}
	idle(k);
	close(ep);
	return NULL;
}

static int listener(bool reuseport)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	socklen_t len = sizeof address;

	if (fd < 0 || (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
	    bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		die("listener");
	return fd;
}

static void steer_open(const char *mode)
{
	char why[NP_STEER_TEXT_MAX] = "", policy[32];
	char *dash = strstr(strcpy(policy, mode), "-norescue");

	if (dash)
		*dash = '\0';
	if (np_steer_open(NULL, NP_OPTS(np_steer_opts, .mode = NP_STEER_REQUIRED, .policy = policy, .no_rescue = dash != NULL, .hang_ms = hang_ms,
					.error = why, .error_cap = sizeof why), &steer) < 0) {
		fprintf(stderr, "steer: %s\n", why);
		exit(1);
	}
}

static void steered_listener(struct worker *k)
{
	socklen_t len = sizeof address;
	char text[32];

	snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(address.sin_port));
	if (np_steer_worker(steer, "bench", &k->w) < 0 || np_steer_listen(k->w, "tcp", text, 4096, &k->listener) < 0 ||
	    getsockname(k->listener, (struct sockaddr *)&address, &len) < 0)
		die("listener");
}

static void start(const char *mode)
{
	bool shared = !strcmp(mode, "shared") || !strcmp(mode, "exclusive");

	if (!shared && strcmp(mode, "kernel"))
		steer_open(mode);
	for (unsigned i = 0; i < workers; i++) {
		worker[i].i = i;
		worker[i].how = !strcmp(mode, "exclusive") ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN;
		if (steer)
			steered_listener(&worker[i]);
		else
			worker[i].listener = shared && i ? worker[0].listener : listener(!shared);
	}
	for (unsigned i = 0; i < workers; i++)
		if (pthread_create(&worker[i].thread, NULL, work, &worker[i]))
			die("thread");
}

/* ------------------------------------------------------------------ the clients */

#define CONNS 20000 /* descriptors */

static uint64_t began[CONNS];
static float *latency; /* ms */
static size_t n_latency, failed;

/* Connections that live equally long end in the order in which they came. */
struct ends {
	uint64_t after;
	struct end_at {
		int fd;
		uint64_t at;
	} q[CONNS];
	unsigned head, tail;
};

static struct ends short_ones = { .after = SHORT_NS }, long_ones = { .after = LONG_NS };

static void connect_one(int ep)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || fd >= CONNS)
		die("too many at once");
	began[fd] = now_ns();
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
		die("connect");
	watch(ep, fd, EPOLLIN | EPOLLET);
}

static void hear(int fd, uint64_t start_ns)
{
	uint64_t now = now_ns();
	struct ends *e = rand() % 100 < 95 ? &short_ones : &long_ones;
	char c;
	ssize_t n = read(fd, &c, 1);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n != 1) {
		failed++;
		close(fd);
		return;
	}
	if (began[fd] > start_ns)
		latency[n_latency++] = (float)(now - began[fd]) / 1e6f;
	e->q[e->tail++ % CONNS] = (struct end_at){ fd, now + e->after };
}

static void end_due(struct ends *e, uint64_t now)
{
	struct linger l = { .l_onoff = 1 };

	while (e->head != e->tail && e->q[e->head % CONNS].at <= now) {
		int fd = e->q[e->head++ % CONNS].fd;

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l); /* nothing in TIME_WAIT */
		close(fd);
	}
}

static float imbalance(void)
{
	unsigned most = 0, sum = 0, n;

	for (unsigned i = 0; i < workers; i++) {
		n = worker[i].live;
		sum += n;
		most = n > most ? n : most;
	}
	return sum ? (float)most * (float)workers / (float)sum : 1;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static float at(const float *v, size_t n, double part)
{
	return n ? v[(size_t)((double)(n - 1) * part)] : 0;
}

int main(int argc, char **argv)
{
	double rate = argc > 5 ? atof(argv[5]) : 1000;
	uint64_t t0, next, end_ns, sample, now;
	struct epoll_event ev[256];
	static float ratio[1 << 20];
	size_t n_ratio = 0;
	int ep, n;

	if (argc < 5 || atoi(argv[2]) < 1 || atoi(argv[2]) > WORKERS_MAX) {
		fprintf(stderr, "usage: steer shared|exclusive|kernel|POLICY[-norescue] WORKERS SECONDS STALL_MS [RATE [HANG_MS]]\n");
		return 2;
	}
	workers = (unsigned)atoi(argv[2]);
	stall_ms = (unsigned)atoi(argv[4]);
	hang_ms = argc > 6 ? atoi(argv[6]) : 0;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	latency = calloc((size_t)(rate * (atof(argv[3]) + 10)), sizeof *latency);
	start(argv[1]);
	ep = epoll_create1(EPOLL_CLOEXEC);
	srand(7);
	t0 = now_ns() + WARM_MS * 1000000ull;
	end_ns = t0 + (uint64_t)(atof(argv[3]) * 1e9);
	for (next = sample = now_ns(); (now = now_ns()) < end_ns;) {
		for (; next <= now; next += (uint64_t)(-log(1 - drand48()) / rate * 1e9))
			connect_one(ep);
		end_due(&short_ones, now);
		end_due(&long_ones, now);
		if (now > t0 && now >= sample) {
			ratio[n_ratio++] = imbalance();
			sample = now + 10000000;
		}
		n = epoll_wait(ep, ev, 256, next > now + 1000000 ? 1 : 0);
		for (int i = 0; i < n; i++)
			hear(ev[i].data.fd, t0);
	}
	over = true;
	for (unsigned i = 0; i < workers; i++)
		pthread_join(worker[i].thread, NULL);
	qsort(ratio, n_ratio, sizeof *ratio, by_value);
	qsort(latency, n_latency, sizeof *latency, by_value);
	printf("%-22s %3u  %5.2f  %8.2f %8.2f %8.2f %8.2f  %7zu %zu\n", argv[1], workers, at(ratio, n_ratio, 0.5),
	       at(latency, n_latency, 0.5), at(latency, n_latency, 0.99), at(latency, n_latency, 0.999),
	       at(latency, n_latency, 1), n_latency, failed);
	return 0; /* the kernel takes the sockets, and a private program goes with them */
}
