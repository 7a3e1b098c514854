/* SPDX-License-Identifier: BSD-2-Clause */
/* kv: a server of examples/kv, and a client of one byte after the other. */
#include "support/kv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/peer.h"
#include "support/test.h"

struct example kv_server;

void kv_start(const char *options)
{
	example_start(&kv_server, "kv/kv", -1, "--listen 127.0.0.1:0 --steer off %s", options);
}

void kv_end(void)
{
	example_end(&kv_server);
}

int kv_client(void)
{
	return example_connect(&kv_server);
}

void bytes_add(struct bytes *b, const void *p, size_t n)
{
	if (b->n + n + 1 > b->cap) {
		b->cap = 2 * (b->n + n + 1);
		b->p = realloc(b->p, b->cap);
		ck_assert_ptr_nonnull(b->p);
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void bytes_add_text(struct bytes *b, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	ck_assert_int_lt(n, (int)sizeof text);
	bytes_add(b, text, (size_t)n);
}

void kv_add_arg(struct bytes *b, const void *p, size_t n)
{
	bytes_add_text(b, "$%zu\r\n", n);
	bytes_add(b, p, n);
	bytes_add_text(b, "\r\n");
}

void kv_add_command(struct bytes *b, const char *words)
{
	char text[512], *word, *save;
	int n = 0;

	snprintf(text, sizeof text, "%s", words);
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		n++;
	bytes_add_text(b, "*%d\r\n", n);
	snprintf(text, sizeof text, "%s", words);
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		kv_add_arg(b, word, strlen(word));
}

static void kv_read_line(int fd, struct bytes *b)
{
	char c = 0;

	while (c != '\n') {
		peer_recv(fd, &c, 1);
		bytes_add(b, &c, 1);
	}
}

void kv_read_answer(int fd, struct bytes *b)
{
	size_t from = b->n;
	char type, *body;
	long n;

	kv_read_line(fd, b);
	type = b->p[from];
	n = strtol(b->p + from + 1, NULL, 10);
	if ((type == '$' || type == '=') && n >= 0) {
		body = malloc((size_t)n + 2);
		peer_recv(fd, body, (size_t)n + 2);
		bytes_add(b, body, (size_t)n + 2);
		free(body);
	}
	if (type == '%')
		n *= 2;
	if (strchr("*%~>", type))
		while (n-- > 0)
			kv_read_answer(fd, b);
}

void kv_ask(int fd, const char *words)
{
	struct bytes b = { 0 };

	kv_add_command(&b, words);
	peer_send(fd, b.p, b.n);
	free(b.p);
}

void kv_expect_answer(int fd, const char *answer)
{
	struct bytes b = { 0 };

	kv_read_answer(fd, &b);
	ck_assert_str_eq(b.p, answer);
	free(b.p);
}

void kv_expect(int fd, const char *words, const char *answer)
{
	kv_ask(fd, words);
	kv_expect_answer(fd, answer);
}

long kv_integer(int fd, const char *words)
{
	struct bytes b = { 0 };
	long n;

	kv_ask(fd, words);
	kv_read_answer(fd, &b);
	ck_assert_int_eq(b.p[0], ':');
	n = atol(b.p + 1);
	free(b.p);
	return n;
}
