/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lean: the yardstick of bench-echo: framed echo over epoll, read and write, and nothing else
 *
 *   lean PORT        one thread, edge-triggered, one read and one write for each wake-up
 *
 * It has no buffers beyond one of 64 KiB that all connections share. A partial frame stays at the
 * front of a per-connection buffer that only exists while there is one.
 */
#include <errno.h>

#include "frames.h"
#include "lean_loop.h"

#define BUF (64u * 1024)

struct peer {
	int fd;
	struct frames frames;
	struct lean_unsent unsent;
};

static char buf[BUF];

static void *open_peer(int fd)
{
	struct peer *p = calloc(1, sizeof *p);

	if (!p)
		abort();
	p->fd = fd;
	return p;
}

static void drop(void *peer)
{
	struct peer *p = peer;

	close(p->fd);
	free(p->unsent.p);
	free(p);
}

static int answer(struct peer *p, const char *b, size_t n)
{
	ssize_t w;

	if (p->unsent.n)
		return lean_keep(&p->unsent, b, n);
	w = write(p->fd, b, n);
	if (w < 0 && errno != EAGAIN)
		return -1;
	if (w < 0)
		w = 0;
	return (size_t)w < n ? lean_keep(&p->unsent, b + w, n - (size_t)w) : 0;
}

static int readable(void *peer)
{
	struct peer *p = peer;
	ssize_t n;

	do {
		n = read(p->fd, buf, BUF);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		if (n == 0 || frames_pass(&p->frames, buf, (size_t)n) < 0 ||
		    answer(p, buf, (size_t)n) < 0)
			return -1;
	} while (n == BUF);
	return 0;
}

static int writable(void *peer)
{
	struct peer *p = peer;
	ssize_t w;

	if (!p->unsent.n)
		return 0;
	w = write(p->fd, p->unsent.p, p->unsent.n);
	if (w < 0)
		return errno == EAGAIN ? 0 : -1;
	lean_took(&p->unsent, (size_t)w);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct lean_peers peers = { "lean", open_peer, readable, writable, drop };

	lean_run(&peers, argc > 1 ? (uint16_t)atoi(argv[1]) : 0);
}
