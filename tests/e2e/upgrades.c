/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upgrades: established connections go from process to process while they are asked, and each byte
 * comes once, in its place
 *
 * NP_CONNS connections, NP_UPGRADES upgrades, NP_RATE frames a second: make check-upgrades. Of a
 * proxy half as many pairs, whose two sides are those connections.
 *
 * A pause begins before the old process takes a socket out of its epoll, which is behind its last
 * read, and ends when the next one has opened the last of its batch, which it reads from then on.
 * That it is the same socket SO_COOKIE says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "support/flows.h"
#include "support/handover.h"
#include "support/samples.h"
#include "support/serve.h"
#include "support/test.h"

#define CLIENTS 2
#define CALM    3 /* upgrades while nothing is asked */

static struct {
	unsigned conns, upgrades, rate;
} size;

static struct child old, next, client[CLIENTS], upstream;
static struct hand_facts facts;
static char where[32];
static struct samples *pauses, *answered;

/* ------------------------------------------------------------------ pauses */

struct parting {
	uint64_t cookie, at_ns;
	pid_t pid;
};

#define PARTINGS 65536u
#define BATCH    256u

static struct parting *partings; /* of all processes; NULL: they are not looked at */

/* Of this process: it watches them, and does not read yet. */
static struct {
	uint64_t since_ns[BATCH];
	unsigned n;
	bool told; /* that they are its own */
} arrived;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OTHERS_CALLS 1 /* which has to see each of them itself */
#endif
#endif

#ifndef OTHERS_CALLS
static struct parting *parting_of(int fd, uint64_t *ret_cookie)
{
	socklen_t len = sizeof *ret_cookie;

	if (!partings || getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret_cookie, &len) < 0)
		return NULL;
	return &partings[*ret_cookie % PARTINGS];
}

static void note_leave(int fd)
{
	uint64_t cookie;
	struct parting *p = parting_of(fd, &cookie);

	if (p)
		*p = (struct parting){ cookie, now_ns(), getpid() };
}

static void note_arrival(int fd)
{
	uint64_t cookie;
	struct parting *p = parting_of(fd, &cookie);

	if (!p || p->cookie != cookie || p->pid == getpid() || arrived.n == BATCH)
		return;
	arrived.since_ns[arrived.n++] = p->at_ns;
	p->cookie = 0;
}

/* The thread that takes over asks for the next batch: the one before has been opened. */
static void note_opened(void)
{
	uint64_t now = now_ns();

	if (!arrived.told)
		return;
	while (arrived.n)
		samples_add(pauses, now - arrived.since_ns[--arrived.n]);
	arrived.told = false;
}

int epoll_ctl(int ep, int op, int fd, struct epoll_event *e)
{
	int r;

	if (op == EPOLL_CTL_DEL)
		note_leave(fd);
	r = (int)syscall(SYS_epoll_ctl, ep, op, fd, e);
	if (op == EPOLL_CTL_ADD && r == 0)
		note_arrival(fd);
	return r;
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t r;

	note_opened();
	r = syscall(SYS_recvmsg, fd, m, flags);
	if (r > 0 && arrived.n)
		arrived.told = true; /* by the COMMIT */
	return r;
}
#endif

/* ------------------------------------------------------------------ given */

static unsigned number(const char *name, unsigned otherwise)
{
	const char *v = getenv(name);

	return v ? (unsigned)strtoul(v, NULL, 10) : otherwise;
}

