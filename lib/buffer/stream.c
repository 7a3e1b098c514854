/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream: two buffers and the two callbacks that fill and drain them
 *
 * What a reader would get wrong: an error is kept only in the direction it came from. A TLS session
 * whose peer has said goodbye can still be written to.
 */
#include "netpoll/stream.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "buffer/linkbuf.h"
#include "sys/opts.h"

#define CHUNK 16384u /* what one TLS record holds */
#define IOV   32     /* pieces in one writev() */

struct np_stream {
	struct np_stream_io io;
	void *arg;

	struct np_linkbuf in;
	int read_error; /* for good; 0: none */
	bool reading;   /* inside readv() */
	bool lent;      /* pointers into in may be out there */

	struct np_linkbuf out;
	int write_error;
	bool writing;
};

int np_stream_new(const struct np_stream_io *io, void *arg, struct np_stream **ret)
{
	struct np_stream_io t;
	struct np_stream *s;
	int r = io ? sys_opts_take(&t, sizeof t, io) : -EINVAL;

	if (r < 0)
		return r;
	if (!t.readv && !t.writev)
		return -EINVAL;
	s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->io = t;
	if (!t.chunk)
		s->io.chunk = CHUNK;
	s->arg = arg;
	linkbuf_init(&s->in);
	linkbuf_init(&s->out);
	*ret = s;
	return 0;
}

void np_stream_free(struct np_stream *s)
{
	if (!s)
		return;
	linkbuf_fini(&s->in);
	linkbuf_fini(&s->out);
	if (s->io.close)
		s->io.close(s->arg);
	free(s);
}

/* ------------------------------------------------------------------ reading */

