/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bufio: two buffers and the two callbacks that fill and drain them
 *
 * An error is kept only in the direction it came from: a TLS session whose peer has said goodbye
 * can still be written to.
 */
#include "netpoll/bufio.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "buffer/linkbuf.h"
#include "sys/opts.h"

#define CHUNK   16384u /* what one TLS record holds */
#define IOV     32     /* pieces in one writev() */
#define NOTHING (-1)

struct np_bufio {
	struct np_bufio_ops ops;
	void *arg;

	struct np_linkbuf in;
	int read_error; /* for good; 0: none */
	bool reading;   /* inside readv() */
	bool lent;      /* pointers into in may be out there */
	bool shown;     /* np_bufio_in() was called: others may consume */
	int sought;     /* the end that until() has looked for in vain, up to mark; or NOTHING */
	struct linkbuf_mark mark;

	struct np_linkbuf out;
	int write_error;
	bool writing;
};

int np_bufio_new(const struct np_bufio_ops *ops, void *arg, struct np_bufio **ret)
{
	struct np_bufio_ops t;
	struct np_bufio *b;
	int r = ops ? sys_opts_take(&t, sizeof t, ops) : -EINVAL;

	if (r < 0)
		return r;
	if (!t.readv && !t.writev)
		return -EINVAL;
	b = calloc(1, sizeof *b);
	if (!b)
		return -ENOMEM;
	b->ops = t;
	if (!t.chunk)
		b->ops.chunk = CHUNK;
	b->arg = arg;
	b->sought = NOTHING;
	linkbuf_init(&b->in);
	linkbuf_init(&b->out);
	*ret = b;
	return 0;
}

void np_bufio_free(struct np_bufio **p)
{
	struct np_bufio *b = *p;

	if (!b)
		return;
	*p = NULL;
	linkbuf_fini(&b->in);
	linkbuf_fini(&b->out);
	if (b->ops.close)
		b->ops.close(b->arg);
	free(b);
}

/* ------------------------------------------------------------------ reading */

