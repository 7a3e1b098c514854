/* SPDX-License-Identifier: BSD-2-Clause */
/* head: where the head of a request ends, found line by line, in however many pieces it comes */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include <stddef.h>

#define HEAD_LINE_MAX    8192u  /* of the request line, its end included; more is 414 */
#define HEAD_MAX         16384u /* of all lines; more is 431 */
#define HEAD_HEADERS_MAX 100u   /* likewise */

/* How far it was looked at; all zero at the beginning of a head. */
struct head {
	size_t begin; /* of the request line: empty lines may come before it (RFC 9112, 2.2) */
	size_t line;  /* where the line under way begins */
	size_t seen;  /* bytes that hold no further end of a line */
	size_t lines; /* that have ended, the empty ones before the request line apart */
};

/*
 * head_find() - look on in the @n bytes at @p, of which the first @h->seen were looked at before
 *
 * Return: the length of the head, the empty line included; 0: its end has not come; or it is one
 *         that the parser would take and must not, or too long: the status of the answer, negative:
 *         -400 (a line that ends in LF alone, a folded one, no method at its beginning), -414,
 *         -431.
 */
long head_find(struct head *h, const char *p, size_t n);

#endif
