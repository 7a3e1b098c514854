/* SPDX-License-Identifier: BSD-2-Clause */
/* http: the server is a child; answers are read as their heads say, and not a byte further. */
#include "support/http.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/peer.h"
#include "support/test.h"

struct example http;

/* ------------------------------------------------------------------ the server */

bool http_is_built(void)
{
	return example_is_built("http/http");
}

void http_start(const char *options)
{
	example_start(&http, "http/http", -1, "--listen 127.0.0.1:0 --steer off --pollers 1 %s",
		      options);
}

void http_ended(void)
{
	child_join(&http.child);
}

void http_end(void)
{
	example_end(&http);
}

/* ------------------------------------------------------------------ a client */

int http_port(void)
{
	return http.port;
}

int http_connect(void)
{
	int fd = example_connect(&http), on = 1;

	/* each send is a segment of its own */
	ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
	return fd;
}

void http_send(int fd, const char *text)
{
	peer_send(fd, text, strlen(text));
}

/* Up to and with @end, into @dst as a string. */
static void read_until(int fd, char *dst, size_t cap, const char *end)
{
	size_t n = 0, k = strlen(end);

	while (n < k || memcmp(dst + n - k, end, k)) {
		ck_assert_uint_lt(n, cap - 1);
		peer_recv(fd, dst + n++, 1);
	}
	dst[n] = '\0';
}

static const char *field(const struct answer *a, const char *name)
{
	const char *at = strstr(a->head, name);

	return at ? at + strlen(name) : NULL;
}

void http_read_head(int fd, struct answer *a)
{
	read_until(fd, a->head, sizeof a->head, "\r\n\r\n");
	a->n = a->chunks = 0;
	ck_assert_msg(sscanf(a->head, "HTTP/1.1 %d ", &a->status) == 1, "%s", a->head);
}

static void read_chunks(int fd, struct answer *a)
{
	char line[64];
	unsigned long n;

	do {
		read_until(fd, line, sizeof line, "\r\n");
		n = strtoul(line, NULL, 16);
		ck_assert_uint_lt(a->n + n, sizeof a->body);
		peer_recv(fd, a->body + a->n, n);
		a->n += n;
		a->chunks += n > 0;
		peer_recv(fd, line, 2);
		ck_assert_mem_eq(line, "\r\n", 2);
	} while (n);
}

void http_read(int fd, struct answer *a)
{
	const char *length;

	http_read_head(fd, a);
	length = field(a, "Content-Length: ");
	if (field(a, "Transfer-Encoding: chunked"))
		read_chunks(fd, a);
	else if (length)
		a->n = strtoul(length, NULL, 10);
	ck_assert_uint_lt(a->n, sizeof a->body);
	if (length)
		peer_recv(fd, a->body, a->n);
	a->body[a->n] = '\0';
}

int http_ask(int fd, struct answer *a, const char *text)
{
	http_send(fd, text);
	if (!strncmp(text, "HEAD ", 5))
		http_read_head(fd, a);
	else
		http_read(fd, a);
	return a->status;
}

int http_ask_once(struct answer *a, const char *text)
{
	int fd = http_connect(), status = http_ask(fd, a, text);

	if (answer_has(a, "Connection: close"))
		peer_expect_eof(fd);
	peer_close(&fd);
	return status;
}

bool answer_has(const struct answer *a, const char *line)
{
	char whole[512];

	snprintf(whole, sizeof whole, "\r\n%s\r\n", line);
	return strstr(a->head, whole) != NULL;
}

void answer_must_have(const struct answer *a, const char *line)
{
	ck_assert_msg(answer_has(a, line), "no \"%s\" in\n%s", line, a->head);
}

void answer_must_be(const struct answer *a, int status, const char *body)
{
	ck_assert_msg(a->status == status, "%d expected:\n%s", status, a->head);
	ck_assert_str_eq(a->body, body);
}
