/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libev: framed echo over libev's watchers, with read and write of its own
 *
 * One buffer of 64 KiB serves all reads; what the kernel does not take is kept, and written when
 * the second watcher says so.
 */
#include <errno.h>
#include <ev.h>
#include <unistd.h>

#include "frames.h"
#include "listener.h"

struct peer {
	ev_io in, out; /* out: while there is something kept */
	struct frames frames;
	char *kept;
	size_t len, cap;
};

static char buf[64 * 1024];

static void drop(struct ev_loop *loop, struct peer *p)
{
	ev_io_stop(loop, &p->in);
	ev_io_stop(loop, &p->out);
	close(p->in.fd);
	free(p->kept);
	free(p);
}

static void keep(struct ev_loop *loop, struct peer *p, const char *b, size_t n)
{
	if (p->len + n > p->cap) {
		p->cap = (p->len + n) * 2;
		p->kept = realloc(p->kept, p->cap);
		if (!p->kept)
			abort();
	}
	memcpy(p->kept + p->len, b, n);
	p->len += n;
	ev_io_start(loop, &p->out);
}

static int answer(struct ev_loop *loop, struct peer *p, size_t n)
{
	ssize_t w = 0;

	if (!p->len) {
		w = write(p->in.fd, buf, n);
		if (w < 0 && errno != EAGAIN)
			return -1;
		if (w < 0)
			w = 0;
	}
	if ((size_t)w < n)
		keep(loop, p, buf + w, n - (size_t)w);
	return 0;
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
	struct peer *p = w->data;
	ssize_t n = read(w->fd, buf, sizeof buf);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || frames_pass(&p->frames, buf, (size_t)n) < 0 || answer(loop, p, (size_t)n) < 0)
		drop(loop, p);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events)
{
	struct peer *p = w->data;
	ssize_t n = write(w->fd, p->kept, p->len);

	if (n < 0) {
		if (errno != EAGAIN)
			drop(loop, p);
		return;
	}
	memmove(p->kept, p->kept + n, p->len - (size_t)n);
	p->len -= (size_t)n;
	if (!p->len)
		ev_io_stop(loop, w);
}

static void on_accept(struct ev_loop *loop, ev_io *w, int events)
{
	struct peer *p;
	int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	p = calloc(1, sizeof *p);
	if (!p)
		abort();
	ev_io_init(&p->in, on_readable, fd, EV_READ);
	ev_io_init(&p->out, on_writable, fd, EV_WRITE);
	p->in.data = p->out.data = p;
	ev_io_start(loop, &p->in);
}

int main(void)
{
	struct ev_loop *loop = ev_default_loop(0);
	ev_io l;

	ev_io_init(&l, on_accept, listener_open("libev"), EV_READ);
	ev_io_start(loop, &l);
	ev_run(loop, 0);
	return 0;
}