static void given_sizes(void)
{
	struct rlimit l;

	size.conns = number("NP_CONNS", 240);
	size.upgrades = number("NP_UPGRADES", 4);
	size.rate = number("NP_RATE", 2000);
	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	ck_assert_uint_gt(l.rlim_cur, size.conns + 200);
	snprintf(where, sizeof where, "@np-upgrades-%d", (int)getpid());
	pauses = samples_new(size.conns * (size.upgrades + CALM));
	answered = samples_new(4u << 20);
	partings = mmap(NULL, PARTINGS * sizeof *partings, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(partings, MAP_FAILED);
}

static void echo_child(int sock, void *arg)
{
	static const struct np_handlers h = { .sz = sizeof h, .on_request = serve_echo };
	struct sockaddr_storage ss;
	socklen_t len;
	char end;

	serve(1, &h, NULL, NULL);
	np_server_addr(serve_server, 0, &ss, &len);
	child_send(sock, &ss, sizeof ss);
	if (recv(sock, &end, 1, 0) == 1) /* else the test has failed */
		serve_end();
}

static const char *given_upstream(void)
{
	static char place[32];
	struct sockaddr_storage ss;

	child_start(&upstream, echo_child, NULL);
	child_recv(upstream.sock, &ss, sizeof ss);
	snprintf(place, sizeof place, "127.0.0.1:%d", ntohs(((struct sockaddr_in *)&ss)->sin_port));
	return place;
}

static void given_flows(unsigned n, bool counted)
{
	struct flows_opts o = { .ss = facts.ss,
				.len = facts.len,
				.rate = size.rate / CLIENTS,
				.counted = counted,
				.answered = answered };

	for (int i = 0; i < CLIENTS; i++)
		flows_start(&client[i]);
	for (int i = 0; i < CLIENTS; i++) {
		o.n = n / CLIENTS + ((unsigned)i < n % CLIENTS);
		flows_begin(&client[i], &o);
	}
	for (int i = 0; i < CLIENTS; i++)
		flows_await(&client[i]);
}

/* ------------------------------------------------------------------ when */

static uint64_t cpu_ns(const struct child *c)
{
	struct timespec t = { 0 };
	clockid_t clock;

	if (clock_getcpuclockid(c->pid, &clock) == 0)
		clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* All @n go. Return: the CPU time that both processes took for it. */
static uint64_t upgrade(const struct hand_opts *o, unsigned n)
{
	struct hand_facts f;
	uint64_t cpu;

	hand_new(&next, o);
	hand_facts(&next, &f); /* it is there, and waits */
	cpu = cpu_ns(&old) + cpu_ns(&next);
	hand_ask_over(&old, where, AWAIT_MS, AWAIT_MS);
	hand_ask_take(&next, where, AWAIT_MS);
	hand_hear(&next, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
	hand_hear(&old, &f);
	ck_assert_msg(f.r == 0, "%s", f.error);
	cpu = cpu_ns(&old) + cpu_ns(&next) - cpu;
	ck_assert_uint_eq(f.handed.handed, n);
	ck_assert_uint_eq(f.handed.refused + f.handed.busy + f.handed.stays, 0);
	hand_stop(&old, &f);
	ck_assert_int_eq(f.emoved, f.closes);
	old = next;
	return cpu;
}

static void upgrade_under_load(const struct hand_opts *o, unsigned n)
{
	for (unsigned i = 1; i <= size.upgrades; i++) {
		uint32_t so_far = samples_n(answered), some = size.rate / 4 + 1;
		uint64_t began = now_ns();

		AWAIT(samples_n(answered) - so_far >= some || samples_n(answered) >= 4u << 20);
		upgrade(o, n);
		printf("upgrade %u: %u handed over, %u answers so far, %.0f ms\n", i, n,
		       samples_n(answered), (double)(now_ns() - began) / 1e6);
		fflush(stdout);
	}
}

static double upgrade_while_calm(const struct hand_opts *o, unsigned n)
{
	uint64_t cpu = 0;

	for (int i = 0; i < CLIENTS; i++)
		flows_rest(&client[i]);
	for (int i = 0; i < CALM; i++)
		cpu += upgrade(o, n);
	for (int i = 0; i < CLIENTS; i++)
		flows_go(&client[i]);
	return (double)cpu / 1e3 / CALM / n;
}

/* ------------------------------------------------------------------ then */

static struct flows_facts end_flows(void)
{
	struct flows_facts all = { 0 }, f;

	for (int i = 0; i < CLIENTS; i++) {
		flows_end(&client[i], &f);
		child_join(&client[i]);
		all.asked += f.asked;
		all.answered += f.answered;
		all.bytes += f.bytes;
		all.resets += f.resets;
		all.ends += f.ends;
		all.wrong += f.wrong;
		all.unanswered += f.unanswered;
	}
	return all;
}

static void print_row(const char *what, unsigned n, const struct flows_facts *f, double cpu_us)
{
	printf("upgrades: | %s | %u | %llu | %llu | %llu | %llu | %llu | %llu | %.2f, %.2f, %.2f | "
	       "%.2f, %.2f, %.2f | %.1f |\n",
	       what, n, (unsigned long long)f->asked, (unsigned long long)f->bytes,
	       (unsigned long long)f->resets, (unsigned long long)f->ends,
	       (unsigned long long)f->wrong, (unsigned long long)f->unanswered,
	       samples_ms(pauses, 0.5), samples_ms(pauses, 0.99), samples_ms(pauses, 1),
	       samples_ms(answered, 0.5), samples_ms(answered, 0.99), samples_ms(answered, 1),
	       cpu_us);
	fflush(stdout);
}

static void then_nothing_was_lost(const char *what, unsigned n, double cpu_us)
{
	struct flows_facts f = end_flows();

	print_row(what, n, &f, cpu_us);
	flows_expect_whole(&f);
	ck_assert_uint_gt(f.asked, n);
	hand_stop(&old, &facts);
}

START_TEST(connections_lose_no_byte_through_upgrades)
{
	static const struct hand_opts o = { 0 };
	double cpu_us;

	given_sizes();
	hand_old(&old, &o, &facts);
	given_flows(size.conns, true);
	upgrade_under_load(&o, size.conns);
	cpu_us = upgrade_while_calm(&o, size.conns);
	then_nothing_was_lost("connections", size.conns, cpu_us);
}
END_TEST

START_TEST(pairs_of_a_proxy_lose_no_byte_through_upgrades)
{
	struct hand_opts o = { .upstream = given_upstream() };
	unsigned n;
	double cpu_us;

	given_sizes();
	n = size.conns / 2;
	hand_old(&old, &o, &facts);
	given_flows(n, false);
	upgrade_under_load(&o, n);
	cpu_us = upgrade_while_calm(&o, n);
	then_nothing_was_lost("pairs of a proxy", n, cpu_us);
	child_say(upstream.sock, 'x');
	child_join(&upstream);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "upgrades");

	tcase_add_test(t, connections_lose_no_byte_through_upgrades);
	tcase_add_test(t, pairs_of_a_proxy_lose_no_byte_through_upgrades);
}
