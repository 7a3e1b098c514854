/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http: as much of HTTP/1.1 as answers a browser and a probe: one GET or HEAD, one answer, closed
 *
 * What comes is a stranger's: a request that is not exactly one is answered with 400, a longer one
 * than HTTP_HEAD_MAX with 431, and neither is looked at further.
 */
#ifndef NPSTEER_HTTP_H
#define NPSTEER_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct np_conn;

#define HTTP_HEAD_MAX 8192

struct http_request {
	bool head;      /* HEAD: an answer without its body */
	char path[128]; /* without the query */
	char host[128]; /* "": none was sent */
	char origin[160];
	char site[32]; /* Sec-Fetch-Site */
	char accept[512];
};

/*
 * http_read() - the request that @c begins with
 *
 * May park: yes. Return: 0; 1: it was no request to be answered, and an error has been sent; what
 * np_conn_until_str() says.
 */
int http_read(struct np_conn *c, struct http_request *ret);
/* Status line and headers; with a @length below 0 it goes on until the connection ends. */
int http_begin(struct np_conn *c, int status, const char *type, long length);
/* A whole answer, and the close behind it. Return: 0, or what np_conn_flush() says. */
int http_answer(struct np_conn *c, const struct http_request *q, int status, const char *type,
		const void *body, size_t n);
/* The same of a sentence. */
int http_say(struct np_conn *c, const struct http_request *q, int status, const char *sentence);

#endif
