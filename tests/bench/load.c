/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: closed-loop client of a framed echo server; every byte that comes back is checked
 *
 *   load ADDR:PORT CONNS BYTES DEPTH REQUESTS SERVER_PID
 *
 * CONNS connections keep DEPTH frames of BYTES payload in flight until REQUESTS answers have come.
 * Prints "requests wall_ns server_cpu_ns": the server's CPU time is the run time of all its threads
 * by the kernel's scheduler statistics, taken between warm-up (a tenth of the requests) and the
 * end.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct flow {
	int fd;
	size_t sent; /* of the batch under way */
	size_t got;
	int out_wait;
};

static char *batch, *in;
static size_t batch_len;
static unsigned depth;
static int ep;

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Run time of every thread of @pid, ns (proc(5): schedstat, first field). */
static uint64_t cpu_ns(int pid)
{
	unsigned long long ns, sum = 0;
	char path[320];
	struct dirent *e;
	DIR *d;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		die(path);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
		f = fopen(path, "r");
		if (f && fscanf(f, "%llu", &ns) == 1)
			sum += ns;
		if (f)
			fclose(f);
	}
	closedir(d);
	return sum;
}

static int dial(const char *host, int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || inet_pton(AF_INET, host, &sa.sin_addr) != 1)
		die(host);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* Returns 0 when the whole batch is out. */
static void push(struct flow *f)
{
	while (f->sent < batch_len) {
		ssize_t n = send(f->fd, batch + f->sent, batch_len - f->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			die("send");
		f->sent += (size_t)n;
	}
}

/* Takes what has come; returns how many batches that completed (0 or 1). */
static unsigned pull(struct flow *f)
{
	for (;;) {
		size_t want = batch_len - f->got;
		ssize_t n = recv(f->fd, in, want < 262144 ? want : 262144, MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			die("recv");
		if (memcmp(in, batch + f->got, (size_t)n)) {
			fprintf(stderr, "load: an answer differs from its request\n");
			exit(1);
		}
		f->got += (size_t)n;
		if (f->got == batch_len) {
			f->got = 0;
			f->sent = 0;
			return 1;
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t done = 0, total, warm, t0 = 0, c0 = 0;
	struct epoll_event ev[512];
	unsigned conns;
	uint32_t size;
	int pid, port;
	char *host, *colon;

	if (argc != 7) {
		fprintf(stderr, "usage: load ADDR:PORT CONNS BYTES DEPTH REQUESTS SERVER_PID\n");
		return 2;
	}
	host = argv[1];
	colon = strrchr(host, ':');
	if (!colon)
		return 2;
	*colon = '\0';
	port = atoi(colon + 1);
	conns = (unsigned)atoi(argv[2]);
	size = (uint32_t)atoi(argv[3]);
	depth = (unsigned)atoi(argv[4]);
	total = strtoull(argv[5], NULL, 10);
	pid = atoi(argv[6]);
	warm = total / 10;

	batch_len = (size_t)depth * (size + 4);
	batch = malloc(batch_len);
	in = malloc(262144);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (!batch || !in || ep < 0)
		die("start");
	for (unsigned i = 0; i < depth; i++) {
		char *f = batch + (size_t)i * (size + 4);
		uint32_t be = htonl(size);

		memcpy(f, &be, 4);
		for (uint32_t k = 0; k < size; k++)
			f[4 + k] = (char)(k * 31 + i);
	}
	for (unsigned i = 0; i < conns; i++) {
		struct flow *f = calloc(1, sizeof *f);
		struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = f };

		f->fd = dial(host, port);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, f->fd, &e) < 0)
			die("epoll_ctl");
	}
	while (done < total + warm) {
		int n = epoll_wait(ep, ev, 512, 10000);

		if (n <= 0)
			die("no answer within 10 s");
		for (int i = 0; i < n; i++) {
			struct flow *f = ev[i].data.ptr;

			/* The first OUT edge starts the flow. */
			push(f);
			while (pull(f)) {
				done += depth;
				push(f);
			}
		}
		if (!t0 && done >= warm) {
			t0 = now_ns();
			c0 = cpu_ns(pid);
			total = total + warm > done ? total + warm - done : 1;
			warm = done;
		}
	}
	printf("%llu %llu %llu\n", (unsigned long long)(done - warm),
	       (unsigned long long)(now_ns() - t0), (unsigned long long)(cpu_ns(pid) - c0));
	return 0;
}
