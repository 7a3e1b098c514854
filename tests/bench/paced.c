/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paced: latency of a framed echo server at a fixed rate, without coordinated omission
 *
 *   paced ADDR:PORT CONNS BYTES RATE MS SERVER_PID
 *
 * Request i is due at i / RATE seconds, on connection i modulo CONNS, whatever became of those
 * before it: one that finds its connection busy is sent behind the others. A latency counts from
 * the moment at which the request was due to the last byte of its answer. The client spins, so that
 * it is not late itself. The first tenth is warm-up. Prints
 * "requests p50_ns p99_ns p999_ns max_ns wall_ns server_cpu_ns".
 */
#include <sys/epoll.h>

#include "client.h"

#define CHUNK (256u * 1024)

struct flow {
	int fd;
	uint64_t due;  /* bytes of requests that are due */
	uint64_t sent; /* of those */
	uint64_t got;  /* bytes of answers */
};

static struct {
	uint64_t begin, interval_ns, total, warm, answered;
	unsigned conns;
	size_t frame_len;
	char *frame, *in;
	struct flow *flows;
	uint64_t *ns; /* latencies of what is answered after the warm-up */
	uint64_t taken;
} run;

static void push(struct flow *f)
{
	size_t n = 1;

	for (; n && f->sent < f->due; f->sent += n) {
		size_t at = f->sent % run.frame_len;

		n = client_push(f->fd, run.frame + at, run.frame_len - at);
	}
}

/* The @k-th answer of @f is complete. */
static void answered(struct flow *f, uint64_t k, uint64_t now)
{
	uint64_t request = k * run.conns + (uint64_t)(f - run.flows);

	run.answered++;
	if (request >= run.warm)
		run.ns[run.taken++] = now - (run.begin + request * run.interval_ns);
}

static void check(struct flow *f, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t at = (f->got + i) % run.frame_len, k = run.frame_len - at;

		if (k > n - i)
			k = n - i;
		if (memcmp(run.in + i, run.frame + at, k)) {
			fprintf(stderr, "paced: an answer differs from its request\n");
			exit(1);
		}
		i += k;
	}
}

static void pull(struct flow *f)
{
	for (;;) {
		ssize_t n = recv(f->fd, run.in, CHUNK, MSG_DONTWAIT);
		uint64_t now, before = f->got / run.frame_len;

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			client_die(n < 0 ? "recv" : "the server closed a connection");
		now = client_now_ns();
		check(f, (size_t)n);
		f->got += (size_t)n;
		for (uint64_t k = before; k < f->got / run.frame_len; k++)
			answered(f, k, now);
		if ((size_t)n < CHUNK)
			return;
	}
}

/* Sends what is due by now; @next is the first that is not. */
static uint64_t send_due(uint64_t next)
{
	uint64_t now = client_now_ns();

	for (; next < run.total && run.begin + next * run.interval_ns <= now; next++) {
		struct flow *f = &run.flows[next % run.conns];

		f->due += run.frame_len;
		push(f);
	}
	return next;
}

static void pace(int ep)
{
	uint64_t next = 0, over = run.begin + run.total * run.interval_ns;
	struct epoll_event ev[512];

	while (run.answered < run.total) {
		int n = epoll_wait(ep, ev, 512, 0);

		next = send_due(next);
		for (int i = 0; i < n; i++) {
			push(ev[i].data.ptr);
			pull(ev[i].data.ptr);
		}
		if (client_now_ns() > over + CLIENT_PATIENCE_MS * 1000000ull) {
			errno = ETIMEDOUT;
			client_die("answers are missing");
		}
	}
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static unsigned long long of_sorted(unsigned per_mille)
{
	return run.ns[(run.taken - 1) * per_mille / 1000];
}

static int dial_all(const struct sockaddr_in *sa)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0)
		client_die("epoll_create1");
	for (unsigned i = 0; i < run.conns; i++) {
		struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET,
					 .data.ptr = &run.flows[i] };

		run.flows[i].fd = client_dial(sa);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, run.flows[i].fd, &e) < 0)
			client_die("epoll_ctl");
	}
	return ep;
}

static void given(char **argv)
{
	uint64_t rate = strtoull(argv[4], NULL, 10), ms = strtoull(argv[5], NULL, 10);

	run.conns = (unsigned)atoi(argv[2]);
	run.frame_len = (size_t)atoi(argv[3]) + 4;
	run.total = rate * ms / 1000;
	if (!run.conns || !run.total) {
		errno = EINVAL;
		client_die("connections, rate and time");
	}
	run.interval_ns = 1000000000u / rate;
	run.warm = run.total / 10;
	run.frame = client_frames(1, (uint32_t)(run.frame_len - 4));
	run.in = malloc(CHUNK);
	run.flows = calloc(run.conns, sizeof *run.flows);
	run.ns = calloc(run.total, sizeof *run.ns);
	if (!run.in || !run.flows || !run.ns)
		client_die("memory");
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa;
	uint64_t cpu;
	int pid, ep;

	if (argc != 7) {
		fprintf(stderr, "usage: paced ADDR:PORT CONNS BYTES RATE MS SERVER_PID\n");
		return 2;
	}
	sa = client_address(argv[1]);
	given(argv);
	pid = atoi(argv[6]);
	ep = dial_all(&sa);
	cpu = client_cpu_ns(pid);
	run.begin = client_now_ns();
	pace(ep);
	cpu = client_cpu_ns(pid) - cpu;
	qsort(run.ns, run.taken, sizeof *run.ns, by_size);
	printf("%llu %llu %llu %llu %llu %llu %llu\n", (unsigned long long)run.total,
	       of_sorted(500), of_sorted(990), of_sorted(999), of_sorted(1000),
	       (unsigned long long)(client_now_ns() - run.begin), (unsigned long long)cpu);
	return 0;
}
