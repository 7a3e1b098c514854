/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_peer: the other side of a test, by OpenSSL alone, and certificates made for the run
 *
 * Its records go through memory, so that a test decides how they are cut and what goes together.
 */
#ifndef SUPPORT_TLS_PEER_H
#define SUPPORT_TLS_PEER_H

#include <netpoll/tls.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "support/peer.h"
#include "support/run.h"
#include "support/serve.h"
#include "support/test.h"

#define helper __attribute__((unused)) static

/* ------------------------------------------------------------------ certificates */

static char *certs_dir;

/* A path below the folder of this run; of the last eight calls. */
helper const char *in_certs(const char *name)
{
	static char paths[8][256];
	static _Atomic(unsigned) i; /* handlers ask, too */
	char *p = paths[i++ % 8];

	snprintf(p, 256, "%s/%s", certs_dir, name);
	return p;
}

/* NAME.pem and NAME.key, signed by ca.pem. @ext: subjectAltName and more; @days may be "-days 30". */
helper void make_cert(const char *name, const char *key, const char *san, const char *when)
{
	must_sh("cd %s && openssl req -new -newkey %s -nodes -keyout %s.key -out %s.csr -subj /CN=%s "
		"2>/dev/null && printf 'subjectAltName=%s\\n' > %s.ext && openssl x509 -req -in %s.csr -CA "
		"ca.pem -CAkey ca.key -CAcreateserial %s -extfile %s.ext -out %s.pem 2>/dev/null",
		certs_dir, key, name, name, name, san, name, name, when, name, name);
}

#define EC "ec -pkeyopt ec_paramgen_curve:P-256"

/* Once for all tests of the program: ca, and localhost (also 127.0.0.1). */
helper void certs_setup(void)
{
	certs_dir = temp_dir();
	must_sh("cd %s && openssl req -x509 -newkey " EC
		" -nodes -keyout ca.key -out ca.pem -days 30 "
		"-subj /CN=test-ca -addext keyUsage=critical,keyCertSign 2>/dev/null",
		certs_dir);
	make_cert("localhost", EC, "DNS:localhost,IP:127.0.0.1", "-days 30");
}

helper void certs_teardown(void)
{
	remove_tree(&certs_dir);
}

/* A context of localhost's certificate; @o is filled in. */
helper struct np_tls *given_server_tls(struct np_tls_opts *o)
{
	static struct np_tls_cert cert;
	static char why[256];
	struct np_tls_opts own = { .sz = sizeof own };
	struct np_tls *t = NULL;

	o = o ? o : &own;
	cert = (struct np_tls_cert){ in_certs("localhost.pem"), in_certs("localhost.key") };
	if (!o->n_certs) {
		o->certs = &cert;
		o->n_certs = 1;
	}
	o->error = why;
	o->error_size = sizeof why;
	ck_assert_msg(np_tls_server_new(o, &t) == 0, "%s", why);
	return t;
}

helper struct np_tls_stats tls_stats_of(struct np_tls *t)
{
	struct np_tls_stats st = { .sz = sizeof st };

	ck_assert_int_eq(np_tls_stats(t, &st), 0);
	return st;
}

/* ------------------------------------------------------------------ the peer */

struct tls_peer {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
	size_t piece; /* bytes for each send; 0: all at once */
	bool over;    /* FIN or reset has come */
};

helper void tls_peer_init(struct tls_peer *p, int fd)
{
	*p = (struct tls_peer){ .fd = fd, .ctx = SSL_CTX_new(TLS_client_method()) };
	SSL_CTX_set_mode(p->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE);
	p->ssl = SSL_new(p->ctx);
	p->in = BIO_new(BIO_s_mem());
	p->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(p->in, -1);
	SSL_set_bio(p->ssl, p->in, p->out);
	SSL_set_connect_state(p->ssl);
}

helper void tls_peer_free(struct tls_peer *p)
{
	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	if (p->fd >= 0)
		peer_close(&p->fd);
}

