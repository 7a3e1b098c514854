/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main: steer MODE MIX [WORKERS [SECONDS [RATE [HANG_MS]]]]
 *
 * MODE: chooser.c has them. MIX: below. Prints one line of name=value: medians, percentiles in ms
 * and counts.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "steer.h"

static const struct mix mixes[] = {
	/* All alike, and gone in 5 ms. */
	{ .name = "short", .rate = 1, .warm_ms = 500, .backlog = 4096 },
	/* A few live long, so that what is uneven stays: 26 live on each of 8 workers at 2000 a
	 * second. */
	{ .name = "tail",
	  .long_part = 0.05,
	  .long_ms = 2000,
	  .rate = 1,
	  .warm_ms = 2500,
	  .backlog = 4096 },
	/* The same, and whoever is at worker 0 waits now and then. */
	{ .name = "stall",
	  .long_part = 0.05,
	  .long_ms = 2000,
	  .request_ms = 200,
	  .rate = 1,
	  .warm_ms = 2500,
	  .stall_ms = 250,
	  .backlog = 4096 },
	/* All live long, and ask; a tenth of them asks for forty times as much. Steering knows
	 * nothing of that. */
	{ .name = "uneven",
	  .long_part = 1,
	  .long_ms = 2000,
	  .request_ms = 100,
	  .heavy_part = 0.1,
	  .rate = 0.06,
	  .warm_ms = 2500,
	  .backlog = 4096 },
	/* Nobody accepts until all are there. */
	{ .name = "burst", .burst = 400, .backlog = 4096 },
	/* 130 for 8 x 17 places. */
	{ .name = "full", .burst = 130, .backlog = 16 },
};

const struct mix *mix;

void die(const char *what)
{
	fprintf(stderr, "steer: %s: %s\n", what,
		steer && np_steer_error(steer)[0] ? np_steer_error(steer) : strerror(errno));
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The clients' CPU is the last one; what is started before has the others. */
static void stay_on(bool last)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	for (long i = 0; i < cpus; i++)
		if ((i == cpus - 1) == last || cpus == 1)
			CPU_SET(i, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0)
		die("sched_setaffinity");
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void print(const char *name, struct sample *s)
{
	static const struct {
		const char *name;
		double part;
	} parts[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p999", 0.999 }, { "most", 1 } };

	qsort(s->v, s->n, sizeof *s->v, by_value);
	for (size_t i = 0; s->n && i < sizeof parts / sizeof parts[0]; i++)
		printf(" %s.%s=%.3f", name, parts[i].name,
		       s->v[(size_t)((double)(s->n - 1) * parts[i].part)]);
}

static const struct mix *find_mix(const char *name)
{
	for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++)
		if (!strcmp(mixes[i].name, name))
			return &mixes[i];
	return NULL;
}

static double argument(int argc, char **argv, int i, double usual)
{
	return argc > i ? atof(argv[i]) : usual;
}

int main(int argc, char **argv)
{
	double seconds = argument(argc, argv, 4, 4), rate = argument(argc, argv, 5, 2000);
	struct rlimit files = { 20000, 20000 }; /* clients and workers share them */
	struct outcome o = { .failed = 0 };

	mix = argc > 2 ? find_mix(argv[2]) : NULL;
	workers = (unsigned)argument(argc, argv, 3, 8);
	if (!mix || workers < 1 || workers > WORKERS_MAX) {
		fprintf(stderr,
			"usage: steer MODE short|tail|stall|uneven|burst|full [WORKERS [SECONDS [RATE [HANG_MS]]]]\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	stay_on(false);
	if (!chooser_start(argv[1], (int)argument(argc, argv, 6, 30)))
		return 1;
	workers_start();
	stay_on(true);
	if (mix->burst)
		client_bursts(&o, (unsigned)seconds);
	else
		client_arrivals(&o, rate * mix->rate, seconds);
	workers_stop();
	chooser_stop();
	printf("mode=%s mix=%s workers=%u connections=%zu failed=%zu", argv[1], mix->name, workers,
	       o.connections, o.failed);
	print("ratio", &o.ratio);
	print("accepted", &o.accepted);
	print("on0", &o.on_stalled);
	print("elsewhere", &o.elsewhere);
	print("late", &o.late);
	putchar('\n');
	return 0; /* the kernel takes the sockets, and a private program goes with them */
}
