/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * visitors: an open-loop load for servers of others: what scripts/bench-adopt and demo-adopt run
 *
 *   visitors http|work|dns PORT RATE SECONDS WORKERS HELD_PERCENT HELD_MS [HISTORY]
 *
 * RATE connections a second come to 127.0.0.1 at random, whatever became of those before. Each
 * asks at once and ends with its answer; HELD_PERCENT of them stay for HELD_MS after that. The
 * body of an HTTP answer is the number of the worker that gave it; to work it is whatever /work
 * has, compressed.
 *
 * Prints what became of all: answered, refused, reset, EOF in place of an answer, given up; the ms
 * from when each was due to the first byte of its answer; of how many that was above 100; and
 * the connections that stay, of the fullest worker, as a multiple of the mean of WORKERS. HISTORY
 * gets a line for each 100 ms, by when connections were due: ms, how many waited for more than 100
 * ms, how many were lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define VISITS  32768 /* at once */
#define LATE_US 5000000u
#define LOOK_US 100000u /* for late ones, and at the balance */
#define VICTIM  100.0f  /* ms */
#define EVENTS  256
#define AT_ONCE 64 /* begun in one turn, when the load is behind */
#define SOURCES 200
#define SERVERS 64
#define PERIODS 4096
#define ANSWER  511

enum state { UNUSED, CONNECTING, ASKED, STAYING };

struct visit {
	enum state state;
	int fd, server;
	bool stays;
	uint64_t due_us;
	uint64_t end_us; /* STAYING: it leaves; else it gives up */
	size_t got;
	char answer[ANSWER + 1];
	struct visit *next;
};

static struct visit visits[VISITS], *unused;
static struct {
	struct visit *head, **tail;
} staying;

static struct {
	uint64_t n, ok, refused, reset, eof, late;
} count;

static struct {
	float *v;
	size_t n, cap;
} waits, ratios;

static struct {
	unsigned victims, lost;
} history[PERIODS];

static struct {
	long name;
	unsigned live;
} servers[SERVERS];
static int servers_n;

static const char *request;
static size_t request_len;
static bool is_dns;
static struct sockaddr_in target;
static uint64_t start_us, held_us;
static unsigned at_work, source;
static int ep;

static void die(const char *what)
{
	fprintf(stderr, "visitors: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ------------------------------------------------------------------ what is noted */

static void waits_add(float ms)
{
	if (waits.n == waits.cap) {
		waits.cap = waits.cap ? 2 * waits.cap : 4096;
		waits.v = realloc(waits.v, waits.cap * sizeof *waits.v);
		if (!waits.v)
			die("memory");
	}
	waits.v[waits.n++] = ms;
}

static size_t period(const struct visit *v)
{
	size_t p = (v->due_us - start_us) / 100000u;

	return p < PERIODS ? p : PERIODS - 1;
}

static int server_of(long name)
{
	int i;

	for (i = 0; i < servers_n; i++)
		if (servers[i].name == name)
			return i;
	if (servers_n == SERVERS)
		return 0;
	servers[servers_n].name = name;
	return servers_n++;
}

static void note_balance(unsigned workers)
{
	unsigned most = 0, sum = 0;

	for (int i = 0; i < servers_n; i++) {
		sum += servers[i].live;
		most = servers[i].live > most ? servers[i].live : most;
	}
	if (!sum || !workers)
		return;
	if (ratios.n == ratios.cap) {
		ratios.cap = ratios.cap ? 2 * ratios.cap : 1024;
		ratios.v = realloc(ratios.v, ratios.cap * sizeof *ratios.v);
		if (!ratios.v)
			die("memory");
	}
	ratios.v[ratios.n++] = (float)most * (float)workers / (float)sum;
}

/* ------------------------------------------------------------------ a visit */

static void visit_end(struct visit *v)
{
	if (v->state == STAYING)
		servers[v->server].live--;
	close(v->fd);
	at_work--;
	v->state = UNUSED;
	v->next = unused;
	unused = v;
}

static void visit_fails(struct visit *v, int err)
{
	if (err == ECONNREFUSED)
		count.refused++;
	else if (err == 0)
		count.eof++;
	else if (err == ETIMEDOUT)
		count.late++;
	else
		count.reset++;
	history[period(v)].lost++;
	visit_end(v);
}

static void visit_watch(struct visit *v, uint32_t events, int op)
{
	struct epoll_event e = { .events = events | EPOLLONESHOT, .data.ptr = v };

	if (epoll_ctl(ep, op, v->fd, &e) < 0)
		die("epoll_ctl");
}

/* Many addresses of ours: the ports of one would all be in TIME_WAIT soon. */
static int visit_socket(void)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + source++ % SOURCES);
	if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
		die("bind");
	return fd;
}

