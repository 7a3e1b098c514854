/* SPDX-License-Identifier: BSD-2-Clause */
/* range: a number that is too large is as good as the largest. */
#include "range.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Return: whether there is one; *p stands behind it. */
static bool take_number(const char **p, const char *end, uint64_t *ret)
{
	const char *start = *p;
	uint64_t n = 0;

	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
		n = n > UINT64_MAX / 10 - 1 ? UINT64_MAX / 10 : 10 * n + (uint64_t)(**p - '0');
	*ret = n;
	return *p > start;
}

static void skip_blanks(const char **p, const char *end)
{
	while (*p < end && (**p == ' ' || **p == '\t'))
		(*p)++;
}

/* "1-2", "1-", "-2". Return: 1: *ret is set; 0: nothing of it is in the file; -1: bad syntax. */
static int take_range(const char **p, const char *end, uint64_t size, struct range *ret)
{
	uint64_t from, to;
	bool has_from = take_number(p, end, &from), has_to;

	if (*p == end || *(*p)++ != '-')
		return -1;
	has_to = take_number(p, end, &to);
	if ((!has_from && !has_to) || (has_from && has_to && to < from))
		return -1;
	if (!has_from) {
		from = to < size ? size - to : 0;
		has_to = false;
		if (!to)
			return 0;
	}
	if (from >= size)
		return 0;
	*ret = (struct range){ from, (has_to && to < size - 1 ? to + 1 : size) - from };
	return 1;
}

/* @r into the @n that are there; those that it touches go into it. Return: how many there are. */
static int add_range(struct range *dst, int n, struct range r)
{
	for (int i = 0; i < n; i++) {
		uint64_t end = dst[i].from + dst[i].n, r_end = r.from + r.n;

		if (r.from > end || r_end < dst[i].from)
			continue;
		r.from = r.from < dst[i].from ? r.from : dst[i].from;
		r.n = (r_end > end ? r_end : end) - r.from;
		memmove(&dst[i], &dst[i + 1], (size_t)(--n - i) * sizeof *dst);
		return add_range(dst, n, r);
	}
	dst[n] = r;
	return n + 1;
}

int range_parse(struct text header, uint64_t size, struct range *dst)
{
	const char *p = header.p, *end = p + header.n;
	int n = 0, asked = 0, r;
	struct range one;

	if (header.n < 6 || strncasecmp(p, "bytes=", 6))
		return 0;
	for (p += 6;; p++) {
		skip_blanks(&p, end);
		if (p < end && *p != ',') {
			r = take_range(&p, end, size, &one);
			if (r < 0 || asked++ == RANGES_MAX)
				return 0;
			n = r ? add_range(dst, n, one) : n;
			skip_blanks(&p, end);
		}
		if (p == end)
			return n ? n : asked ? -416 : 0;
		if (*p != ',')
			return 0;
	}
}
