/* SPDX-License-Identifier: BSD-2-Clause */
/* peer: the other side of a test. */
#include "support/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netpoll/server.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "support/test.h"

int peer_listen(char *text, size_t cap)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof in;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	snprintf(text, cap, "127.0.0.1:%d", ntohs(in.sin_port));
	return fd;
}

int peer_connect(const struct sockaddr_storage *ss, socklen_t len)
{
	struct timeval t = { .tv_sec = AWAIT_MS / 1000 };
	int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
	ck_assert_msg(connect(fd, (const struct sockaddr *)ss, len) == 0, "connect: %s",
		      strerror(errno));
	return fd;
}

int peer_of(struct np_server *s, int i)
{
	struct sockaddr_storage ss;
	socklen_t len;

	ck_assert_int_eq(np_server_addr(s, i, &ss, &len), 0);
	return peer_connect(&ss, len);
}

void peer_send(int fd, const void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);

		if (r <= 0) /* not ck_assert: it tells the runner of each success too */
			ck_abort_msg("send after %zu of %zu bytes: %s", done, n, strerror(errno));
		done += (size_t)r;
	}
}

void peer_recv(int fd, void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = recv(fd, (char *)p + done, n - done, 0);

		/* A call with a deadline is ended by a signal that nobody handles, too. */
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			ck_abort_msg("recv after %zu of %zu bytes: %s", done, n,
				     r ? strerror(errno) : "EOF");
		done += (size_t)r;
	}
}

void peer_echo(int fd, char c)
{
	char back;

	peer_send(fd, &c, 1);
	peer_recv(fd, &back, 1);
	ck_assert_int_eq(back, c);
}

void peer_expect_eof(int fd)
{
	char c;
	ssize_t r = recv(fd, &c, 1, 0);

	ck_assert_msg(r == 0, "expected EOF, got %zd (%s)", r, r < 0 ? strerror(errno) : "a byte");
}

size_t peer_drain(int fd)
{
	char buf[4096];
	size_t n = 0;
	ssize_t r;

	while ((r = recv(fd, buf, sizeof buf, 0)) > 0)
		n += (size_t)r;
	ck_assert_msg(r == 0 || errno == ECONNRESET, "recv: %s", strerror(errno));
	return n;
}

void peer_reset(int *fd)
{
	struct linger l = { .l_onoff = 1 };

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	peer_close(fd);
}

void peer_close(int *fd)
{
	close(*fd);
	*fd = -1;
}

size_t peer_proxy_v2(char *dst, int command, int kind, size_t len)
{
	memcpy(dst, "\r\n\r\n\0\r\nQUIT\n", 12);
	dst[12] = (char)command;
	dst[13] = (char)kind;
	dst[14] = (char)(len >> 8);
	dst[15] = (char)len;
	memset(dst + 16, 1, len);
	return 16 + len;
}
