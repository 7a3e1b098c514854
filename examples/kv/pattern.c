/* SPDX-License-Identifier: BSD-2-Clause */
/* pattern: one star is remembered at a time: what the last one takes, the ones before need not. */
#include "pattern.h"

#include <stdint.h>

/* The class behind "[". Return: behind its "]", or the end where there is none. */
static const char *pattern_class(const char *p, const char *end, unsigned char c, bool *ret)
{
	bool not = p < end && *p == '^', found = false;

	for (p += not ; p < end && *p != ']'; p++) {
		unsigned char from, to, least;

		if (*p == '\\' && end - p >= 2)
			p++;
		else if (end - p >= 3 && p[1] == '-') {
			from = (unsigned char)p[0];
			to = (unsigned char)p[2];
			least = from < to ? from : to;
			found |= c >= least && c <= (from < to ? to : from);
			p += 2;
			continue;
		}
		found |= (unsigned char)*p == c;
	}
	*ret = found != not ;
	return p < end ? p + 1 : end;
}

/* One element of the pattern, which is no star. Return: behind it; NULL: @c is not meant. */
static const char *pattern_one(const char *p, const char *end, unsigned char c)
{
	bool is = true;

	if (*p == '[')
		p = pattern_class(p + 1, end, c, &is);
	else if (*p == '?')
		p++;
	else {
		if (*p == '\\' && end - p >= 2)
			p++;
		is = (unsigned char)*p++ == c;
	}
	return is ? p : NULL;
}

bool pattern_matches(const char *pattern, size_t n_pattern, const char *s, size_t n)
{
	const char *p = pattern, *p_end = pattern + n_pattern, *s_end = s + n, *next;
	const char *star = NULL, *from = NULL;

	while (s < s_end) {
		if (p < p_end && *p == '*') {
			star = ++p;
			from = s;
			continue;
		}
		next = p < p_end ? pattern_one(p, p_end, (unsigned char)*s) : NULL;
		if (next) {
			p = next;
			s++;
		} else if (star) {
			p = star;
			s = ++from;
		} else {
			return false;
		}
	}
	while (p < p_end && *p == '*')
		p++;
	return p == p_end;
}
