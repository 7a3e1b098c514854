/* SPDX-License-Identifier: BSD-2-Clause */
/* range: the parts of a file that a Range header asks for (RFC 9110, 14) */
#ifndef HTTP_RANGE_H
#define HTTP_RANGE_H

#include <stdint.h>

#include "request.h"

#define RANGES_MAX 16 /* a header with more is not heeded: the answer is the whole file */

struct range {
	uint64_t from, n;
};

/*
 * range_parse() - of a file of @size bytes, into @dst, RANGES_MAX long
 *
 * In the order of the header; those that overlap or touch become one, so that no byte is sent
 * twice.
 * Return: how many; 0: the header is not heeded (another unit, bad syntax, too many); -416: none of
 *         them is in the file.
 */
int range_parse(struct text header, uint64_t size, struct range *dst);

#endif
