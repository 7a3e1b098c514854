/* SPDX-License-Identifier: BSD-2-Clause */
/* kv: a server of examples/kv, and what its clients say and hear: RESP */
#ifndef SUPPORT_KV_H
#define SUPPORT_KV_H

#include <stddef.h>

#include "support/example.h"

/* Behind the last byte there is a NUL. { NULL, 0 }: none; p is to be freed. */
struct bytes {
	char *p;
	size_t n, cap;
};

extern struct example kv_server;

void kv_start(const char *options);
void kv_end(void);
/* A connection to it. */
int kv_client(void);

void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_add_text(struct bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void kv_add_arg(struct bytes *b, const void *p, size_t n);
/* Words, as a RESP array. */
void kv_add_command(struct bytes *b, const char *words);
/* One answer, whatever is in it, behind what is in @b. */
void kv_read_answer(int fd, struct bytes *b);

void kv_ask(int fd, const char *words);
void kv_expect_answer(int fd, const char *answer);
void kv_expect(int fd, const char *words, const char *answer);
long kv_integer(int fd, const char *words);

#endif
