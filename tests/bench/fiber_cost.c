/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fiber_cost: what a switch, a start, a stack and a parked fiber cost
 *
 * A loop that only switches flatters: its few returns are all there is to mispredict. A poller
 * calls its handlers from some frames deep and a handler waits from some frames deep, and each of
 * those frames returns. So the rows with a depth walk such frames on either side, and the same
 * walk without a fiber is taken off.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "fiber/fiber.h"

#define ROUNDS 15
#define CALLS  200000u

static struct fiber_pool *pool;

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "fiber_cost: %s\n", what);
		exit(1);
	}
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ------------------------------------------------------------------ what is measured */

static unsigned depth; /* frames between main's loop and the switch; on the fiber's side too */
static unsigned spread = 1;
static struct fiber **parked;

static void nothing(void *arg)
{
	__asm__ volatile("" ::: "memory");
}

/* The barrier keeps the call from becoming a jump: each of these returns. */
__attribute__((noinline)) static void from_depth(unsigned n, void (*fn)(void *), void *arg)
{
	if (n)
		from_depth(n - 1, fn, arg);
	else
		fn(arg);
	__asm__ volatile("" ::: "memory");
}

static void run_one(void *arg)
{
	fiber_run(pool, nothing, NULL);
	__asm__ volatile("" ::: "memory");
}

static void resume_one(void *f)
{
	fiber_resume(f);
	__asm__ volatile("" ::: "memory");
}

static void park_one(void *arg)
{
	fiber_park();
	__asm__ volatile("" ::: "memory");
}

static bool stop_parking;

static void parks_for_ever(void *arg)
{
	*(struct fiber **)arg = fiber_self();
	fiber_park();
	while (!stop_parking)
		from_depth(depth, park_one, NULL);
}

static void plain_calls(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		from_depth(depth, nothing, NULL);
}

/* What both sides of a resume walk, without the switch. */
static void plain_calls_twice(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		from_depth(depth, nothing, NULL);
		from_depth(depth, nothing, NULL);
	}
}

static void runs(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		from_depth(depth, run_one, NULL);
}

static void resumes(unsigned n)
{
	for (unsigned i = 0, k = 0; i < n; i++, k = k + 1 < spread ? k + 1 : 0)
		from_depth(depth, resume_one, parked[k]);
}

static ucontext_t uc_main, uc_other;

static void uc_loop(void)
{
	for (;;)
		swapcontext(&uc_other, &uc_main);
}

static void swapcontexts(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		swapcontext(&uc_main, &uc_other);
}

/* ------------------------------------------------------------------ rounds */

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const char *what, double *round)
{
	qsort(round, ROUNDS, sizeof *round, ascending);
	printf("  %-46s %8.1f  (%.1f to %.1f)\n", what, round[ROUNDS / 2], round[0],
	       round[ROUNDS - 1]);
}

static double ns_per_call(void (*fn)(unsigned), unsigned n)
{
	double start = now_ns();

	fn(n);
	return (now_ns() - start) / n;
}

/*
 * The walk without a fiber and the walk with one in turns, so that a busy machine is busy for both.
 */
static void measure(const char *what, void (*plain)(unsigned), void (*fn)(unsigned), unsigned n)
{
	double round[ROUNDS];

	fn(n / 10 + 1);
	for (unsigned i = 0; i < ROUNDS; i++) {
		round[i] = ns_per_call(fn, n);
		if (plain)
			round[i] -= ns_per_call(plain, n);
	}
	report(what, round);
}

static void park_fibers(unsigned n)
{
	parked = realloc(parked, n * sizeof *parked);
	must(parked, "no memory");
	for (unsigned i = 0; i < n; i++)
		must(fiber_run(pool, parks_for_ever, &parked[i]) == FIBER_PARKED,
		     "a fiber did not start");
	spread = n;
}

static void end_fibers(void)
{
	stop_parking = true;
	for (unsigned i = 0; i < spread; i++)
		while (fiber_resume(parked[i]) == FIBER_PARKED)
			;
	stop_parking = false;
}

