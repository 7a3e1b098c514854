/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * processes: storms beside each other, each with its share of the requests and a seed of its own
 *
 * The first process has no part in them. It adds up what they have counted, says how far they are,
 * and ends all of them when one has failed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "storm.h"

#define LOOK_US   50000u
#define SEED_STEP 104729u

struct storm_counts *storm_counts;

static struct storm_counts *counts;     /* of each */
static pid_t pids[STORM_PROCESSES_MAX]; /* 0: it has ended */
static uint64_t began_ns;

static struct storm_counts sum(void)
{
	struct storm_counts all = { 0 };

	for (unsigned i = 0; i < storm.processes; i++) {
		all.answered += counts[i].answered;
		all.dials += counts[i].dials;
		all.stops += counts[i].stops;
		all.moves += counts[i].moves;
		all.beside += counts[i].beside;
		all.handoffs += counts[i].handoffs;
		all.refused += counts[i].refused;
		for (unsigned op = 0; op < STORM_OP_COUNT; op++)
			all.handled[op] += counts[i].handled[op];
	}
	return all;
}

static double elapsed_s(void)
{
	return (double)(storm_now_ns() - began_ns) / 1e9;
}

/* Of those that have ended, and of those that run. */
static double cpu_s(void)
{
	struct rusage u;
	struct timespec t;
	clockid_t clock;
	double s;

	getrusage(RUSAGE_CHILDREN, &u);
	s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	    (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	for (unsigned i = 0; i < storm.processes; i++)
		if (pids[i] && clock_getcpuclockid(pids[i], &clock) == 0 &&
		    clock_gettime(clock, &t) == 0)
			s += (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	return s;
}

static void say_progress(void)
{
	struct storm_counts n = sum();
	double s = elapsed_s(), cpu = cpu_s();

	printf("storm: %.0f s: %lu of %lu, %.0f a second, %.2f CPUs; %lu hand-offs, %lu beside others, %lu streams, "
	       "%lu dials, %lu stops, %lu moves\n",
	       s, n.answered, storm.requests, (double)n.answered / s, cpu / s, n.handoffs, n.beside,
	       n.handled[STORM_STREAM], n.dials, n.stops, n.moves);
	fflush(stdout);
}

static void report(void)
{
	struct storm_counts n = sum();
	double s = elapsed_s(), cpu = cpu_s();

	printf("storm: %lu requests answered in %.0f s, each byte as it was sent: %.0f a second, %.1f us of CPU each; seed %u\n",
	       n.answered, s, (double)n.answered / s, cpu * 1e6 / (double)n.answered, storm.seed);
	printf("  %lu hand-offs, %.0f a million requests; %lu refused; %lu handlers ran beside others of their poller\n",
	       n.handoffs, (double)n.handoffs * 1e6 / (double)n.answered, n.refused, n.beside);
	printf("  %u connections at a time, %u processes of them; %lu dials, %lu stops of a server, %u of all pollers, %lu moves\n",
	       storm.conns, storm.processes, n.dials, n.stops, storm.rounds * storm.processes,
	       n.moves);
	printf("  handlers:");
	for (unsigned op = 0; op < STORM_OP_COUNT; op++)
		printf("%s %s %lu", op ? "," : "", storm_ops[op].name, n.handled[op]);
	printf("\n");
}

static void begin(unsigned i, void (*run)(void))
{
	pids[i] = fork();
	if (pids[i] < 0)
		storm_fail("fork: %s", strerror(errno));
	if (pids[i])
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	storm_counts = &counts[i];
	storm.requests /= storm.processes;
	storm.seed += i * SEED_STEP;
	run();
	exit(0);
}

static void end_all(void)
{
	for (unsigned i = 0; i < storm.processes; i++)
		if (pids[i])
			kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

static void ended(pid_t pid, int status)
{
	for (unsigned i = 0; i < storm.processes; i++)
		if (pids[i] == pid)
			pids[i] = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	end_all();
	storm_counts = &counts[0];
	storm_fail("process %d ended with status 0x%x", (int)pid, status);
}

/* Return: whether one goes on. */
static bool look(void)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		ended(pid, status);
	return pid == 0;
}

void storm_processes(void (*run)(void))
{
	uint64_t said_ns = began_ns = storm_now_ns();
	size_t n = storm.processes * sizeof *counts;

	counts = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		storm_fail("mmap: %s", strerror(errno));
	fflush(stdout);
	for (unsigned i = 0; i < storm.processes; i++)
		begin(i, run);
	while (look()) {
		storm_sleep_us(LOOK_US);
		if (!storm.progress_s ||
		    storm_now_ns() < said_ns + storm.progress_s * 1000000000ull)
			continue;
		say_progress();
		said_ns = storm_now_ns();
	}
	report();
}