/* What OpenSSL wants to say goes out. */
helper void tls_peer_push(struct tls_peer *p)
{
	char *bytes;
	size_t n = (size_t)BIO_get_mem_data(p->out, &bytes), step = p->piece ? p->piece : n;

	for (size_t at = 0; at < n; at += step)
		peer_send(p->fd, bytes + at, n - at < step ? n - at : step);
	(void)BIO_reset(p->out);
}

/* Waits for something of the peer's. */
helper void tls_peer_pull(struct tls_peer *p)
{
	char bytes[20000];
	ssize_t n = recv(p->fd, bytes, sizeof bytes, 0);

	if (n > 0)
		BIO_write(p->in, bytes, (int)n);
	else
		p->over = true;
}

/* As far as it goes, but what is last stays unsent. Return: whether it is over. */
helper bool tls_peer_shake_to_the_end(struct tls_peer *p)
{
	for (;;) {
		int r = SSL_do_handshake(p->ssl);

		if (r == 1)
			return true;
		if (SSL_get_error(p->ssl, r) != SSL_ERROR_WANT_READ || p->over) {
			tls_peer_push(p);
			return false;
		}
		tls_peer_push(p);
		tls_peer_pull(p);
	}
}

helper void tls_peer_shake(struct tls_peer *p)
{
	ck_assert(tls_peer_shake_to_the_end(p));
	tls_peer_push(p);
}

helper void tls_peer_write(struct tls_peer *p, const void *bytes, size_t n)
{
	size_t done;

	for (size_t at = 0; at < n; at += done)
		ck_assert_int_eq(SSL_write_ex(p->ssl, (const char *)bytes + at, n - at, &done), 1);
}

helper void tls_peer_say(struct tls_peer *p, const void *bytes, size_t n)
{
	tls_peer_write(p, bytes, n);
	tls_peer_push(p);
}

/* Return: bytes; 0: close_notify; -1: FIN, reset or an alert. */
helper ssize_t tls_peer_read(struct tls_peer *p, void *dst, size_t cap)
{
	size_t n;

	for (;;) {
		int r = SSL_read_ex(p->ssl, dst, cap, &n), e;

		if (r == 1)
			return (ssize_t)n;
		e = SSL_get_error(p->ssl, r);
		if (e == SSL_ERROR_ZERO_RETURN)
			return 0;
		if (e != SSL_ERROR_WANT_READ || p->over)
			return -1;
		tls_peer_push(p);
		tls_peer_pull(p);
	}
}

/* Exactly @n bytes. */
helper void tls_peer_hear(struct tls_peer *p, void *dst, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t r = tls_peer_read(p, (char *)dst + at, n - at);

		ck_assert_int_gt(r, 0);
		at += (size_t)r;
	}
}

helper void tls_peer_expect(struct tls_peer *p, const char *text)
{
	char got[256];

	tls_peer_hear(p, got, strlen(text));
	ck_assert_mem_eq(got, text, strlen(text));
}

/* close_notify, and what is then read: until the other side's. */
helper void tls_peer_part(struct tls_peer *p)
{
	char rest[4096];

	SSL_shutdown(p->ssl);
	tls_peer_push(p);
	ck_assert_int_eq(tls_peer_read(p, rest, sizeof rest), 0);
	tls_peer_free(p);
}

/* Connected to serve_server, and the handshake over. */
helper void given_peer(struct tls_peer *p)
{
	tls_peer_init(p, serve_connect(0));
	tls_peer_shake(p);
}

/* The description of the alert that ends @fd, in the clear; -1: there was none. */
helper int alert_in_the_clear(int fd)
{
	unsigned char a[7];
	size_t n = 0;
	ssize_t r = 1;

	while (n < sizeof a && r > 0) {
		r = recv(fd, a + n, sizeof a - n, 0);
		n += r > 0 ? (size_t)r : 0;
	}
	return n == sizeof a && a[0] == SSL3_RT_ALERT && a[5] == SSL3_AL_FATAL ? a[6] : -1;
}

#endif