static void visit_begin(uint64_t due_us, bool stays)
{
	struct visit *v = unused;

	if (!v) {
		count.n++;
		count.late++;
		return;
	}
	unused = v->next;
	*v = (struct visit){ .state = CONNECTING,
			     .fd = visit_socket(),
			     .stays = stays,
			     .due_us = due_us,
			     .end_us = now_us() + LATE_US };
	at_work++;
	count.n++;
	if (connect(v->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
		visit_fails(v, errno);
	else
		visit_watch(v, EPOLLOUT, EPOLL_CTL_ADD);
}

static void visit_connected(struct visit *v)
{
	socklen_t len = sizeof(int);
	int err = 0;

	getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (!err && send(v->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
		err = errno;
	if (err) {
		visit_fails(v, err);
		return;
	}
	v->state = ASKED;
	visit_watch(v, EPOLLIN, EPOLL_CTL_MOD);
}

/* All stay equally long: the first in the queue is the first to leave. */
static void visit_stays(struct visit *v, long name)
{
	v->state = STAYING;
	v->server = server_of(name);
	servers[v->server].live++;
	v->end_us = now_us() + held_us;
	v->next = NULL;
	*staying.tail = v;
	staying.tail = &v->next;
}

static void visit_first_byte(const struct visit *v)
{
	float ms = (float)(now_us() - v->due_us) / 1000.0f;

	waits_add(ms);
	history[period(v)].victims += ms > VICTIM;
}

/* Return: whether the answer is all there; the worker that gave it. */
static bool visit_complete(struct visit *v, long *ret_name)
{
	const char *body;

	v->answer[v->got] = '\0';
	body = strstr(v->answer, "\r\n\r\n");
	if (!is_dns && (!body || !body[4]) && v->got < ANSWER)
		return false;
	*ret_name = !is_dns && body ? atol(body + 4) : 0;
	return true;
}

static void visit_reads(struct visit *v)
{
	ssize_t n = recv(v->fd, v->answer + v->got, ANSWER - v->got, 0);
	long name;

	if (n <= 0) {
		visit_fails(v, n ? errno : 0);
		return;
	}
	if (!v->got)
		visit_first_byte(v);
	v->got += (size_t)n;
	if (!visit_complete(v, &name)) {
		visit_watch(v, EPOLLIN, EPOLL_CTL_MOD);
		return;
	}
	count.ok++;
	if (v->stays)
		visit_stays(v, name);
	else
		visit_end(v);
}

static void leave_those_that_are_due(uint64_t now)
{
	while (staying.head && staying.head->end_us <= now) {
		struct visit *v = staying.head;

		staying.head = v->next;
		if (!staying.head)
			staying.tail = &staying.head;
		visit_end(v);
	}
}

static void give_up_late_ones(uint64_t now)
{
	for (int i = 0; i < VISITS; i++)
		if ((visits[i].state == CONNECTING || visits[i].state == ASKED) &&
		    visits[i].end_us <= now)
			visit_fails(&visits[i], ETIMEDOUT);
}

static void one_turn(uint64_t until_us)
{
	struct epoll_event e[EVENTS];
	uint64_t now = now_us();
	int ms = until_us > now ? (int)((until_us - now) / 1000) : 0;
	int n = epoll_wait(ep, e, EVENTS, ms > 10 ? 10 : ms);

	for (int i = 0; i < n; i++) {
		struct visit *v = e[i].data.ptr;

		if (v->state == CONNECTING)
			visit_connected(v);
		else if (v->state == ASKED)
			visit_reads(v);
	}
	leave_those_that_are_due(now_us());
}

/* ------------------------------------------------------------------ the whole */

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static float at(const float *v, size_t n, double part)
{
	return n ? v[(size_t)((double)(n - 1) * part)] : 0;
}

static void print_all(void)
{
	size_t victims = 0;

	qsort(waits.v, waits.n, sizeof *waits.v, by_size);
	qsort(ratios.v, ratios.n, sizeof *ratios.v, by_size);
	for (size_t i = 0; i < waits.n; i++)
		victims += waits.v[i] > VICTIM;
	printf("n=%llu ok=%llu refused=%llu reset=%llu eof=%llu late=%llu victims=%zu ",
	       (unsigned long long)count.n, (unsigned long long)count.ok,
	       (unsigned long long)count.refused, (unsigned long long)count.reset,
	       (unsigned long long)count.eof, (unsigned long long)count.late, victims);
	printf("p50=%.2f p99=%.2f p999=%.2f most=%.1f ", (double)at(waits.v, waits.n, 0.5),
	       (double)at(waits.v, waits.n, 0.99), (double)at(waits.v, waits.n, 0.999),
	       (double)at(waits.v, waits.n, 1));
	if (ratios.n)
		printf("ratio=%.3f ratio_most=%.3f", (double)at(ratios.v, ratios.n, 0.5),
		       (double)at(ratios.v, ratios.n, 1));
	printf("\n");
}

static void write_history(const char *path, double seconds)
{
	FILE *f = fopen(path, "w");

	if (!f)
		die(path);
	for (size_t i = 0; i < (size_t)(seconds * 10) && i < PERIODS; i++)
		fprintf(f, "%zu %u %u\n", i * 100, history[i].victims, history[i].lost);
	fclose(f);
}

/* Return: whether there is such a request. */
static bool set_request(const char *kind)
{
	/* Length, number, recursion wanted, one question: localhost, A, IN. */
	static const char question[] = "\0\33\0\7\1\0\0\1\0\0\0\0\0\0\11localhost\0\0\1\0\1";
	static const char work[] = "GET /work HTTP/1.1\r\nHost: localhost\r\n"
				   "Accept-Encoding: gzip\r\n\r\n";
	static const char page[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

	is_dns = !strcmp(kind, "dns");
	if (is_dns) {
		request = question;
		request_len = sizeof question - 1;
		return true;
	}
	request = strcmp(kind, "work") ? page : work;
	request_len = strlen(request);
	return request == work || !strcmp(kind, "http");
}

static void run(double rate, double seconds, unsigned workers, double held)
{
	uint64_t next = now_us(), end = next + (uint64_t)(seconds * 1e6), looked = next;

	start_us = next;
	while (now_us() < end || at_work) {
		for (int i = 0; i < AT_ONCE && next <= now_us() && next < end; i++) {
			visit_begin(next, drand48() * 100 < held);
			next += (uint64_t)(-log(1 - drand48()) / rate * 1e6);
		}
		one_turn(next < end ? next : now_us() + 10000);
		if (now_us() < looked + LOOK_US)
			continue;
		looked = now_us();
		give_up_late_ones(looked);
		/* What stays has to be in balance once some have left. */
		if (looked > start_us + held_us && looked < end)
			note_balance(workers);
	}
}

int main(int argc, char **argv)
{
	if (argc < 8 || argc > 9 || !set_request(argv[1])) {
		fprintf(stderr,
			"usage: visitors http|work|dns PORT RATE SECONDS WORKERS HELD_PERCENT HELD_MS [HISTORY]\n");
		return 2;
	}
	target = (struct sockaddr_in){ .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)atoi(argv[2])),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	held_us = (uint64_t)atoi(argv[7]) * 1000u;
	srand48((long)now_us());
	staying.tail = &staying.head;
	for (int i = 0; i < VISITS; i++) {
		visits[i].next = unused;
		unused = &visits[i];
	}
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		die("epoll_create1");
	run(atof(argv[3]), atof(argv[4]), (unsigned)atoi(argv[5]), atof(argv[6]));
	print_all();
	if (argc == 9)
		write_history(argv[8], atof(argv[4]));
	return 0;
}
