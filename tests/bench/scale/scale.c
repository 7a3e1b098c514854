/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scale: from one established connection to many: what each costs, and what the others notice
 *
 *   scale [CONNS]      default 100000
 *
 * PAIRS server processes, each at an address of its own (127.0.0.x), and as many client processes
 * hold connections that have been asked once; ACTIVE further ones ask beside them, one message at a
 * time on each. No process needs more than a sixth of CONNS descriptors. Prints a table.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "child.h"
#include "client.h"
#include "proc.h"
#include "server.h"

#define PAIRS    6
#define ACTIVE   100
#define ASK_MS   3000
#define QUIET_MS 2000

struct fleet {
	struct child servers[PAIRS], clients[PAIRS], active;
	struct sockaddr_in at[PAIRS];
	long memory, kernel; /* before there was a connection that is held */
};

/* Each process inherits it. */
static void raise_descriptors(int conns)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		die("getrlimit");
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		die("setrlimit");
	if (r.rlim_cur < (rlim_t)(conns / PAIRS + 200)) {
		fprintf(stderr,
			"scale: %d connections need %d descriptors a process, and %lu may be had: ulimit -Hn\n",
			conns, conns / PAIRS + 200, (unsigned long)r.rlim_cur);
		exit(1);
	}
}

static void fleet_start(struct fleet *f)
{
	struct active active = { .n = ACTIVE, .servers = PAIRS, .at = f->at };

	for (int i = 0; i < PAIRS; i++) {
		struct in_addr host = { htonl(INADDR_LOOPBACK + (unsigned)i) };

		child_start(&f->servers[i], server_run, &host);
		child_hear(f->servers[i].sock, &f->at[i], sizeof f->at[i]);
	}
	for (int i = 0; i < PAIRS; i++)
		child_start(&f->clients[i], client_hold, &f->at[i]);
	child_start(&f->active, client_ask, &active);
}

static void fleet_end(struct fleet *f)
{
	child_end(&f->active);
	for (int i = 0; i < PAIRS; i++) {
		child_end(&f->clients[i]);
		child_end(&f->servers[i]);
	}
}

static long fleet_memory(const struct fleet *f)
{
	long sum = 0;

	for (int i = 0; i < PAIRS; i++)
		sum += proc_memory(f->servers[i].pid);
	return sum;
}

static uint64_t fleet_cpu_ns(const struct fleet *f)
{
	uint64_t sum = 0;

	for (int i = 0; i < PAIRS; i++)
		sum += proc_cpu_ns(f->servers[i].pid);
	return sum;
}

/* All clients at once. */
static void fleet_hold(struct fleet *f, int conns, struct latency *first)
{
	struct latency one;

	for (int i = 0; i < PAIRS; i++) {
		int n = conns / PAIRS + (i < conns % PAIRS);

		child_tell(f->clients[i].sock, &n, sizeof n);
	}
	for (int i = 0; i < PAIRS; i++) {
		child_hear(f->clients[i].sock, &one, sizeof one);
		latency_merge(first, &one);
	}
}

static void fleet_ask(struct fleet *f, int ms, struct latency *ret)
{
	child_tell(f->active.sock, &ms, sizeof ms);
	child_hear(f->active.sock, ret, sizeof *ret);
}

static void print_head(void)
{
	struct utsname u;

	uname(&u);
	printf("Made by `make bench-scale`: Linux %s, %ld CPUs; %d servers with a poller each, %d clients.\n"
	       "Memory is the servers' own (anonymous, resident) and the kernel's (SUnreclaim, both ends), for each\n"
	       "connection that is held. First answers: from connect(2) on, %d clients at once. %d connections ask beside\n"
	       "those, one message of %u bytes at a time on each, for %d s. Idle: the servers' CPU while nobody asks.\n\n",
	       u.release, sysconf(_SC_NPROCESSORS_ONLN), PAIRS, PAIRS, PAIRS, ACTIVE, MESSAGE,
	       ASK_MS / 1000);
	printf("| held | bytes each | kernel's bytes each | first answer: p50, p99, max ms | %d asking: p50, p99, max ms | answers/s | CPU ns an answer | idle: CPU ms/s |\n"
	       "|---|---|---|---|---|---|---|---|\n",
	       ACTIVE);
}

/* Of a few connections it is lost in what else happens. */
static void print_memory(const struct fleet *f, int conns)
{
	if (conns < 1000)
		printf("| %d | - | - | ", conns);
	else
		printf("| %d | %ld | %ld | ", conns, (fleet_memory(f) - f->memory) / conns,
		       (proc_kernel_memory() - f->kernel) / conns);
}

static void print_row(struct fleet *f, int conns)
{
	struct latency first = { 0 }, asked = { 0 };
	uint64_t cpu, began;
	double idle, seconds;

	fleet_hold(f, conns, &first);
	cpu = fleet_cpu_ns(f);
	usleep(QUIET_MS * 1000);
	idle = (double)(fleet_cpu_ns(f) - cpu) / 1e6 / (QUIET_MS / 1e3);
	print_memory(f, conns);
	printf("%.2f, %.2f, %.1f | ", latency_us(&first, 0.5) / 1e3, latency_us(&first, 0.99) / 1e3,
	       latency_us(&first, 1) / 1e3);
	cpu = fleet_cpu_ns(f);
	began = now_ns();
	fleet_ask(f, ASK_MS, &asked);
	seconds = (double)(now_ns() - began) / 1e9;
	printf("%.2f, %.2f, %.1f | %.0f | %.0f | %.2f |\n", latency_us(&asked, 0.5) / 1e3,
	       latency_us(&asked, 0.99) / 1e3, latency_us(&asked, 1) / 1e3,
	       (double)asked.n / seconds, (double)(fleet_cpu_ns(f) - cpu) / (double)asked.n, idle);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const int steps[] = { 1, 10, 100, 1000, 10000, 30000, 60000 };
	int conns = argc > 1 ? atoi(argv[1]) : 100000;
	struct latency warm = { 0 };
	struct fleet f;

	if (conns < 1) {
		fprintf(stderr, "usage: scale [CONNS]\n");
		return 2;
	}
	raise_descriptors(conns);
	fleet_start(&f);
	fleet_ask(&f, 500, &warm);
	f.memory = fleet_memory(&f);
	f.kernel = proc_kernel_memory();
	print_head();
	for (size_t i = 0; i < sizeof steps / sizeof *steps && steps[i] < conns; i++)
		print_row(&f, steps[i]);
	print_row(&f, conns);
	fleet_end(&f);
	return 0;
}