static size_t bufio_iov_bytes(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* One readv(). Return: bytes, or why there are none. */
static ssize_t bufio_source(struct np_bufio *b, const struct iovec *iov, int n)
{
	ssize_t k;

	b->reading = true;
	do
		k = b->ops.readv(b->arg, iov, n);
	while (k == -EINTR);
	b->reading = false;
	if (k > 0 && (size_t)k > bufio_iov_bytes(iov, n))
		k = -EINVAL; /* it says that it has filled more than there was */
	if (k < -INT_MAX)
		k = -EINVAL; /* no code: as an int it might be none at all */
	if (k == 0)
		k = -NP_EEOF;
	if (k < 0 && k != -EAGAIN)
		b->read_error = (int)k;
	return k;
}

static int bufio_can_read(const struct np_bufio *b)
{
	if (b->reading)
		return -NP_ECONCURRENT;
	return b->ops.readv ? b->read_error : -NP_EUNSUPPORTED;
}

/* Reads once into the buffer, @n bytes or more. */
static int bufio_fill(struct np_bufio *b, size_t n)
{
	struct iovec iov[2];
	ssize_t k;
	int r = bufio_can_read(b);

	if (r < 0)
		return r;
	r = np_linkbuf_space(&b->in, n > b->ops.chunk ? n : b->ops.chunk, iov, 2);
	if (r < 0)
		return r;
	k = bufio_source(b, iov, r);
	np_linkbuf_commit(&b->in, k > 0 ? (size_t)k : 0);
	return k < 0 ? (int)k : 0;
}

static size_t bufio_in_max(const struct np_bufio *b)
{
	return b->ops.in_max ? b->ops.in_max : (size_t)-1;
}

static int bufio_wait(struct np_bufio *b, size_t n)
{
	int r = b->reading ? -NP_ECONCURRENT : 0;

	if (n > linkbuf_len(&b->in) && n > bufio_in_max(b))
		return -NP_ETOOLONG;
	while (!r && linkbuf_len(&b->in) < n)
		r = bufio_fill(b, n - linkbuf_len(&b->in));
	return r;
}

/* The verb that follows gives a pointer. */
static void bufio_lend(struct np_bufio *b)
{
	b->lent = true;
	b->sought = NOTHING;
}

/* The bytes that were read go, if nobody has a pointer to them. */
static int bufio_consumed(struct np_bufio *b, int r)
{
	b->sought = NOTHING;
	if (!b->lent)
		np_linkbuf_release(&b->in);
	return r;
}

int np_bufio_wait(struct np_bufio *b, size_t n)
{
	return bufio_wait(b, n);
}

int np_bufio_next(struct np_bufio *b, size_t n, const void **ret_p)
{
	int r = bufio_wait(b, n);

	if (r < 0)
		return r;
	bufio_lend(b);
	return np_linkbuf_next(&b->in, n, ret_p);
}

int np_bufio_peek(struct np_bufio *b, size_t n, const void **ret_p)
{
	int r = bufio_wait(b, n);

	if (r < 0)
		return r;
	bufio_lend(b);
	return np_linkbuf_peek(&b->in, n, ret_p);
}

int np_bufio_skip(struct np_bufio *b, size_t n)
{
	int r = bufio_wait(b, n);

	return r < 0 ? r : bufio_consumed(b, np_linkbuf_skip(&b->in, n));
}

int np_bufio_copy(struct np_bufio *b, void *dst, size_t n)
{
	int r = bufio_wait(b, n);

	return r < 0 ? r : bufio_consumed(b, np_linkbuf_copy(&b->in, dst, n));
}

int np_bufio_dup(struct np_bufio *b, size_t n, char **ret_s)
{
	int r = bufio_wait(b, n);

	return r < 0 ? r : bufio_consumed(b, np_linkbuf_dup(&b->in, n, ret_s));
}

int np_bufio_byte(struct np_bufio *b, unsigned char *ret)
{
	int r = bufio_wait(b, 1);

	return r < 0 ? r : bufio_consumed(b, np_linkbuf_byte(&b->in, ret));
}

int np_bufio_slice(struct np_bufio *b, size_t n, struct np_linkbuf **ret)
{
	int r = bufio_wait(b, n);

	return r < 0 ? r : bufio_consumed(b, np_linkbuf_slice(&b->in, n, ret));
}

/* How far the search for @delim has come already. */
static struct linkbuf_mark *bufio_mark(struct np_bufio *b, char delim)
{
	int c = (unsigned char)delim;

	if (b->sought != c || b->shown)
		b->mark = (struct linkbuf_mark){ 0 };
	b->sought = c;
	return &b->mark;
}

int np_bufio_until(struct np_bufio *b, char delim, size_t max, const void **ret_p, size_t *ret_n)
{
	const unsigned char s = (unsigned char)delim;
	const struct linkbuf_delim d = { .s = &s, .n = 1 };
	struct linkbuf_mark *m;
	size_t n;
	int r = 0;

	if (!max)
		return -EINVAL;
	if (b->reading)
		return -NP_ECONCURRENT;
	if (max > bufio_in_max(b))
		max = bufio_in_max(b);
	m = bufio_mark(b, delim);
	while (!(n = linkbuf_find_on(&b->in, &d, m, max)) && !r)
		r = linkbuf_len(&b->in) < max ? bufio_fill(b, 1) : -NP_ETOOLONG;
	if (!n)
		return r;
	r = np_bufio_next(b, n, ret_p);
	if (!r)
		*ret_n = n;
	return r;
}

static ssize_t bufio_read_past(struct np_bufio *b, void *dst, size_t cap)
{
	struct iovec iov = { dst, cap };
	int r = bufio_can_read(b);

	return r < 0 ? r : bufio_source(b, &iov, 1);
}

ssize_t np_bufio_read(struct np_bufio *b, void *dst, size_t cap)
{
	size_t have = linkbuf_len(&b->in);
	ssize_t r;

	if (!cap)
		return 0;
	if (!have && cap >= b->ops.chunk) {
		r = bufio_read_past(b, dst, cap);
		return r == -NP_EEOF ? 0 : r;
	}
	r = bufio_wait(b, 1);
	if (r < 0)
		return r == -NP_EEOF ? 0 : r;
	have = linkbuf_len(&b->in);
	if (cap > have)
		cap = have;
	np_linkbuf_copy(&b->in, dst, cap);
	return bufio_consumed(b, 0) + (ssize_t)cap;
}

void np_bufio_release(struct np_bufio *b)
{
	b->lent = false;
	b->sought = NOTHING;
	np_linkbuf_release(&b->in);
}

size_t np_bufio_len(const struct np_bufio *b)
{
	return linkbuf_len(&b->in);
}

struct np_linkbuf *np_bufio_in(struct np_bufio *b)
{
	bufio_lend(b); /* for all we know */
	b->shown = true;
	return &b->in;
}

/* ------------------------------------------------------------------ writing */

static int bufio_can_write(const struct np_bufio *b)
{
	if (b->writing)
		return -NP_ECONCURRENT;
	return b->ops.writev ? b->write_error : -NP_EUNSUPPORTED;
}

int np_bufio_reserve(struct np_bufio *b, size_t n, void **ret_p)
{
	int r = bufio_can_write(b);

	return r < 0 ? r : np_linkbuf_reserve(&b->out, n, ret_p);
}

int np_bufio_trim(struct np_bufio *b, size_t n)
{
	int r = bufio_can_write(b);

	return r < 0 ? r : np_linkbuf_trim(&b->out, n);
}

int np_bufio_write(struct np_bufio *b, const void *p, size_t n)
{
	int r = bufio_can_write(b);

	return r < 0 ? r : np_linkbuf_write(&b->out, p, n);
}

int np_bufio_write_byte(struct np_bufio *b, unsigned char c)
{
	return np_bufio_write(b, &c, 1);
}

int np_bufio_write_ref(struct np_bufio *b, const void *p, size_t n, void (*done)(void *arg),
		       void *arg)
{
	int r = bufio_can_write(b);

	return r < 0 ? r : np_linkbuf_write_ref(&b->out, p, n, done, arg);
}

int np_bufio_write_direct(struct np_bufio *b, const void *p, size_t n, size_t remain,
			  void (*done)(void *arg), void *arg)
{
	int r = bufio_can_write(b);

	return r < 0 ? r : np_linkbuf_write_direct(&b->out, p, n, remain, done, arg);
}

int np_bufio_append(struct np_bufio *b, struct np_linkbuf **other)
{
	int r = bufio_can_write(b);

	return r < 0 ? r : np_linkbuf_append(&b->out, other);
}

size_t np_bufio_pending(const struct np_bufio *b)
{
	return np_linkbuf_pending(&b->out);
}

/* One writev(). Return: bytes that it took and that are gone from out, or why there are none. */
static ssize_t bufio_sink(struct np_bufio *b)
{
	struct iovec iov[IOV];
	int n = np_linkbuf_iov(&b->out, iov, IOV);
	ssize_t k;

	b->writing = true;
	do
		k = b->ops.writev(b->arg, iov, n);
	while (k == -EINTR);
	b->writing = false;
	if (k > 0 && (size_t)k > bufio_iov_bytes(iov, n))
		k = -EINVAL;
	if (k == 0)
		k = -EAGAIN;
	if (k < 0 && k != -EAGAIN)
		b->write_error = (int)k;
	if (k > 0)
		linkbuf_consume(&b->out, (size_t)k);
	return k;
}

int np_bufio_flush(struct np_bufio *b)
{
	ssize_t k = bufio_can_write(b);

	if (k < 0)
		return (int)k;
	linkbuf_flush(&b->out);
	while (k >= 0 && linkbuf_len(&b->out))
		k = bufio_sink(b);
	return k < 0 ? (int)k : 0;
}

struct np_linkbuf *np_bufio_out(struct np_bufio *b)
{
	return &b->out;
}
