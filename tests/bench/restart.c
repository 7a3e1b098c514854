/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * restart: servers that are restarted under load, and the load: what scripts/bench-restart runs
 *
 *   restart steered ADDR:PORT SERVICE   a server of the library, in a pinned service
 *   restart plain ADDR:PORT             epoll and SO_REUSEPORT, as careful as it can be: at SIGTERM
 *                                       it accepts what is queued, answers what has come, and ends
 *   restart load ADDR:PORT THINK_MS RATE KEPT   until SIGTERM
 *
 * A request is a line, the answer "keep\n", or "last\n" from a server that drains: then the client
 * comes back with a new connection, as HTTP's "Connection: close" has it. A server says "ready"
 * and, at its end, what it counted.
 *
 * The load opens RATE connections a second, whatever becomes of them: each connects, thinks, asks
 * once, reads the answer and is gone. KEPT others ask, think and ask again on one connection. What
 * went wrong is counted by what the client saw: refused, reset, EOF in place of an answer. A kept
 * client that sees EOF before it asks has lost nothing, and that is counted apart.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <netpoll/server.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define LINE    5 /* of each request and answer */
#define BACKLOG 4096
#define STOP_MS 30000
#define LATE_MS 10000 /* then the client gives up */
#define EVENTS  256
#define FLOWS   65536
#define AT_ONCE 64 /* connections begun in one turn, when the load is behind */

static void die(const char *what)
{
	fprintf(stderr, "restart: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static sigset_t block_term(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

static void say_ready(void)
{
	printf("ready\n");
	fflush(stdout);
}

/* ------------------------------------------------------------------ a server of the library */

static int answer(struct np_conn *c, void *arg)
{
	bool last = np_conn_draining(c);
	const void *line;
	int r = np_conn_next(c, LINE, &line);

	if (r == 0)
		r = np_conn_write(c, last ? "last\n" : "keep\n", LINE);
	if (r == 0)
		r = np_conn_flush(c);
	return r == 0 && last ? np_conn_close(c) : r;
}

static int steered(const char *address, const char *service)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = answer };
	struct np_server_stats st = { .sz = sizeof st };
	struct np_server *s = NULL;
	sigset_t term = block_term();
	unsigned forced = 0;
	int sig, r;

	r = np_server_new(NULL, &h, NULL,
			  NP_OPTS(np_server_opts, .service = service, .steer = NP_STEER_REQUIRED),
			  &s);
	if (r == 0)
		r = np_server_listen(s, "tcp", address);
	if (r == 0)
		r = np_server_start(s);
	if (r < 0) {
		fprintf(stderr, "restart: %s\n", s ? np_server_error(s) : np_strerror(r));
		return 1;
	}
	say_ready();
	sigwait(&term, &sig);
	r = np_server_stop(s, STOP_MS, &forced);
	np_server_stats(s, &st);
	printf("drained=%llu fresh=%llu raced=%llu forced=%u\n", (unsigned long long)st.drained,
	       (unsigned long long)st.fresh, (unsigned long long)st.raced, forced);
	np_server_free(&s);
	return r < 0;
}

/* ------------------------------------------------------------------ a plain one */

static int plain_listen(const char *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	struct sockaddr_in sa = client_address(address);

	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, BACKLOG) < 0)
		die("listen");
	return fd;
}

static void plain_watch(int ep, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

/* Return: whether it is to be closed. */
static bool plain_answer(int fd, bool last)
{
	char line[LINE];
	ssize_t n;

	while ((n = recv(fd, line, LINE, 0)) == LINE) {
		if (send(fd, last ? "last\n" : "keep\n", LINE, MSG_NOSIGNAL) < 0 || last)
			return true;
	}
	return n >= 0 || errno != EAGAIN;
}

static bool plain_open[FLOWS];

static void plain_accept(int ep, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (fd >= FLOWS)
			die("too many connections");
		plain_open[fd] = true;
		plain_watch(ep, fd);
	}
}

static void plain_end(int ep, int listener)
{
	plain_accept(ep, listener);
	close(listener);
	for (int fd = 0; fd < FLOWS; fd++) {
		if (!plain_open[fd])
			continue;
		plain_answer(fd, true);
		close(fd);
	}
	printf("drained=- fresh=- raced=- forced=-\n");
}

