/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_bio: OpenSSL's reads and writes, straight to what lies below the filter
 *
 * What the kernel does not take of a record is kept here, and OpenSSL is told that all of it went.
 * So it never has a record of its own that is half out: there it would refuse to answer a
 * KeyUpdate, and want the same bytes again. The filter holds back what lies behind until the rest
 * is out.
 *
 * What one step of a handshake says is kept likewise, and leaves in one send: OpenSSL writes each
 * ticket by itself, and a long chain of certificates in pieces of 4 KiB.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

int tls_bio_flush(struct tls_filter *f)
{
	ssize_t n;

	while (f->rest_n) {
		n = np_filter_write(f->below, f->rest + f->rest_at, f->rest_n);
		if (n < 0)
			return (int)n;
		f->rest_at += (size_t)n;
		f->rest_n -= (size_t)n;
	}
	free(f->rest);
	f->rest = NULL;
	f->rest_at = 0;
	return 0;
}

/* Behind what is kept already. */
static int bio_keep(struct tls_filter *f, const char *p, size_t n)
{
	char *rest = realloc(f->rest, f->rest_at + f->rest_n + n);

	if (!rest)
		return -ENOMEM;
	memcpy(rest + f->rest_at + f->rest_n, p, n);
	f->rest = rest;
	f->rest_n += n;
	return 0;
}

static int bio_failed(BIO *b, struct tls_filter *f, int err, int retry)
{
	if (err == -EAGAIN)
		BIO_set_flags(b, retry | BIO_FLAGS_SHOULD_RETRY);
	else
		f->below_error = err;
	return -1;
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct tls_filter *f = BIO_get_data(b);
	ssize_t out;
	int r;

	BIO_clear_retry_flags(b);
	if (f->shut)
		return n; /* RFC 8446, 6.1: a KeyUpdate is not answered behind close_notify */
	r = f->rest_n && !f->gathers ? tls_bio_flush(f) : 0;
	if (r < 0)
		return bio_failed(b, f, r, BIO_FLAGS_WRITE);
	out = f->gathers ? 0 : np_filter_write(f->below, p, (size_t)n);
	if (out < 0 && out != -EAGAIN)
		return bio_failed(b, f, (int)out, BIO_FLAGS_WRITE);
	f->has_sent = true;
	out = out < 0 ? 0 : out;
	if (out < n)
		r = bio_keep(f, p + out, (size_t)(n - out));
	return r < 0 ? bio_failed(b, f, r, BIO_FLAGS_WRITE) : n;
}

static int bio_read(BIO *b, char *p, int n)
{
	struct tls_filter *f = BIO_get_data(b);
	ssize_t r = np_filter_read(f->below, p, (size_t)n);

	BIO_clear_retry_flags(b);
	f->dry = r == -EAGAIN;
	f->eof = r == 0;
	return r < 0 ? bio_failed(b, f, (int)r, BIO_FLAGS_READ) : (int)r;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *p)
{
	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return ((const struct tls_filter *)BIO_get_data(b))->eof;
	default:
		return 0;
	}
}

static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "netpoll");

	if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
	    BIO_meth_set_ctrl(m, bio_ctrl))
		bio_method = m;
	else
		BIO_meth_free(m);
}

BIO *tls_bio_new(struct tls_filter *f)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *b;

	pthread_once(&once, bio_method_make);
	b = bio_method ? BIO_new(bio_method) : NULL;
	if (!b)
		return NULL;
	BIO_set_data(b, f);
	BIO_set_init(b, 1);
	return b;
}
