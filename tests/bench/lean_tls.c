/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lean_tls: the yardstick of bench-tls: framed echo by OpenSSL over epoll, and nothing else
 *
 *   lean_tls PORT CERT,KEY   one thread, edge-triggered, read_ahead on, SSL_read until it is dry
 *
 * As lean.c. A connection has its SSL and what of its answers OpenSSL did not take.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "frames.h"
#include "lean_loop.h"

#define BUF (64u * 1024)

struct peer {
	SSL *ssl; /* has the descriptor */
	struct frames frames;
	struct lean_unsent unsent;
};

static char buf[BUF];
static SSL_CTX *ctx;

static void *open_peer(int fd)
{
	struct peer *p = calloc(1, sizeof *p);

	if (!p)
		abort();
	p->ssl = SSL_new(ctx);
	if (!p->ssl || !SSL_set_fd(p->ssl, fd))
		abort();
	SSL_set_accept_state(p->ssl);
	return p;
}

static void drop(void *peer)
{
	struct peer *p = peer;
	int fd = SSL_get_fd(p->ssl);

	SSL_free(p->ssl);
	close(fd);
	free(p->unsent.p);
	free(p);
}

/* Return: bytes that OpenSSL has taken; -1. */
static ssize_t say(struct peer *p, const char *b, size_t n)
{
	int w;

	ERR_clear_error();
	w = SSL_write(p->ssl, b, n > INT32_MAX ? INT32_MAX : (int)n);
	if (w > 0)
		return w;
	w = SSL_get_error(p->ssl, w);
	return w == SSL_ERROR_WANT_WRITE || w == SSL_ERROR_WANT_READ ? 0 : -1;
}

static int answer(struct peer *p, const char *b, size_t n)
{
	ssize_t w = p->unsent.n ? 0 : say(p, b, n);

	if (w < 0)
		return -1;
	return (size_t)w < n ? lean_keep(&p->unsent, b + w, n - (size_t)w) : 0;
}

static int readable(void *peer)
{
	struct peer *p = peer;
	int n;

	for (;;) {
		ERR_clear_error();
		n = SSL_read(p->ssl, buf, BUF);
		if (n <= 0)
			return SSL_get_error(p->ssl, n) == SSL_ERROR_WANT_READ ? 0 : -1;
		if (frames_pass(&p->frames, buf, (size_t)n) < 0 || answer(p, buf, (size_t)n) < 0)
			return -1;
	}
}

static int writable(void *peer)
{
	struct peer *p = peer;
	ssize_t w;

	if (!p->unsent.n)
		return 0;
	w = say(p, p->unsent.p, p->unsent.n);
	if (w < 0)
		return -1;
	lean_took(&p->unsent, (size_t)w);
	return 0;
}

static void load_certificate(const char *both)
{
	char cert[512];
	const char *comma = strchr(both, ',');

	snprintf(cert, sizeof cert, "%.*s", comma ? (int)(comma - both) : 0, both);
	ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx || !comma || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, comma + 1, SSL_FILETYPE_PEM) != 1) {
		ERR_print_errors_fp(stderr);
		exit(1);
	}
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
}

int main(int argc, char **argv)
{
	static const struct lean_peers peers = { "lean_tls", open_peer, readable, writable, drop };

	if (argc != 3) {
		fprintf(stderr, "usage: lean_tls PORT CERT,KEY\n");
		return 2;
	}
	load_certificate(argv[2]);
	lean_run(&peers, (uint16_t)atoi(argv[1]));
}
