/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fleet: servers of several machines, and the clients behind whose backs they come and go: what
 * scripts/bench-fleet runs
 *
 *   fleet server PORT MACHINE SERVICE plain|proxy
 *   fleet load ADDR PORT RATE SECONDS MACHINES
 *
 * A request is its length and so many random bytes. The answer says them again, their checksum as
 * the server has made it, the server's machine, the client's port as the server was told it (by the
 * PROXY protocol, where a proxy stands between them), and whether that server drains: then the
 * client goes on with a new connection.
 *
 * RATE connections a second come, whatever became of those before; each asks REQUESTS times, with
 * THINK_MS between an answer and the next question. The load prints what became of all, by what the
 * client saw, and of the connections that began in the last third of the time the requests that the
 * fullest machine answered, as a multiple of the mean of MACHINES.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <netpoll/conn.h>
#include <netpoll/server.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BODY     256
#define REQUESTS 10
#define THINK_US 100000u
#define LATE_US  3000000u /* then the client gives up */
#define VISITS   8192
#define SAMPLES  (1u << 20)
#define MACHINES 16
#define EVENTS   256

struct answer {
	uint32_t n; /* of the whole: network order, as are: */
	uint32_t sum;
	uint16_t port;
	uint8_t machine, last;
	unsigned char body[BODY];
};

static void die(const char *what)
{
	fprintf(stderr, "fleet: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* FNV-1a. */
static uint32_t sum_of(const unsigned char *p, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *p++) * 16777619u;
	return h;
}

static struct sockaddr_in at(const char *address, const char *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	if (inet_pton(AF_INET, address, &in.sin_addr) != 1)
		die(address);
	return in;
}

/* ------------------------------------------------------------------ a machine's server */

static uint8_t machine;

static int on_request(struct np_conn *c, void *arg)
{
	struct answer a = { .n = htonl(sizeof a), .machine = machine };
	struct sockaddr_storage ss;
	const void *p;
	socklen_t len;
	int r;

	if (np_conn_len(c) < 4 + BODY)
		return np_conn_want(c, 4 + BODY);
	r = np_conn_next(c, 4 + BODY, &p);
	if (r < 0)
		return r;
	memcpy(a.body, (const char *)p + 4, BODY);
	a.sum = htonl(sum_of(a.body, BODY));
	if (np_conn_remote_addr(c, &ss, &len) == 0)
		a.port = ((struct sockaddr_in *)&ss)->sin_port;
	a.last = np_conn_draining(c);
	r = np_conn_write(c, &a, sizeof a);
	if (r == 0)
		r = np_conn_flush(c);
	return r == 0 && a.last ? np_conn_close(c) : r;
}

static void serve(char **argv)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = on_request };
	struct np_server_opts o = { .sz = sizeof o, .service = argv[4] };
	struct np_pollers *pollers;
	struct np_server *s;
	char address[32];
	sigset_t set;
	int sig;

	machine = (uint8_t)atoi(argv[3]);
	if (!strcmp(argv[5], "proxy"))
		o.proxy = NP_PROXY_REQUIRED;
	snprintf(address, sizeof address, "0.0.0.0:%s", argv[2]);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (np_pollers_start(NP_OPTS(np_pollers_opts, .count = 2, .pin = NP_OFF), &pollers) < 0 ||
	    np_server_new(pollers, &h, NULL, &o, &s) < 0)
		die("no server");
	if (np_server_listen(s, "tcp", address) < 0 || np_server_start(s) < 0) {
		fprintf(stderr, "fleet: %s\n", np_server_error(s));
		exit(1);
	}
	printf("ready\n");
	fflush(stdout);
	sigwait(&set, &sig);
	np_server_stop(s, 10000, NULL);
	np_server_free(&s);
	np_pollers_stop(pollers, 1000);
	np_pollers_free(&pollers);
}

/* ------------------------------------------------------------------ the clients */

enum state { UNUSED, CONNECTING, ASKED, THINKING };

struct visit {
	enum state state;
	int fd;
	unsigned left; /* requests still to be asked */
	bool late_third;
	uint16_t port;
	uint64_t due_us;  /* of the answer that is waited for: since when */
	uint64_t next_us; /* THINKING: until; else: gives up */
	size_t got;
	unsigned char body[BODY];
	union {
		struct answer a;
		char bytes[sizeof(struct answer)];
	} in;
};

static struct visit visits[VISITS];
static struct sockaddr_in target;
static int ep;
static uint64_t begin_us, end_us;
static float samples[SAMPLES];
static unsigned n_samples;
static struct {
	unsigned conns, answers, bad, refused, reset, eof, late, wrong_port, last;
	unsigned by_machine[MACHINES];
} count;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void visit_end(struct visit *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
	v->state = UNUSED;
}

static void visit_fails(struct visit *v, int err)
{
	if (err == ECONNREFUSED)
		count.refused++;
	else if (err == ECONNRESET || err == EPIPE)
		count.reset++;
	else if (err == 0)
		count.eof++;
	else
		count.late++;
	visit_end(v);
}

static void visit_watch(struct visit *v, int op, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.u32 = (uint32_t)(v - visits) };

	if (epoll_ctl(ep, op, v->fd, &e) < 0)
		die("epoll_ctl");
}

