/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: closed-loop client of a framed echo server; every byte that comes back is checked
 *
 *   load ADDR:PORT CONNS BYTES DEPTH REQUESTS SERVER_PID [MS]
 *
 * CONNS connections keep DEPTH frames of BYTES payload in flight until REQUESTS answers have come,
 * or, with MS, for so many milliseconds and a warm-up of a fifth of that, whichever comes first.
 * Prints "requests wall_ns server_cpu_ns": the server's CPU time is the run time of all its threads
 * by the kernel's scheduler statistics, taken between warm-up (a tenth of the requests) and the
 * end.
 */
#include <sys/epoll.h>

#include "client.h"

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

static void push(struct flow *f)
{
	size_t n = 1;

	for (; n && f->sent < batch_len; f->sent += n)
		n = client_push(f->fd, batch + f->sent, batch_len - f->sent);
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
			client_die("recv");
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
	uint64_t done = 0, total, warm, t0 = 0, c0 = 0, begin, most_ns;
	struct epoll_event ev[512];
	unsigned conns;
	uint32_t size;
	struct sockaddr_in sa;
	int pid;

	if (argc != 7 && argc != 8) {
		fprintf(stderr,
			"usage: load ADDR:PORT CONNS BYTES DEPTH REQUESTS SERVER_PID [MS]\n");
		return 2;
	}
	sa = client_address(argv[1]);
	conns = (unsigned)atoi(argv[2]);
	size = (uint32_t)atoi(argv[3]);
	depth = (unsigned)atoi(argv[4]);
	total = strtoull(argv[5], NULL, 10);
	pid = atoi(argv[6]);
	warm = total / 10;
	most_ns = argc > 7 ? strtoull(argv[7], NULL, 10) * 1000000 : UINT64_MAX;

	batch_len = (size_t)depth * (size + 4);
	batch = client_frames(depth, size);
	in = malloc(262144);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (!in || ep < 0)
		client_die("start");
	for (unsigned i = 0; i < conns; i++) {
		struct flow *f = calloc(1, sizeof *f);
		struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = f };

		f->fd = client_dial(&sa);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, f->fd, &e) < 0)
			client_die("epoll_ctl");
	}
	begin = client_now_ns();
	while (done < total + warm && (!t0 || client_now_ns() - t0 < most_ns)) {
		int n = epoll_wait(ep, ev, 512, CLIENT_PATIENCE_MS);

		if (n <= 0)
			client_die("no answer within 10 s");
		for (int i = 0; i < n; i++) {
			struct flow *f = ev[i].data.ptr;

			/* The first OUT edge starts the flow. */
			push(f);
			while (pull(f)) {
				done += depth;
				push(f);
			}
		}
		if (!t0 && (done >= warm || client_now_ns() - begin >= most_ns / 5)) {
			t0 = client_now_ns();
			c0 = client_cpu_ns(pid);
			total = total + warm > done ? total + warm - done : 1;
			warm = done;
		}
	}
	printf("%llu %llu %llu\n", (unsigned long long)(done - warm),
	       (unsigned long long)(client_now_ns() - t0),
	       (unsigned long long)(client_cpu_ns(pid) - c0));
	return 0;
}
