/* SPDX-License-Identifier: BSD-2-Clause */
/* head: each byte is looked at once, by memchr(3). */
#include "head.h"

#include <string.h>

static int is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Of a head without its end: whether it is too long, or cannot be one. */
static long head_too_long(const struct head *h, const char *p, size_t n)
{
	if (h->lines == 0 && n > h->line && !is_letter(p[h->line]) && p[h->line] != '\r')
		return -400;
	if (h->lines == 0 && n - h->line > HEAD_LINE_MAX)
		return -414;
	return n > HEAD_MAX ? -431 : 0;
}

/* The line from h->line to its LF at @lf. Return: 1: it is the empty one behind the head. */
static int head_line(struct head *h, const char *p, size_t lf)
{
	size_t n = lf + 1 - h->line;

	if (n < 2 || p[lf - 1] != '\r')
		return -400;
	if (n == 2) {
		if (h->lines)
			return 1;
		h->begin = lf + 1;
		return 0;
	}
	if (h->lines == 0)
		return !is_letter(p[h->line]) ? -400 : n > HEAD_LINE_MAX ? -414 : (h->lines++, 0);
	if (p[h->line] == ' ' || p[h->line] == '\t')
		return -400;
	return h->lines++ > HEAD_HEADERS_MAX ? -431 : 0;
}

long head_find(struct head *h, const char *p, size_t n)
{
	const char *lf;
	int r;

	while (h->seen < n && (lf = memchr(p + h->seen, '\n', n - h->seen))) {
		size_t at = (size_t)(lf - p);

		if (at >= HEAD_MAX)
			break;
		r = head_line(h, p, at);
		h->line = h->seen = at + 1;
		if (r)
			return r < 0 ? r : (long)(at + 1);
	}
	h->seen = n;
	return head_too_long(h, p, n);
}
