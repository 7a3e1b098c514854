/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * floor: what the machine itself takes, which no library can beat
 *
 *   floor SERVER_CPU CLIENT_CPU
 *
 * Prints "name value" lines:
 *
 *   syscall_ns                     getppid(2), the best of some batches
 *   copy_gbs, copy_cached_gbs      memcpy() of 64 MiB, and of 256 KiB
 *   wake_same_p50_ns, _p99_ns      from one thread's write to an eventfd until another one that
 *                                  read it runs, both on SERVER_CPU: half a round trip
 *   wake_other_p50_ns, _p99_ns     likewise, one of them on CLIENT_CPU
 *   tcp_p50_ns, tcp_p99_ns         64 bytes over loopback and back, between two threads that block
 *                                  in read(2) and write(2), one on each CPU
 *   tcp_cpu_ns                     CPU time of the one on SERVER_CPU for each of those
 *
 * Each takes a fraction of a second; the first tenth of the rounds is warm-up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_NS  400000000u /* of one ping-pong */
#define ROUNDS   20000u
#define TCP_SIZE 64
#define BIG      ((size_t)64 << 20)
#define SMALL    ((size_t)256 << 10)

static void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0)
		die("sched_setaffinity");
}

/* ------------------------------------------------------------------ one thread */

static double syscall_ns(void)
{
	enum { BATCHES = 50, CALLS = 5000 };
	uint64_t best = UINT64_MAX;

	for (int b = 0; b < BATCHES; b++) {
		uint64_t begin = now_ns(), took;

		for (int i = 0; i < CALLS; i++)
			syscall(SYS_getppid);
		took = now_ns() - begin;
		best = took < best ? took : best;
	}
	return (double)best / CALLS;
}

/* The best of some, of @n bytes @times over; bytes that are read count, not those written too. */
static double copy_gbs(size_t n, int times)
{
	char *from = malloc(n), *to = malloc(n);
	uint64_t best = UINT64_MAX;

	if (!from || !to)
		die("memory");
	memset(from, 1, n);
	memset(to, 2, n);
	for (int b = 0; b < 10; b++) {
		uint64_t begin = now_ns(), took;

		for (int i = 0; i < times; i++) {
			memcpy(to, from, n);
			__asm__ volatile("" : : "r"(to) : "memory");
		}
		took = now_ns() - begin;
		best = took < best ? took : best;
	}
	free(from);
	free(to);
	return (double)n * times / (double)best;
}

/* ------------------------------------------------------------------ two threads */

/* The two ends, the one that asks first. */
struct pair {
	int read[2], write[2];
	size_t size; /* of a message */
	int cpu[2];
	uint64_t echo_cpu_ns; /* of the second thread, in all */
	uint64_t echoes;
};

struct result {
	uint64_t p50, p99;
	double cpu_ns;
};

static void move(int fd, char *p, size_t n, ssize_t (*fn)(int, void *, size_t))
{
	while (n) {
		ssize_t k = fn(fd, p, n);

		if (k <= 0)
			die("a ping-pong");
		p += k;
		n -= (size_t)k;
	}
}

static ssize_t put(int fd, void *p, size_t n)
{
	return write(fd, p, n);
}

static void *echo(void *arg)
{
	struct pair *p = arg;
	char bytes[TCP_SIZE] = { 0 };
	ssize_t n;

	pin(p->cpu[1]);
	while ((n = read(p->read[1], bytes, p->size)) > 0) {
		if (bytes[0] == 2)
			break;
		move(p->write[1], bytes, (size_t)n, put);
		p->echoes++;
	}
	p->echo_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Round trips in @ns, at most ROUNDS; how many there were. */
static unsigned ask(struct pair *p, uint64_t *ns)
{
	char bytes[TCP_SIZE] = { 1 }; /* of an eventfd: 1 */
	uint64_t end = now_ns() + MOST_NS, begin;
	unsigned n = 0;

	while (n < ROUNDS && (begin = now_ns()) < end) {
		move(p->write[0], bytes, p->size, put);
		move(p->read[0], bytes, p->size, read);
		ns[n++] = now_ns() - begin;
	}
	bytes[0] = 2;
	move(p->write[0], bytes, p->size, put);
	return n;
}

static struct result ping_pong(struct pair *p)
{
	uint64_t *ns = calloc(ROUNDS, sizeof *ns);
	struct result r;
	unsigned n, warm;
	pthread_t t;

	if (!ns || pthread_create(&t, NULL, echo, p))
		die("a thread");
	pin(p->cpu[0]);
	n = ask(p, ns);
	pthread_join(t, NULL);
	warm = n / 10;
	if (n - warm < 10) {
		errno = ETIME;
		die("a ping-pong");
	}
	qsort(ns + warm, n - warm, sizeof *ns, by_size);
	r.p50 = ns[warm + (n - warm) / 2];
	r.p99 = ns[warm + (n - warm) * 99 / 100];
	r.cpu_ns = p->echoes ? (double)p->echo_cpu_ns / (double)p->echoes : 0;
	free(ns);
	return r;
}

static void wake(const char *name, int asks, int echoes)
{
	int there = eventfd(0, EFD_CLOEXEC), back = eventfd(0, EFD_CLOEXEC);
	struct pair p = { .read = { back, there },
			  .write = { there, back },
			  .size = sizeof(uint64_t),
			  .cpu = { asks, echoes } };
	struct result r;

	if (there < 0 || back < 0)
		die("eventfd");
	r = ping_pong(&p);
	printf("wake_%s_p50_ns %llu\nwake_%s_p99_ns %llu\n", name, (unsigned long long)r.p50 / 2,
	       name, (unsigned long long)r.p99 / 2);
	close(there);
	close(back);
}

static void socket_pair(int fd[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = sizeof sa;

	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&sa, len) < 0 || listen(l, 1) < 0 ||
	    getsockname(l, (struct sockaddr *)&sa, &len) < 0 ||
	    connect(fd[0], (struct sockaddr *)&sa, len) < 0)
		die("a connection");
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (fd[1] < 0)
		die("accept");
	for (int i = 0; i < 2; i++)
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	close(l);
}

static void tcp(int asks, int echoes)
{
	struct pair p = { .size = TCP_SIZE, .cpu = { asks, echoes } };
	struct result r;
	int fd[2];

	socket_pair(fd);
	for (int i = 0; i < 2; i++)
		p.read[i] = p.write[i] = fd[i];
	r = ping_pong(&p);
	printf("tcp_p50_ns %llu\ntcp_p99_ns %llu\ntcp_cpu_ns %.0f\n", (unsigned long long)r.p50,
	       (unsigned long long)r.p99, r.cpu_ns);
	close(fd[0]);
	close(fd[1]);
}

int main(int argc, char **argv)
{
	int server, client;

	if (argc != 3) {
		fprintf(stderr, "usage: floor SERVER_CPU CLIENT_CPU\n");
		return 2;
	}
	server = atoi(argv[1]);
	client = atoi(argv[2]);
	pin(server);
	printf("syscall_ns %.0f\n", syscall_ns());
	printf("copy_gbs %.1f\ncopy_cached_gbs %.1f\n", copy_gbs(BIG, 1), copy_gbs(SMALL, 100));
	wake("same", server, server);
	wake("other", client, server);
	tcp(client, server);
	return 0;
}
