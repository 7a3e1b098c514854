/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * response: an answer, written into the connection's output
 *
 *   response_text()                                      a whole one
 *   response_start(), response_field() ..., response_length() or response_chunked(), the body
 *
 * and then response_end(). The first error stays, and what follows does nothing; a connection whose
 * answer has failed is closed.
 */
#ifndef HTTP_RESPONSE_H
#define HTTP_RESPONSE_H

#include <netpoll/conn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct np_linkbuf;

struct response {
	struct np_conn *conn;
	bool is_1_0, is_head; /* of the request */
	bool close;           /* this is the last answer on this connection */
	bool chunked;
	int error;
	int status;     /* 0: not begun */
	uint64_t bytes; /* of its body, for the log */
};

/* All of it: @text is the body. */
void response_text(struct response *rs, int status, const char *type, const char *text, size_t n);
/* Likewise, its body the status itself: "404 Not Found\n". */
void response_status(struct response *rs, int status);
/* Likewise, with another header. */
void response_status_with(struct response *rs, int status, const char *name, const char *value);

/* The status line and the headers that all answers have. @type NULL: there is no body. */
void response_start(struct response *rs, int status, const char *type);
void response_field(struct response *rs, const char *name, const char *value);
/* The end of the headers, where the body has @n bytes, */
void response_length(struct response *rs, uint64_t n);
/* or none at all (204, 304), */
void response_empty(struct response *rs);
/* or comes in pieces: chunks. Not in HTTP/1.0. */
void response_chunked(struct response *rs);

/* A copy; of a chunked body one chunk. To a HEAD nothing is written. */
void response_write(struct response *rs, const void *p, size_t n);
/* The next @n bytes of the connection's input become the next bytes of the body, not copied. */
void response_move(struct response *rs, size_t n);
/* All of *b, flushed or not: taken, and NULL, where it was written. No chunk. */
void response_append(struct response *rs, struct np_linkbuf **b);
/* @n bytes of @fd from @off on. A file that is shorter by now ends the connection. */
void response_file(struct response *rs, int fd, off_t off, size_t n);
/* Submits what there is. */
void response_flush(struct response *rs);
/* The end: submits it, and closes where it is the last. Return: 0; the error. */
int response_end(struct response *rs);

#endif
