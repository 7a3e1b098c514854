/* SPDX-License-Identifier: BSD-2-Clause */
/* number: without locale and without NUL. */
#include "number.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int number_parse(const char *p, size_t n, int64_t *ret)
{
	const char *end = p + n;
	uint64_t v = 0, max = INT64_MAX;
	unsigned digit;
	int minus = 0;

	if (n > 1 && *p == '-') {
		minus = 1;
		max++;
		p++;
	}
	if (p == end || end - p > 19 || (*p == '0' && n > 1))
		return -EINVAL;
	for (; p < end; p++) {
		digit = (unsigned char)*p - '0';
		if (digit > 9)
			return -EINVAL;
		v = 10 * v + digit; /* 19 digits fit into 64 bits */
	}
	if (v > max)
		return -EINVAL;
	*ret = minus ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

size_t number_write(char *dst, int64_t v)
{
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	char text[NUMBER_MAX], *at = text + sizeof text;

	do
		*--at = (char)('0' + u % 10);
	while (u /= 10);
	if (v < 0)
		*--at = '-';
	memcpy(dst, at, (size_t)(text + sizeof text - at));
	return (size_t)(text + sizeof text - at);
}

int number_parse_float(const char *p, size_t n, long double *ret)
{
	char text[256], *end;
	long double v;

	if (!n || n >= sizeof text || isspace((unsigned char)*p))
		return -EINVAL;
	memcpy(text, p, n);
	text[n] = '\0';
	errno = 0;
	v = strtold(text, &end);
	if (end != text + n || isnan(v) ||
	    (errno == ERANGE && (isinf(v) || fpclassify(v) == FP_ZERO)))
		return -EINVAL;
	*ret = v;
	return 0;
}
