/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libuv: framed echo over libuv, as its manual has it: uv_try_write(), and uv_write() for the rest
 *
 * One buffer of 64 KiB serves all reads: what the kernel does not take is copied.
 */
#include <uv.h>

#include "frames.h"
#include "listener.h"

struct peer {
	uv_tcp_t tcp;
	struct frames frames;
};

struct rest {
	uv_write_t write;
	char bytes[];
};

static char buf[64 * 1024];

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static void drop(uv_stream_t *s)
{
	if (!uv_is_closing((uv_handle_t *)s))
		uv_close((uv_handle_t *)s, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *b)
{
	*b = uv_buf_init(buf, sizeof buf);
}

static void on_written(uv_write_t *w, int status)
{
	if (status < 0)
		drop(w->handle);
	free(w->data);
}

static void write_rest(uv_stream_t *s, const char *p, size_t n)
{
	struct rest *r = malloc(sizeof *r + n);
	uv_buf_t b;

	if (!r)
		abort();
	memcpy(r->bytes, p, n);
	r->write.data = r;
	b = uv_buf_init(r->bytes, (unsigned)n);
	if (uv_write(&r->write, s, &b, 1, on_written) < 0) {
		free(r);
		drop(s);
	}
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct peer *p = s->data;
	uv_buf_t out;
	int r;

	if (n == 0)
		return;
	if (n < 0 || frames_pass(&p->frames, b->base, (size_t)n) < 0) {
		drop(s);
		return;
	}
	out = uv_buf_init(b->base, (unsigned)n);
	r = uv_try_write(s, &out, 1);
	if (r < 0 && r != UV_EAGAIN)
		drop(s);
	else if (r < n)
		write_rest(s, b->base + (r < 0 ? 0 : r), (size_t)n - (size_t)(r < 0 ? 0 : r));
}

static void on_connection(uv_stream_t *l, int status)
{
	struct peer *p = calloc(1, sizeof *p);

	if (!p)
		abort();
	uv_tcp_init(l->loop, &p->tcp);
	p->tcp.data = p;
	if (status < 0 || uv_accept(l, (uv_stream_t *)&p->tcp) < 0 ||
	    uv_tcp_nodelay(&p->tcp, 1) < 0 ||
	    uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read) < 0)
		drop((uv_stream_t *)&p->tcp);
}

int main(void)
{
	uv_loop_t *loop = uv_default_loop();
	uv_tcp_t l;

	if (uv_tcp_init(loop, &l) < 0 || uv_tcp_open(&l, listener_open("libuv")) < 0 ||
	    uv_listen((uv_stream_t *)&l, LISTENER_BACKLOG, on_connection) < 0) {
		fprintf(stderr, "libuv: it does not listen\n");
		return 1;
	}
	return uv_run(loop, UV_RUN_DEFAULT);
}
