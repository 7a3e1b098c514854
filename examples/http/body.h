/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * body: the body of a request, as it comes
 *
 * Read here, not by http_parser: that one takes anything in the place of the CRLF behind a chunk.
 */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include <netpoll/conn.h>
#include <stdbool.h>
#include <stdint.h>

#include "request.h"

#define CHUNK_LINE_MAX 256u  /* the size of a chunk and its extensions */
#define TRAILERS_MAX   8192u /* all lines behind the last chunk */

struct body {
	struct np_conn *conn;
	uint64_t left;     /* of it, or of the chunk under way */
	uint64_t total;    /* so far */
	uint64_t max;      /* bytes it may have */
	uint64_t until_ms; /* of CLOCK_MONOTONIC: when all of it has to be here; 0: no limit */
	bool chunked, in_chunk, ended;
	bool expects; /* the peer waits to be told to go on */
};

/* body_init() - @max, @until_ms: see above. Return: 0; 413: it says that it is longer. */
int body_init(struct body *b, struct np_conn *c, const struct request *rq, uint64_t max,
	      uint64_t until_ms);
/*
 * body_wait() - until some of it is here; *ret bytes, which the caller has to consume then
 *
 * May park. Return: 0: *ret is 0 at its end; -EBADMSG: no chunk; -EFBIG: over @max; -ETIMEDOUT,
 * -NP_EREADTIMEOUT; what np_conn_wait() says.
 */
int body_wait(struct body *b, size_t *ret);
/* body_status() - of the answer, for what went wrong. Return: 0: there is nobody to be answered. */
int body_status(int error);

#endif