static int plain(const char *address)
{
	sigset_t term = block_term();
	int ep = epoll_create1(EPOLL_CLOEXEC), signals = signalfd(-1, &term, SFD_CLOEXEC);
	int listener = plain_listen(address);
	struct epoll_event e[EVENTS];

	plain_watch(ep, listener);
	plain_watch(ep, signals);
	say_ready();
	for (;;) {
		int n = epoll_wait(ep, e, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = e[i].data.fd;

			if (fd == signals) {
				plain_end(ep, listener);
				return 0;
			}
			if (fd == listener) {
				plain_accept(ep, listener);
			} else if (plain_answer(fd, false)) {
				plain_open[fd] = false;
				close(fd);
			}
		}
	}
}

/* ------------------------------------------------------------------ the load */

enum state { UNUSED, CONNECTING, THINKING, ASKED };

struct flow {
	enum state state;
	int fd;
	bool kept;  /* it asks again and again */
	bool asked; /* on this connection, at least once */
	size_t got;
	char line[LINE];
	uint64_t due_us; /* THINKING: it asks; else it gives up */
	struct flow *next;
};

struct queue {
	struct flow *head, **tail;
};

static struct {
	uint64_t n, ok, refused, reset, eof, late, moved, closed;
} count[2]; /* [1]: of kept ones */

static struct flow flows[FLOWS];
static struct flow *unused;
static struct queue thinking;
static struct sockaddr_in target;
static uint64_t think_us;
static unsigned at_work;
static volatile sig_atomic_t over;
static int ep;

static void flow_connect(struct flow *f);

static void flow_drop(struct flow *f)
{
	struct linger rst = { .l_onoff = 1 }; /* no port is used up by TIME_WAIT */

	setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
	close(f->fd);
	at_work--;
	if (f->kept && !over) {
		flow_connect(f);
		return;
	}
	f->state = UNUSED;
	f->next = unused;
	unused = f;
}

static void flow_fails(struct flow *f, int err)
{
	if (err == ECONNREFUSED)
		count[f->kept].refused++;
	else if (err == 0)
		count[f->kept].eof++;
	else if (err == ETIMEDOUT)
		count[f->kept].late++;
	else
		count[f->kept].reset++;
	flow_drop(f);
}

/* All think for the same time: the first in the queue is the first to ask. */
static void flow_thinks(struct flow *f)
{
	f->state = THINKING;
	f->due_us = now_us() + think_us;
	f->next = NULL;
	*thinking.tail = f;
	thinking.tail = &f->next;
}

static void flow_watch(struct flow *f, uint32_t events, int op)
{
	struct epoll_event e = { .events = events, .data.ptr = f };

	if (epoll_ctl(ep, op, f->fd, &e) < 0)
		die("epoll_ctl");
}

static void flow_connect(struct flow *f)
{
	int on = 1;

	f->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0)
		die("socket");
	setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	f->state = CONNECTING;
	f->asked = false;
	f->got = 0;
	f->due_us = now_us() + LATE_MS * 1000u;
	at_work++;
	count[f->kept].n++;
	if (connect(f->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
		flow_fails(f, errno);
	else
		flow_watch(f, EPOLLOUT | EPOLLONESHOT, EPOLL_CTL_ADD);
}

static void flow_connected(struct flow *f)
{
	socklen_t len = sizeof(int);
	int err = 0;

	getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err)
		flow_fails(f, err);
	else
		flow_thinks(f);
}

