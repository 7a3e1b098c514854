/* SPDX-License-Identifier: BSD-2-Clause */
/* main: options, rounds, and the counts at the end. */
#include <dirent.h>
#include <getopt.h>
#include <netpoll/status.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storm.h"

struct storm_opts storm = {
	.requests = 100000,
	.conns = 24,
	.pollers = 2,
	.processes = 1,
	.rounds = 4,
	.depth = 8,
	.seed = 1,
	.stall_ms = 20,
	.stalls = 4,
	.pauses = 60,
	.patience_ms = 2000,
	.handoff_ms = 2,
	.threads = 12,
};
_Atomic(bool) storm_over;

void storm_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "storm: FAILED after %lu answers: ", storm_counts->answered);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

void storm_must(const char *what, int r)
{
	if (r < 0)
		storm_fail("%s: %s", what, np_strerror(r));
}

uint64_t storm_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void storm_sleep_us(unsigned us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000l };

	if (us)
		nanosleep(&t, NULL);
}

/* FNV-1a, of words of eight bytes as long as there are any. */
uint32_t storm_sum(const void *p, size_t n)
{
	const unsigned char *at = p;
	uint64_t sum = 14695981039346656037u, word;

	for (; n >= sizeof word; n -= sizeof word, at += sizeof word) {
		memcpy(&word, at, sizeof word);
		sum = (sum ^ word) * 1099511628211u;
	}
	while (n--)
		sum = (sum ^ *at++) * 1099511628211u;
	return (uint32_t)(sum ^ sum >> 32);
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static bool is_np_thread(const char *id)
{
	char path[300], name[4] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%s/comm", id);
	f = fopen(path, "r");
	if (!f)
		return false; /* . and .., or gone meanwhile */
	if (!fgets(name, sizeof name, f))
		name[0] = '\0';
	fclose(f);
	return !strcmp(name, "np-");
}

static unsigned np_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)))
		n += is_np_thread(e->d_name);
	if (d)
		closedir(d);
	return n;
}

/* A thread that has been joined may be listed for a moment more. */
static void must_be_given_back(unsigned fds)
{
	uint64_t end = storm_now_ns() + 5000000000u;

	while (np_threads() && storm_now_ns() < end)
		storm_sleep_us(1000);
	if (np_threads())
		storm_fail("%u threads of the library's are left", np_threads());
	if (open_fds() != fds)
		storm_fail("%u descriptors before, %u after", fds, open_fds());
}

static void await_answers(unsigned long until)
{
	while (storm_counts->answered < until) {
		storm_sleep_us(10000);
		storm_count_handoffs();
	}
}

static void run_round(unsigned i)
{
	if (storm.pollers_max)
		storm.pollers = 1 + i % storm.pollers_max;
	storm_over = false;
	storm_servers_start();
	storm_clients_start();
	await_answers(storm.requests * i / storm.rounds);
	storm_over = true;
	storm_clients_join();
	storm_servers_stop();
}

static void run_rounds(void)
{
	unsigned fds = open_fds();

	for (unsigned i = 1; i <= storm.rounds; i++) {
		run_round(i);
		must_be_given_back(fds);
	}
}

static void usage(FILE *f)
{
	fprintf(f,
		"usage: storm [--requests N] [--conns N] [--pollers N | --pollers-max N] [--rounds N] [--depth N]\n"
		"             [--stalls PER-MILLE] [--pauses PER-MILLE] [--stall-ms N] [--gap-us N] [--handoff-ms N] [--threads N] [--patience-ms N]\n"
		"             [--processes N] [--progress-s N] [--seed N]\n");
}

static const struct option longs[] = {
	{ "requests", required_argument, NULL, 'r' },
	{ "conns", required_argument, NULL, 'c' },
	{ "pollers", required_argument, NULL, 'p' },
	{ "pollers-max", required_argument, NULL, 'P' },
	{ "processes", required_argument, NULL, 'n' },
	{ "progress-s", required_argument, NULL, 'i' },
	{ "rounds", required_argument, NULL, 'R' },
	{ "depth", required_argument, NULL, 'd' },
	{ "stalls", required_argument, NULL, 's' },
	{ "pauses", required_argument, NULL, 'q' },
	{ "stall-ms", required_argument, NULL, 'm' },
	{ "gap-us", required_argument, NULL, 'g' },
	{ "handoff-ms", required_argument, NULL, 'h' },
	{ "threads", required_argument, NULL, 't' },
	{ "patience-ms", required_argument, NULL, 'w' },
	{ "seed", required_argument, NULL, 'S' },
	{ 0 },
};

static bool parse(int argc, char **argv)
{
	long n;
	int ch;

	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		n = optarg ? strtol(optarg, NULL, 10) : 0;
		switch (ch) {
		case 'r':
			storm.requests = (unsigned long)n;
			break;
		case 'c':
			storm.conns = (unsigned)n;
			break;
		case 'p':
			storm.pollers = (unsigned)n;
			break;
		case 'P':
			storm.pollers_max = (unsigned)n;
			break;
		case 'n':
			storm.processes = (unsigned)n;
			break;
		case 'i':
			storm.progress_s = (unsigned)n;
			break;
		case 'R':
			storm.rounds = (unsigned)n;
			break;
		case 'd':
			storm.depth = (unsigned)n;
			break;
		case 's':
			storm.stalls = (unsigned)n;
			break;
		case 'q':
			storm.pauses = (unsigned)n;
			break;
		case 'm':
			storm.stall_ms = (unsigned)n;
			break;
		case 'g':
			storm.gap_us = (unsigned)n;
			break;
		case 'h':
			storm.handoff_ms = (int)n;
			break;
		case 't':
			storm.threads = (int)n;
			break;
		case 'w':
			storm.patience_ms = (unsigned)n;
			break;
		case 'S':
			storm.seed = (unsigned)n;
			break;
		default:
			return false;
		}
	}
	return optind == argc && storm.conns - 1 < STORM_CONNS_MAX &&
	       storm.pollers - 1 < STORM_POLLERS_MAX && storm.pollers_max <= STORM_POLLERS_MAX &&
	       storm.processes - 1 < STORM_PROCESSES_MAX && storm.depth - 1 < STORM_DEPTH_MAX &&
	       storm.rounds && storm.stall_ms;
}

int main(int argc, char **argv)
{
	if (!parse(argc, argv)) {
		usage(stderr);
		return 2;
	}
	storm_processes(run_rounds);
	return 0;
}
