/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request: what the head of a request says
 *
 * http_parser 2.9.4 reads it. It takes more than may be taken, and this refuses what it lets pass:
 * a blank before a colon, two in the request line, no Host or two, versions but 1.0 and 1.1,
 * Transfer-Encoding in 1.0, codings but chunked. Folded lines and bare LFs have been refused by
 * head_find().
 */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of the head; n is 0 where it is not there. */
struct text {
	const char *p;
	size_t n;
};

struct request {
	int status;      /* 0: it is well; else of the answer that refuses it */
	unsigned method; /* enum http_method */
	bool is_1_0, keep_alive;
	bool chunked, has_length, expects; /* its body; Expect: 100-continue */
	uint64_t length;

	struct text line;   /* the first one, without its end */
	struct text target; /* as it came */
	struct text path;   /* of the target, still encoded */

	/* the values of its headers, blanks around them cut off; of a repeated one the first */
	struct text host, content_length, transfer_encoding, expect;
	struct text range, if_range, if_match, if_none_match, if_modified_since,
		if_unmodified_since;
	struct text referer, user_agent;

	struct text *value; /* where the next value goes; NULL: nowhere */
};

/* request_parse() - the @n bytes of a head that head_find() has found; its texts point into it */
void request_parse(struct request *rq, const char *head, size_t n);
/* request_has_body() - whether bytes of a body follow the head */
static inline bool request_has_body(const struct request *rq)
{
	return rq->chunked || rq->length;
}
/* text_is() - the same, whatever the case of its letters */
bool text_is(struct text t, const char *s);

#endif
