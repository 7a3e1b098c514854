/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * neighbours: what clients of examples/pg wait, those that ask for a query and those that do not
 *
 *   neighbours PORT SECONDS QUERIES QUERY-MS
 *
 * So many connections ask for a query once a second; four others send "ping", together once a
 * millisecond, at moments fixed beforehand: one that could not be sent in time is late by that.
 * Prints p50, p99 and worst of these in ms, and how many queries were answered.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PINGERS     4
#define QUERIES_MAX 64

static int port, query_ms;
static _Atomic(bool) over;
static _Atomic(unsigned) answered;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void wait_until(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static int dial(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* One line there, @want back. */
static void ask(int fd, const char *line, const char *want)
{
	char answer[256];
	size_t n = 0;
	ssize_t k;

	if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
		die("send");
	do {
		k = recv(fd, answer + n, sizeof answer - 1 - n, 0);
		if (k <= 0)
			die("recv");
		n += (size_t)k;
		answer[n] = '\0';
	} while (!strchr(answer, '\n'));
	if (strcmp(answer, want)) {
		fprintf(stderr, "neighbours: answered %s", answer);
		exit(1);
	}
}

static void *query(void *arg)
{
	char line[64];
	int fd = dial();

	snprintf(line, sizeof line, "sleep %.3f\n", query_ms / 1000.0);
	for (uint64_t due = now_ns() + (uint64_t)(intptr_t)arg; !over; due += 1000000000u) {
		wait_until(due);
		ask(fd, line, "slept\n");
		if (!over)
			answered++;
	}
	close(fd);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int fd[PINGERS], seconds, queries;
	pthread_t threads[QUERIES_MAX];
	uint64_t begin;
	double *ms;
	size_t n;

	if (argc != 5) {
		fprintf(stderr, "usage: neighbours PORT SECONDS QUERIES QUERY-MS\n");
		return 2;
	}
	port = atoi(argv[1]);
	seconds = atoi(argv[2]);
	queries = atoi(argv[3]);
	query_ms = atoi(argv[4]);
	n = (size_t)seconds * 1000;
	ms = calloc(n, sizeof *ms);
	if (!ms || queries < 0 || queries > QUERIES_MAX || !n)
		die("neighbours");
	for (int i = 0; i < PINGERS; i++)
		fd[i] = dial();
	for (int i = 0; i < queries; i++)
		if (pthread_create(&threads[i], NULL, query,
				   (void *)(intptr_t)(i * (1000000000 / queries))))
			die("a thread");
	begin = now_ns();
	for (size_t i = 0; i < n; i++) {
		uint64_t due = begin + (i + 1) * 1000000u;

		/* Those that the end comes before have waited until then, at least. */
		if (now_ns() < begin + (uint64_t)seconds * 1000000000u) {
			wait_until(due);
			ask(fd[i % PINGERS], "ping\n", "pong\n");
		}
		ms[i] = (double)(now_ns() - due) / 1e6;
	}
	over = true;
	qsort(ms, n, sizeof *ms, by_size);
	printf("%.2f %.2f %.2f %u\n", ms[n / 2], ms[n * 99 / 100], ms[n - 1], answered);
	for (int i = 0; i < queries; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < PINGERS; i++)
		close(fd[i]);
	free(ms);
	return 0;
}