/* As clients that keep connections do, it looks whether the server has closed before it asks. */
static void flow_asks(struct flow *f)
{
	char c;

	if (f->asked && recv(f->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		count[f->kept].closed++;
		flow_drop(f);
		return;
	}
	f->asked = true;
	f->state = ASKED;
	f->got = 0;
	f->due_us = now_us() + LATE_MS * 1000u;
	if (send(f->fd, "asks\n", LINE, MSG_NOSIGNAL) != LINE)
		flow_fails(f, errno);
	else
		flow_watch(f, EPOLLIN | EPOLLONESHOT, EPOLL_CTL_MOD);
}

static void flow_reads(struct flow *f)
{
	ssize_t n = recv(f->fd, f->line + f->got, LINE - f->got, 0);
	bool last;

	if (n <= 0) {
		flow_fails(f, n ? errno : 0);
		return;
	}
	f->got += (size_t)n;
	if (f->got < LINE) {
		flow_watch(f, EPOLLIN | EPOLLONESHOT, EPOLL_CTL_MOD);
		return;
	}
	count[f->kept].ok++;
	last = !memcmp(f->line, "last\n", LINE);
	count[f->kept].moved += last;
	if (last || !f->kept || over)
		flow_drop(f);
	else
		flow_thinks(f);
}

static void asks_that_are_due(void)
{
	uint64_t now = now_us();

	while (thinking.head && thinking.head->due_us <= now) {
		struct flow *f = thinking.head;

		thinking.head = f->next;
		if (!thinking.head)
			thinking.tail = &thinking.head;
		flow_asks(f);
	}
}

static void flow_new(bool kept)
{
	struct flow *f = unused;

	if (!f)
		die("too many connections under way");
	unused = f->next;
	f->kept = kept;
	flow_connect(f);
}

static void give_up_late_ones(void)
{
	uint64_t now = now_us();

	for (int i = 0; i < FLOWS; i++)
		if ((flows[i].state == CONNECTING || flows[i].state == ASKED) &&
		    flows[i].due_us <= now)
			flow_fails(&flows[i], ETIMEDOUT);
}

static void one_turn(uint64_t until_us)
{
	struct epoll_event e[EVENTS];
	uint64_t now = now_us();
	int ms, n;

	if (thinking.head && thinking.head->due_us < until_us)
		until_us = thinking.head->due_us;
	ms = until_us > now ? (int)((until_us - now) / 1000) : 0;
	n = epoll_wait(ep, e, EVENTS, ms);
	for (int i = 0; i < n; i++) {
		struct flow *f = e[i].data.ptr;

		if (f->state == CONNECTING)
			flow_connected(f);
		else if (f->state == ASKED)
			flow_reads(f);
	}
	asks_that_are_due();
}

static void print_counts(bool kept)
{
	const char *of = kept ? "kept_" : "";

	printf("%sn=%llu %sok=%llu %srefused=%llu %sreset=%llu %seof=%llu %slate=%llu %slast=%llu %sclosed=%llu ",
	       of, (unsigned long long)count[kept].n, of, (unsigned long long)count[kept].ok, of,
	       (unsigned long long)count[kept].refused, of, (unsigned long long)count[kept].reset,
	       of, (unsigned long long)count[kept].eof, of, (unsigned long long)count[kept].late,
	       of, (unsigned long long)count[kept].moved, of,
	       (unsigned long long)count[kept].closed);
}

static void is_over(int sig)
{
	over = 1;
}

static int load(char **argv)
{
	uint64_t gap_us, next, looked = 0;

	target = client_address(argv[2]);
	think_us = (uint64_t)atoi(argv[3]) * 1000u;
	gap_us = 1000000u / (uint64_t)atoi(argv[4]);
	thinking.tail = &thinking.head;
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < FLOWS; i++) {
		flows[i].next = unused;
		unused = &flows[i];
	}
	for (int i = 0; i < atoi(argv[5]); i++)
		flow_new(true);
	signal(SIGTERM, is_over);
	next = now_us();
	while (!over || at_work) {
		for (int i = 0; !over && i < AT_ONCE && next <= now_us(); i++, next += gap_us)
			flow_new(false);
		one_turn(over ? now_us() + 100000 : next);
		if (now_us() > looked + 1000000) {
			looked = now_us();
			give_up_late_ones();
		}
	}
	print_counts(false);
	print_counts(true);
	printf("\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "steered"))
		return steered(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "plain"))
		return plain(argv[2]);
	if (argc == 6 && !strcmp(argv[1], "load"))
		return load(argv);
	fprintf(stderr, "usage: restart steered ADDR:PORT SERVICE | plain ADDR:PORT |"
			" load ADDR:PORT THINK_MS RATE KEPT\n");
	return 2;
}
