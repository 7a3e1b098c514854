/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client: what the clients of framed echo servers share: an address, frames, a clock, and the CPU
 * time and memory of a server that is another process
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENT_PATIENCE_MS 10000

static inline void client_die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

static inline uint64_t client_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Run time of every thread of @pid, ns (proc(5): schedstat, first field). */
static inline uint64_t client_cpu_ns(int pid)
{
	unsigned long long ns, sum = 0;
	char path[320];
	struct dirent *e;
	DIR *d;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		client_die(path);
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

/* Takes "ADDR:PORT" of IPv4. */
static inline struct sockaddr_in client_address(const char *text)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	char host[INET_ADDRSTRLEN];
	unsigned port;

	if (sscanf(text, "%15[0-9.]:%u", host, &port) != 2 || port > UINT16_MAX ||
	    inet_pton(AF_INET, host, &sa.sin_addr) != 1) {
		errno = EINVAL;
		client_die(text);
	}
	sa.sin_port = htons((uint16_t)port);
	return sa;
}

static inline int client_dial(const struct sockaddr_in *sa)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0)
		client_die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* @count frames of @size bytes each, one after the other, no two alike. The caller frees them. */
static inline char *client_frames(unsigned count, uint32_t size)
{
	size_t one = (size_t)size + 4;
	char *frames = malloc(count * one);
	uint32_t be = htonl(size);

	if (!frames)
		client_die("memory");
	for (unsigned i = 0; i < count; i++) {
		char *f = frames + i * one;

		memcpy(f, &be, 4);
		for (uint32_t k = 0; k < size; k++)
			f[4 + k] = (char)(k * 31 + i);
	}
	return frames;
}

/* Return: bytes that the kernel took of @n, 0 when it takes none now. */
static inline size_t client_push(int fd, const char *p, size_t n)
{
	ssize_t w = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (w < 0 && errno == EAGAIN)
		return 0;
	if (w <= 0)
		client_die("send");
	return (size_t)w;
}

static inline void client_send(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

		if (w <= 0)
			client_die("send");
		p += w;
		n -= (size_t)w;
	}
}

/* Receives @n bytes into @buf, which are to be those of @want. */
static inline void client_expect(int fd, char *buf, const char *want, size_t n)
{
	ssize_t r = recv(fd, buf, n, MSG_WAITALL);

	if (r != (ssize_t)n)
		client_die(r < 0 ? "recv" : "the server closed a connection");
	if (memcmp(buf, want, n)) {
		fprintf(stderr, "%s: an answer differs from its request\n",
			program_invocation_short_name);
		exit(1);
	}
}

#endif