static void visit_connect(struct visit *v)
{
	int on = 1;

	v->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (v->fd < 0)
		die("socket");
	setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	v->state = CONNECTING;
	v->next_us = v->due_us + LATE_US;
	count.conns++;
	if (connect(v->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS) {
		visit_fails(v, errno);
		return;
	}
	visit_watch(v, EPOLL_CTL_ADD, EPOLLOUT);
}

static void visit_begin(uint64_t due_us)
{
	struct visit *v = NULL;

	for (unsigned i = 0; i < VISITS && !v; i++)
		if (visits[i].state == UNUSED)
			v = &visits[i];
	if (!v)
		die("more visits than there is room for");
	*v = (struct visit){ .left = REQUESTS,
			     .due_us = due_us,
			     .late_third = due_us > end_us - (end_us - begin_us) / 3 };
	visit_connect(v);
}

static void visit_ask(struct visit *v)
{
	unsigned char request[4 + BODY] = { 0, 0, BODY >> 8, BODY & 0xff };

	for (int i = 0; i < BODY; i++)
		v->body[i] = (unsigned char)rand();
	memcpy(request + 4, v->body, BODY);
	v->state = ASKED;
	v->got = 0;
	v->next_us = v->due_us + LATE_US;
	if (send(v->fd, request, sizeof request, MSG_NOSIGNAL) != sizeof request)
		visit_fails(v, errno);
}

static void visit_connected(struct visit *v)
{
	struct sockaddr_in own;
	socklen_t len = sizeof(int);
	int err = 0;

	getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err) {
		visit_fails(v, err == ETIMEDOUT || err == EHOSTUNREACH ? -1 : err);
		return;
	}
	len = sizeof own;
	getsockname(v->fd, (struct sockaddr *)&own, &len);
	v->port = own.sin_port;
	visit_watch(v, EPOLL_CTL_MOD, EPOLLIN);
	visit_ask(v);
}

static void visit_judge(struct visit *v)
{
	const struct answer *a = &v->in.a;

	count.answers++;
	count.bad += a->n != htonl(sizeof *a) || memcmp(a->body, v->body, BODY) ||
		     a->sum != htonl(sum_of(v->body, BODY));
	count.wrong_port += a->port != v->port;
	if (v->late_third && a->machine < MACHINES)
		count.by_machine[a->machine]++;
}

static void visit_answered(struct visit *v, uint64_t now)
{
	bool last = v->in.a.last;

	visit_judge(v);
	if (n_samples < SAMPLES)
		samples[n_samples++] = (float)(now - v->due_us) / 1000.f;
	if (!--v->left) {
		visit_end(v);
		return;
	}
	if (last) {
		count.last++;
		close(v->fd);
		v->due_us = now;
		visit_connect(v);
		return;
	}
	v->state = THINKING;
	v->next_us = now + THINK_US;
}

static void visit_read(struct visit *v, uint64_t now)
{
	ssize_t n = recv(v->fd, v->in.bytes + v->got, sizeof v->in - v->got, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || v->state == THINKING) {
		visit_fails(v, n < 0 ? errno : 0);
		return;
	}
	v->got += (size_t)n;
	if (v->got == sizeof v->in)
		visit_answered(v, now);
}

/* Those whose time has come. */
static void visits_look(uint64_t now)
{
	for (unsigned i = 0; i < VISITS; i++) {
		struct visit *v = &visits[i];

		if (v->state == UNUSED || v->next_us > now)
			continue;
		if (v->state != THINKING) {
			visit_fails(v, -1);
			continue;
		}
		v->due_us = now;
		visit_ask(v);
	}
}

static unsigned visits_open(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VISITS; i++)
		n += visits[i].state != UNUSED;
	return n;
}

static void load_turn(void)
{
	struct epoll_event e[EVENTS];
	int n = epoll_wait(ep, e, EVENTS, 2);
	uint64_t now = now_us();

	for (int i = 0; i < n; i++) {
		struct visit *v = &visits[e[i].data.u32];

		if (v->state == CONNECTING)
			visit_connected(v);
		else if (v->state != UNUSED)
			visit_read(v, now);
	}
	visits_look(now);
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static double sample_at(double part)
{
	return n_samples ? (double)samples[(unsigned)((n_samples - 1) * part)] : 0;
}

static void load_print(unsigned machines)
{
	unsigned most = 0, all = 0;

	for (unsigned i = 0; i < MACHINES; i++) {
		all += count.by_machine[i];
		most = count.by_machine[i] > most ? count.by_machine[i] : most;
	}
	qsort(samples, n_samples, sizeof *samples, by_size);
	printf("%u %u %u %u %u %u %u %u %.1f %.1f %.1f %.2f\n", count.conns, count.answers,
	       count.bad, count.wrong_port, count.refused, count.reset, count.eof, count.late,
	       sample_at(0.5), sample_at(0.99), sample_at(1),
	       all ? (double)most * machines / all : 0);
}

static void load(char **argv)
{
	double rate = atof(argv[4]), seconds = atof(argv[5]);
	uint64_t gap = (uint64_t)(1e6 / rate), next;

	target = at(argv[2], argv[3]);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		die("epoll");
	next = begin_us = now_us();
	end_us = begin_us + (uint64_t)(seconds * 1e6);
	for (uint64_t now; (now = now_us()) < end_us; load_turn())
		for (; next <= now; next += gap)
			visit_begin(next);
	while (visits_open())
		load_turn();
	load_print((unsigned)atoi(argv[6]));
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "server"))
		serve(argv);
	else if (argc == 7 && !strcmp(argv[1], "load"))
		load(argv);
	else
		return fprintf(stderr, "fleet server PORT MACHINE SERVICE plain|proxy\n"
				       "fleet load ADDR PORT RATE SECONDS MACHINES\n"),
		       2;
	return 0;
}
