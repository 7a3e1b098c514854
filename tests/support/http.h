/* SPDX-License-Identifier: BSD-2-Clause */
/* http: the example HTTP server, and a client of it that sends what it is told to, byte by byte */
#ifndef SUPPORT_HTTP_H
#define SUPPORT_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "support/example.h"

/* Leaves the test where the example was not built. */
#define NEEDS_HTTP()                                                                        \
	do {                                                                                \
		if (!http_is_built())                                                       \
			SKIP("examples/http was not built: libhttp-parser-dev is missing"); \
	} while (0)
bool http_is_built(void);

extern struct example http; /* the server */

/* With one poller, on a free port; @options by spaces. */
void http_start(const char *options);
/* SIGTERM; it ends in good order. Clients that are connected make it wait. */
void http_end(void);
/* It has ended; fails the test unless in good order. */
void http_ended(void);

int http_port(void);
int http_connect(void);
void http_send(int fd, const char *text);

struct answer {
	int status;
	char head[8192]; /* with the empty line */
	char body[262144];
	size_t n; /* of the body, chunks put together */
	unsigned chunks;
};

/* The next answer, to a HEAD (which has no body) or to another method. */
void http_read(int fd, struct answer *a);
void http_read_head(int fd, struct answer *a);
/* Sends @text, and reads the answer. Return: its status. */
int http_ask(int fd, struct answer *a, const char *text);
/* On a connection of its own, which the server closes or the client does. */
int http_ask_once(struct answer *a, const char *text);
/* Whether the head has this line. */
bool answer_has(const struct answer *a, const char *line);
void answer_must_have(const struct answer *a, const char *line);
void answer_must_be(const struct answer *a, int status, const char *body);

#endif