static size_t bytes_of(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* One readv(). Return: bytes, or why there are none. */
static ssize_t source(struct np_stream *s, const struct iovec *iov, int n)
{
	ssize_t k;

	s->reading = true;
	do
		k = s->io.readv(s->arg, iov, n);
	while (k == -EINTR);
	s->reading = false;
	if (k > 0 && (size_t)k > bytes_of(iov, n))
		k = -EINVAL; /* it says that it has filled more than there was */
	if (k < -INT_MAX)
		k = -EINVAL; /* no code: as an int it might be none at all */
	if (k == 0)
		k = -NP_EEOF;
	if (k < 0 && k != -EAGAIN)
		s->read_error = (int)k;
	return k;
}

static int can_read(const struct np_stream *s)
{
	if (s->reading)
		return -NP_ECONCURRENT;
	return s->io.readv ? s->read_error : -NP_EUNSUPPORTED;
}

/* Reads once into the buffer, @n bytes or more. */
static int fill(struct np_stream *s, size_t n)
{
	struct iovec iov[2];
	ssize_t k;
	int r = can_read(s);

	if (r < 0)
		return r;
	r = np_linkbuf_space(&s->in, n > s->io.chunk ? n : s->io.chunk, iov, 2);
	if (r < 0)
		return r;
	k = source(s, iov, r);
	np_linkbuf_commit(&s->in, k > 0 ? (size_t)k : 0);
	return k < 0 ? (int)k : 0;
}

static size_t in_max(const struct np_stream *s)
{
	return s->io.in_max ? s->io.in_max : (size_t)-1;
}

static int wait_for(struct np_stream *s, size_t n)
{
	int r = s->reading ? -NP_ECONCURRENT : 0;

	if (n > linkbuf_len(&s->in) && n > in_max(s))
		return -NP_ETOOLONG;
	while (!r && linkbuf_len(&s->in) < n)
		r = fill(s, n - linkbuf_len(&s->in));
	return r;
}

/* What was read goes, if nobody has a pointer to it. */
static int consumed(struct np_stream *s, int r)
{
	if (!s->lent)
		np_linkbuf_release(&s->in);
	return r;
}

int np_stream_wait(struct np_stream *s, size_t n)
{
	return wait_for(s, n);
}

int np_stream_next(struct np_stream *s, size_t n, const void **ret_p)
{
	int r = wait_for(s, n);

	if (r < 0)
		return r;
	s->lent = true;
	return np_linkbuf_next(&s->in, n, ret_p);
}

int np_stream_peek(struct np_stream *s, size_t n, const void **ret_p)
{
	int r = wait_for(s, n);

	if (r < 0)
		return r;
	s->lent = true;
	return np_linkbuf_peek(&s->in, n, ret_p);
}

int np_stream_skip(struct np_stream *s, size_t n)
{
	int r = wait_for(s, n);

	return r < 0 ? r : consumed(s, np_linkbuf_skip(&s->in, n));
}

int np_stream_copy(struct np_stream *s, void *dst, size_t n)
{
	int r = wait_for(s, n);

	return r < 0 ? r : consumed(s, np_linkbuf_copy(&s->in, dst, n));
}

int np_stream_dup(struct np_stream *s, size_t n, char **ret_s)
{
	int r = wait_for(s, n);

	return r < 0 ? r : consumed(s, np_linkbuf_dup(&s->in, n, ret_s));
}

int np_stream_byte(struct np_stream *s, unsigned char *ret)
{
	int r = wait_for(s, 1);

	return r < 0 ? r : consumed(s, np_linkbuf_byte(&s->in, ret));
}

int np_stream_slice(struct np_stream *s, size_t n, struct np_linkbuf **ret)
{
	int r = wait_for(s, n);

	return r < 0 ? r : consumed(s, np_linkbuf_slice(&s->in, n, ret));
}

int np_stream_until(struct np_stream *s, char delim, size_t max, const void **ret_p, size_t *ret_n)
{
	size_t n, seen = 0;
	int r = s->reading ? -NP_ECONCURRENT : 0;

	if (!max)
		return -EINVAL;
	if (max > in_max(s))
		max = in_max(s);
	while (!r) {
		n = linkbuf_find(&s->in, delim, seen, max);
		if (n)
			break;
		seen = linkbuf_len(&s->in);
		r = seen < max ? fill(s, 1) : -NP_ETOOLONG;
	}
	if (!r)
		r = np_stream_next(s, n, ret_p);
	if (!r)
		*ret_n = n;
	return r;
}

static ssize_t read_past(struct np_stream *s, void *dst, size_t cap)
{
	struct iovec iov = { dst, cap };
	int r = can_read(s);

	return r < 0 ? r : source(s, &iov, 1);
}

ssize_t np_stream_read(struct np_stream *s, void *dst, size_t cap)
{
	size_t have = linkbuf_len(&s->in);
	ssize_t r;

	if (!cap)
		return 0;
	if (!have && cap >= s->io.chunk) {
		r = read_past(s, dst, cap);
		return r == -NP_EEOF ? 0 : r;
	}
	r = wait_for(s, 1);
	if (r < 0)
		return r == -NP_EEOF ? 0 : r;
	have = linkbuf_len(&s->in);
	if (cap > have)
		cap = have;
	np_linkbuf_copy(&s->in, dst, cap);
	return consumed(s, 0) + (ssize_t)cap;
}

void np_stream_release(struct np_stream *s)
{
	s->lent = false;
	np_linkbuf_release(&s->in);
}

size_t np_stream_len(const struct np_stream *s)
{
	return linkbuf_len(&s->in);
}

struct np_linkbuf *np_stream_in(struct np_stream *s)
{
	s->lent = true; /* for all we know */
	return &s->in;
}

/* ------------------------------------------------------------------ writing */

static int can_write(const struct np_stream *s)
{
	if (s->writing)
		return -NP_ECONCURRENT;
	return s->io.writev ? s->write_error : -NP_EUNSUPPORTED;
}

int np_stream_reserve(struct np_stream *s, size_t n, void **ret_p)
{
	int r = can_write(s);

	return r < 0 ? r : np_linkbuf_reserve(&s->out, n, ret_p);
}

int np_stream_trim(struct np_stream *s, size_t n)
{
	int r = can_write(s);

	return r < 0 ? r : np_linkbuf_trim(&s->out, n);
}

int np_stream_write(struct np_stream *s, const void *p, size_t n)
{
	int r = can_write(s);

	return r < 0 ? r : np_linkbuf_write(&s->out, p, n);
}

int np_stream_write_byte(struct np_stream *s, unsigned char c)
{
	return np_stream_write(s, &c, 1);
}

int np_stream_write_ref(struct np_stream *s, const void *p, size_t n, void (*done)(void *arg),
			void *arg)
{
	int r = can_write(s);

	return r < 0 ? r : np_linkbuf_write_ref(&s->out, p, n, done, arg);
}

int np_stream_write_direct(struct np_stream *s, const void *p, size_t n, size_t remain,
			   void (*done)(void *arg), void *arg)
{
	int r = can_write(s);

	return r < 0 ? r : np_linkbuf_write_direct(&s->out, p, n, remain, done, arg);
}

int np_stream_append(struct np_stream *s, struct np_linkbuf **other)
{
	int r = can_write(s);

	return r < 0 ? r : np_linkbuf_append(&s->out, other);
}

size_t np_stream_pending(const struct np_stream *s)
{
	return np_linkbuf_pending(&s->out);
}

/* One writev(). Return: bytes that it took and that are gone from out, or why there are none. */
static ssize_t sink(struct np_stream *s)
{
	struct iovec iov[IOV];
	int n = np_linkbuf_iov(&s->out, iov, IOV);
	ssize_t k;

	s->writing = true;
	do
		k = s->io.writev(s->arg, iov, n);
	while (k == -EINTR);
	s->writing = false;
	if (k > 0 && (size_t)k > bytes_of(iov, n))
		k = -EINVAL;
	if (k == 0)
		k = -EAGAIN;
	if (k < 0 && k != -EAGAIN)
		s->write_error = (int)k;
	if (k > 0)
		linkbuf_consume(&s->out, (size_t)k);
	return k;
}

int np_stream_flush(struct np_stream *s)
{
	ssize_t k = can_write(s);

	if (k < 0)
		return (int)k;
	linkbuf_flush(&s->out);
	while (k >= 0 && linkbuf_len(&s->out))
		k = sink(s);
	return k < 0 ? (int)k : 0;
}

struct np_linkbuf *np_stream_out(struct np_stream *s)
{
	return &s->out;
}
