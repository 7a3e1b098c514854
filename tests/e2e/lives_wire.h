/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lives_wire: what the peer of a life speaks: plain bytes, or TLS by OpenSSL alone
 *
 * The records go through memory, so that chance cuts them anywhere, and the first frames may go
 * out with the client's Finished. Nothing waits but wire_part().
 */
#ifndef TESTS_E2E_LIVES_WIRE_H
#define TESTS_E2E_LIVES_WIRE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lives_drawn.h"

#ifdef NP_HAVE_TLS
#include "support/tls_peer.h"
#else
struct tls_peer {
	int fd;
	void *ssl;
};
#endif

#ifdef NP_HAVE_TLS

#define WIRE_OUT_MAX 65536 /* records that stand are not added to above it */

static _Thread_local SSL_SESSION *wire_session[2]; /* of TLS 1.2, 1.3 */

static void wire_open(struct tls_peer *p, int fd, bool tls, uint64_t *chance)
{
	bool new = upto(chance, 2);

	*p = (struct tls_peer){ .fd = fd };
	if (!tls)
		return;
	tls_peer_init(p, fd);
	SSL_set_max_proto_version(p->ssl, new ? TLS1_3_VERSION : TLS1_2_VERSION);
	if (wire_session[new] && upto(chance, 2))
		SSL_set_session(p->ssl, wire_session[new]);
	SSL_do_handshake(p->ssl); /* the ClientHello stands now */
}

static size_t wire_stands(const struct tls_peer *p)
{
	return p->ssl && !p->over ? BIO_ctrl_pending(p->out) : 0;
}

/* Some of the records, or all. Return: whether the socket took them; false: not now, or never. */
static bool wire_push(struct tls_peer *p, uint64_t *chance, int flags)
{
	char *bytes, rest[2 * WIRE_OUT_MAX];
	size_t n = (size_t)BIO_get_mem_data(p->out, &bytes);
	ssize_t r;

	if (chance && n > 1 && upto(chance, 3))
		n = 1 + upto(chance, (unsigned)n);
	r = n ? send(p->fd, bytes, n, MSG_NOSIGNAL | flags) : 0;
	if (r < 0 && errno != EAGAIN)
		p->over = true;
	if (r > 0)
		BIO_read(p->out, rest, (int)r);
	return r >= 0;
}

/* A KeyUpdate now and then. */
static void wire_update_keys(struct tls_peer *p, uint64_t *chance)
{
	if (SSL_is_init_finished(p->ssl) && SSL_version(p->ssl) == TLS1_3_VERSION &&
	    upto(chance, 20) == 0)
		SSL_key_update(p->ssl, upto(chance, 2) ? SSL_KEY_UPDATE_REQUESTED :
							 SSL_KEY_UPDATE_NOT_REQUESTED);
}

/* Return: as send(2), of plain bytes; they may stand in records (wire_stands()). */
static ssize_t wire_send(struct tls_peer *p, const void *bytes, size_t n, int flags,
			 uint64_t *chance)
{
	size_t done = 0;

	if (!p->ssl)
		return send(p->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
	if (n && wire_stands(p) < WIRE_OUT_MAX && !p->over) {
		wire_update_keys(p, chance);
		ERR_clear_error();
		SSL_write_ex(p->ssl, bytes, n < 16384 ? n : 16384, &done);
	}
	wire_push(p, chance, MSG_DONTWAIT);
	if (done)
		return (ssize_t)done;
	errno = p->over ? EPIPE : EAGAIN;
	return n ? -1 : 0;
}

/* Whether to wait until the socket takes more; before the handshake is over it is its turn. */
static bool wire_wants_out(const struct tls_peer *p, bool more)
{
	return wire_stands(p) || (more && (!p->ssl || SSL_is_init_finished(p->ssl)));
}

/* Return: as recv(2), of plain bytes; 0 is close_notify, and FIN without it is EPROTO. */
static ssize_t wire_recv(struct tls_peer *p, void *dst, size_t cap, uint64_t *chance)
{
	char raw[16384];
	size_t got;
	ssize_t n = 0;
	int r;

	if (!p->ssl)
		return recv(p->fd, dst, cap, MSG_DONTWAIT);
	for (;;) {
		ERR_clear_error();
		r = SSL_read_ex(p->ssl, dst, cap, &got);
		if (r == 1)
			return (ssize_t)got;
		r = SSL_get_error(p->ssl, r);
		if (r == SSL_ERROR_ZERO_RETURN)
			return 0;
		n = r == SSL_ERROR_WANT_READ ?
			    recv(p->fd, raw, 1 + upto(chance, sizeof raw), MSG_DONTWAIT) :
			    0;
		if (n < 0)
			return -1;
		if (n == 0) {
			errno = EPROTO;
			return -1;
		}
		BIO_write(p->in, raw, (int)n);
	}
}

/* The end of what the peer sends: close_notify, unless it is to be missed, and FIN. */
static void wire_shut(struct tls_peer *p, bool notify)
{
	struct pollfd f = { .fd = p->fd, .events = POLLOUT };

	if (p->ssl && notify && SSL_is_init_finished(p->ssl)) {
		ERR_clear_error();
		SSL_shutdown(p->ssl);
	}
	while (wire_stands(p) && !p->over)
		if (!wire_push(p, NULL, MSG_DONTWAIT | MSG_MORE) && poll(&f, 1, AWAIT_MS) <= 0)
			break;
	shutdown(p->fd, SHUT_WR);
}

/* Gives back what OpenSSL has; the socket is the caller's. */
static void wire_free(struct tls_peer *p)
{
	if (!p->ssl)
		return;
	if (SSL_is_init_finished(p->ssl)) {
		bool new = SSL_version(p->ssl) == TLS1_3_VERSION;

		SSL_SESSION_free(wire_session[new]);
		wire_session[new] = SSL_get1_session(p->ssl);
		SSL_set_shutdown(p->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	}
	p->fd = -1;
	tls_peer_free(p);
}

/*
 * A ticket that was not read makes close(2) a reset, which can cost the other side what it has not
 * read yet: all is read first.
 */
static void wire_part(struct tls_peer *p, bool notify)
{
	char rest[16384];

	if (!p->ssl)
		return;
	wire_shut(p, notify);
	while (recv(p->fd, rest, sizeof rest, 0) > 0)
		;
}

/* Of each thread that has opened some, at its end. */
static void wire_forget(void)
{
	for (int i = 0; i < 2; i++) {
		SSL_SESSION_free(wire_session[i]);
		wire_session[i] = NULL;
	}
	OPENSSL_thread_stop();
}

#else

static void wire_open(struct tls_peer *p, int fd, bool tls, uint64_t *chance)
{
	*p = (struct tls_peer){ .fd = fd };
}

static size_t wire_stands(const struct tls_peer *p)
{
	return 0;
}

static ssize_t wire_send(struct tls_peer *p, const void *bytes, size_t n, int flags,
			 uint64_t *chance)
{
	return send(p->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
}

static bool wire_wants_out(const struct tls_peer *p, bool more)
{
	return more;
}

static ssize_t wire_recv(struct tls_peer *p, void *dst, size_t cap, uint64_t *chance)
{
	return recv(p->fd, dst, cap, MSG_DONTWAIT);
}

static void wire_shut(struct tls_peer *p, bool notify)
{
	shutdown(p->fd, SHUT_WR);
}

static void wire_free(struct tls_peer *p)
{
}

static void wire_part(struct tls_peer *p, bool notify)
{
}

static void wire_forget(void)
{
}

#endif
#endif