/* ------------------------------------------------------------------ time */

static void switches(void)
{
	static const unsigned depths[] = { 0, 2, 4, 8 };
	char what[64];

	printf("ns, over the same calls without a fiber: median of %d rounds (min to max)\n",
	       ROUNDS);
	for (unsigned i = 0; i < sizeof depths / sizeof depths[0]; i++) {
		depth = depths[i];
		snprintf(what, sizeof what, "start on a pooled stack + end, %u frames deep", depth);
		measure(what, plain_calls, runs, CALLS);
	}
	for (unsigned i = 0; i < sizeof depths / sizeof depths[0]; i++) {
		depth = depths[i];
		park_fibers(1);
		snprintf(what, sizeof what, "park + resume, %u frames deep on both sides", depth);
		measure(what, plain_calls_twice, resumes, CALLS);
		end_fibers();
	}
	depth = 0;
}

static void many(void)
{
	static const unsigned counts[] = { 10, 100, 1000, 10000 };
	char what[64];

	for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		park_fibers(counts[i]);
		snprintf(what, sizeof what, "park + resume, %u fibers in turn", counts[i]);
		measure(what, NULL, resumes, CALLS);
		end_fibers();
	}
}

static void peers(void)
{
	static char stack[64 * 1024];

	getcontext(&uc_other);
	uc_other.uc_stack.ss_sp = stack;
	uc_other.uc_stack.ss_size = sizeof stack;
	makecontext(&uc_other, uc_loop, 0);
	measure("glibc swapcontext() there and back", NULL, swapcontexts, CALLS / 10);
}

/* ------------------------------------------------------------------ memory */

struct memory {
	long virt, rss, tables;
};

static long status_kb(const char *key)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	long kb = -1;

	must(f, "no /proc");
	while (kb < 0 && fgets(line, sizeof line, f))
		if (!strncmp(line, key, strlen(key)))
			kb = atol(line + strlen(key));
	fclose(f);
	return kb;
}

static struct memory memory_now(void)
{
	return (struct memory){ status_kb("VmSize:"), status_kb("VmRSS:"), status_kb("VmPTE:") };
}

static void say_memory(const char *what, struct memory a, struct memory b, unsigned n)
{
	printf("  %-46s %8.0f of stack and heap, %.0f of page tables, %.0f virtual\n", what,
	       (double)(b.rss - a.rss) * 1024 / n, (double)(b.tables - a.tables) * 1024 / n,
	       (double)(b.virt - a.virt) * 1024 / n);
}

static void stacks(void)
{
	enum { N = 10000 };
	struct memory none, all, less;
	struct fiber_pool_stats st;
	double start, map, trim, longest = 0;

	must(!fiber_pool_free(pool), "a fiber is parked");
	must(!fiber_pool_new(NULL, &pool), "no memory");
	parked = realloc(parked, N * sizeof *parked);
	memset(parked, 0, N * sizeof *parked);

	none = memory_now();
	start = now_ns();
	park_fibers(N);
	map = (now_ns() - start) / N;
	all = memory_now();
	end_fibers();
	start = now_ns();
	do {
		double one = now_ns();

		fiber_pool_trim(pool);
		one = now_ns() - one;
		if (one > longest)
			longest = one;
		fiber_pool_stats(pool, &st);
	} while (st.stacks > 16);
	trim = (now_ns() - start) / N;
	less = memory_now();

	printf("a stack, in ns (%d of them)\n", N);
	printf("  %-46s %8.0f\n", "map, guard, first page, park", map);
	printf("  %-46s %8.0f  (longest trim %.0f us)\n", "give back", trim, longest / 1000);
	printf("bytes for each of %d parked fibers\n", N);
	say_memory("parked in their first call", none, all, N);
	say_memory("after they ended and a trim", none, less, N);
}

int main(void)
{
	must(!fiber_pool_new(NULL, &pool), "no memory");
	switches();
	many();
	peers();
	stacks();
	must(!fiber_pool_free(pool), "a fiber is parked");
	free(parked);
	return 0;
}
