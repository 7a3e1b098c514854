/* SPDX-License-Identifier: BSD-2-Clause */
/* example: a program of examples/ that runs as a child, and has said on which port it listens */
#ifndef SUPPORT_EXAMPLE_H
#define SUPPORT_EXAMPLE_H

#include <stdbool.h>
#include <sys/socket.h>

#include "support/child.h"

struct example {
	struct child child;
	struct sockaddr_storage at; /* 127.0.0.1 and its port */
	int port;
	char line[256]; /* what it said */
};

/* Where @name, "kv/kv", was built to. */
const char *example_path(const char *name);
bool example_is_built(const char *name);

/*
 * example_start() - run @name with the options that the format makes, by spaces
 *
 * @inherited is its descriptor 3, as systemd passes one; -1: none.
 */
void example_start(struct example *e, const char *name, int inherited, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* SIGTERM; it ends in good order, whatever is open. */
void example_end(struct example *e);
int example_connect(const struct example *e);

#endif
