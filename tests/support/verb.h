/* SPDX-License-Identifier: BSD-2-Clause */
/* verb: an npsteer that answers at addresses until it is ended, and what it is asked there. */
#ifndef SUPPORT_VERB_H
#define SUPPORT_VERB_H

#include <netinet/in.h>
#include <stddef.h>
#include <sys/types.h>

#define VERB_ADDRESSES 2

struct verb {
	pid_t pid;
	int out; /* what it prints */
	struct sockaddr_in at[VERB_ADDRESSES];
};

/* `npsteer WORDS` (support/tool.h), which listens on @n addresses. */
void verb_start(struct verb *v, const char *words, unsigned n);
/* SIGTERM: it ends, and well. */
void verb_end(struct verb *v);

int verb_connect(const struct verb *v, unsigned i);
/* Sends @text, @n bytes, and reads until the end of the answer: @dst. */
void verb_ask(const struct verb *v, unsigned i, const char *text, size_t n, char *dst, size_t cap);

#endif
