/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lean_tls: the yardstick of bench-tls: framed echo by OpenSSL over epoll, and nothing else
 *
 *   lean_tls PORT CERT,KEY   one thread, edge-triggered, read_ahead on, SSL_read until it is dry
 *
 * As lean.c, it has no timeouts, no limits and no error reports. A connection has its SSL and what
 * of its answers OpenSSL did not take.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"

#define BUF (64u * 1024)

struct peer {
	int fd;
	SSL *ssl;
	struct frames frames;
	char *out; /* what the kernel did not take */
	size_t out_len, out_cap;
};

static char buf[BUF];
static SSL_CTX *ctx;
static int ep;

static void drop(struct peer *p)
{
	SSL_free(p->ssl);
	close(p->fd);
	free(p->out);
	free(p);
}

static int keep(struct peer *p, const char *data, size_t n)
{
	if (p->out_len + n > p->out_cap) {
		p->out_cap = (p->out_len + n) * 2;
		p->out = realloc(p->out, p->out_cap);
		if (!p->out)
			return -1;
	}
	memcpy(p->out + p->out_len, data, n);
	p->out_len += n;
	return 0;
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
	ssize_t w = p->out_len ? 0 : say(p, b, n);

	if (w < 0)
		return -1;
	return (size_t)w < n ? keep(p, b + w, n - (size_t)w) : 0;
}

static int readable(struct peer *p)
{
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

static int writable(struct peer *p)
{
	ssize_t w;

	if (!p->out_len)
		return 0;
	w = say(p, p->out, p->out_len);
	if (w < 0)
		return -1;
	memmove(p->out, p->out + w, p->out_len - (size_t)w);
	p->out_len -= (size_t)w;
	return 0;
}

static void accept_one(int l)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP };
	struct peer *p = calloc(1, sizeof *p);

	if (!p)
		abort();
	p->fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (p->fd < 0) {
		free(p);
		return;
	}
	p->ssl = SSL_new(ctx);
	if (!p->ssl || !SSL_set_fd(p->ssl, p->fd))
		abort();
	SSL_set_accept_state(p->ssl);
	e.data.ptr = p;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, p->fd, &e) < 0)
		drop(p);
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
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event ev[512], e = { .events = EPOLLIN };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = sizeof sa;

	if (argc != 3) {
		fprintf(stderr, "usage: lean_tls PORT CERT,KEY\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	load_certificate(argv[2]);
	sa.sin_port = htons((uint16_t)atoi(argv[1]));
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (l < 0 || ep < 0 || bind(l, (struct sockaddr *)&sa, sizeof sa) < 0 ||
	    listen(l, 4096) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l, &e) < 0 ||
	    getsockname(l, (struct sockaddr *)&sa, &len) < 0) {
		perror("lean_tls");
		return 1;
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(sa.sin_port));
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, ev, 512, -1);

		for (int i = 0; i < n; i++) {
			struct peer *p = ev[i].data.ptr;

			if (!p)
				accept_one(l);
			else if ((ev[i].events & EPOLLIN && readable(p) < 0) ||
				 (ev[i].events & EPOLLOUT && writable(p) < 0) ||
				 ev[i].events & (EPOLLERR | EPOLLHUP))
				drop(p);
		}
	}
}
