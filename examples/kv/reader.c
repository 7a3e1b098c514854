/* SPDX-License-Identifier: BSD-2-Clause */
/* reader: as lenient as Redis is: what follows a CR, and a bulk string, is taken for the LF, and
 * for CR LF. */
#include "reader.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"

#define PARTS_KEPT 64

enum { READER_GO_ON = 3 };

static int reader_bad(struct reader *r, const char *why)
{
	snprintf(r->error, sizeof r->error, "Protocol error: %s", why);
	return READER_BAD;
}

static int reader_more(struct reader *r, size_t need)
{
	r->need = need;
	return READER_MORE;
}

static int reader_add(struct reader *r, size_t at, size_t n)
{
	if (r->n_parts == r->cap) {
		int cap = r->cap ? 2 * r->cap : 8;
		struct part *p = realloc(r->parts, (size_t)cap * sizeof *p);

		if (!p)
			return -ENOMEM;
		r->parts = p;
		r->cap = cap;
	}
	r->parts[r->n_parts++] = (struct part){ (uint32_t)at, (uint32_t)n };
	return 0;
}

/* ------------------------------------------------------------------ arrays */

/*
 * The number behind the type's byte at r->at, and its CR LF. The usual one has few digits and is
 * read as it is found.
 */
static int reader_number(struct reader *r, const char *p, size_t n, const char *too_long,
			 int64_t *ret)
{
	const char *from = p + r->at + 1, *end = p + n, *at = from;
	int64_t v = 0;

	while (at < end && *at >= '0' && *at <= '9' && at - from < 9)
		v = 10 * v + (*at++ - '0');
	if (at == end || *at != '\r' || at == from || *from == '0') {
		at = from <= end ? memchr(from, '\r', (size_t)(end - from)) : NULL;
		if (!at)
			return n - r->at > READER_LINE_MAX ? reader_bad(r, too_long) :
							     reader_more(r, n + 1);
		if (number_parse(from, (size_t)(at - from), &v) < 0)
			v = INT64_MIN;
	}
	if (end - at < 2)
		return reader_more(r, n + 1);
	r->at = (size_t)(at - p) + 2;
	*ret = v;
	return READER_GO_ON;
}

static int reader_begin(struct reader *r, const char *p, size_t n)
{
	int64_t count;
	int got = reader_number(r, p, n, "too big mbulk count string", &count);

	if (got != READER_GO_ON)
		return got;
	if (count == INT64_MIN || count > INT_MAX)
		return reader_bad(r, "invalid multibulk length");
	if (count <= 0)
		return READER_COMMAND;
	r->left = (int)count;
	return READER_GO_ON;
}

/* As Redis, which looks at the type's byte when the line has ended. */
static int reader_bulk_size(struct reader *r, const char *p, size_t n)
{
	size_t was = r->at;
	int64_t size;
	int got;

	if (was >= n)
		return reader_more(r, n + 1);
	got = reader_number(r, p, n, "too big bulk count string", &size);
	if (got != READER_GO_ON)
		return got;
	if (p[was] != '$') {
		snprintf(r->error, sizeof r->error, "Protocol error: expected '$', got '%c'",
			 p[was] == '\r' || p[was] == '\n' ? ' ' : p[was]);
		return READER_BAD;
	}
	if (size < 0 || size > (int64_t)READER_BULK_MAX)
		return reader_bad(r, "invalid bulk length");
	r->bulk = size;
	return READER_GO_ON;
}

static int reader_bulk(struct reader *r, size_t n)
{
	size_t size = (size_t)r->bulk;

	if (n < r->at || n - r->at < size + 2)
		return reader_more(r, r->at + size + 2);
	if (r->at + size > UINT32_MAX)
		return reader_bad(r, "too big a request");
	if (reader_add(r, r->at, size) < 0)
		return -ENOMEM;
	r->at += size + 2;
	r->bulk = -1;
	return --r->left ? READER_GO_ON : READER_COMMAND;
}

/* ------------------------------------------------------------------ lines */

static int reader_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int reader_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash within "": one byte. Return: where it ends. */
static const char *reader_escape(const char *from, const char *end, char *to)
{
	static const char names[] = "nrtba", bytes[] = "\n\r\t\b\a";
	const char *name;

	if (end - from >= 3 && *from == 'x' && reader_hex(from[1]) >= 0 &&
	    reader_hex(from[2]) >= 0) {
		*to = (char)(reader_hex(from[1]) << 4 | reader_hex(from[2]));
		return from + 3;
	}
	name = *from ? strchr(names, *from) : NULL;
	*to = name ? bytes[name - names] : *from;
	return from + 1;
}

/* A quoted piece behind its quote at @from. Return: behind its end; NULL: it does not end, or what
 * follows is no space. */
static const char *reader_quoted(const char *from, const char *end, char quote, char **to)
{
	for (; from < end && *from != quote; (*to)++) {
		if (*from == '\\' && quote == '"' && end - from > 1)
			from = reader_escape(from + 1, end, *to);
		else if (*from == '\\' && end - from > 1 && from[1] == '\'')
			**to = '\'', from += 2;
		else
			**to = *from++;
	}
	if (from == end || (from + 1 < end && !reader_is_space(from[1])))
		return NULL;
	return from + 1;
}

/* One word of the line, into *to, which is no further than @from. */
static const char *reader_word(const char *from, const char *end, char **to)
{
	while (from && from < end && !reader_is_space(*from)) {
		if (*from == '"' || *from == '\'')
			return reader_quoted(from + 1, end, *from, to);
		*(*to)++ = *from++;
	}
	return from;
}

static int reader_words(struct reader *r, size_t n)
{
	const char *from = r->line, *end = from + n;
	char *to = r->line, *word;

	for (;;) {
		while (from < end && reader_is_space(*from))
			from++;
		if (from == end)
			return READER_COMMAND;
		word = to;
		from = reader_word(from, end, &to);
		if (!from)
			return reader_bad(r, "unbalanced quotes in request");
		if (reader_add(r, (size_t)(word - r->line), (size_t)(to - word)) < 0)
			return -ENOMEM;
	}
}

static int reader_line(struct reader *r, const char *p, size_t n)
{
	const char *end = memchr(p, '\n', n), *nul;
	size_t len;
	char *line;

	if (!end)
		return n > READER_LINE_MAX ? reader_bad(r, "too big inline request") :
					     reader_more(r, n + 1);
	r->at = (size_t)(end - p) + 1;
	len = end > p && end[-1] == '\r' ? r->at - 2 : r->at - 1;
	nul = memchr(p, '\0', len);
	len = nul ? (size_t)(nul - p) : len;
	line = realloc(r->line, len + 1);
	if (!line)
		return -ENOMEM;
	memcpy(line, p, len);
	r->line = line;
	r->is_line = 1;
	return reader_words(r, len);
}

/* ------------------------------------------------------------------ either */

int reader_parse(struct reader *r, const char *p, size_t n)
{
	int got = READER_GO_ON;

	if (!r->left) {
		if (!n)
			return reader_more(r, 1);
		got = *p == '*' ? reader_begin(r, p, n) : reader_line(r, p, n);
	}
	while (got == READER_GO_ON)
		got = r->bulk < 0 ? reader_bulk_size(r, p, n) : reader_bulk(r, n);
	return got;
}

void reader_args(const struct reader *r, const char *p, struct arg *argv)
{
	const char *base = r->is_line ? r->line : p;

	for (int i = 0; i < r->n_parts; i++)
		argv[i] = (struct arg){ base + r->parts[i].at, r->parts[i].n };
}

void reader_next(struct reader *r)
{
	if (r->cap > PARTS_KEPT) {
		free(r->parts);
		r->parts = NULL;
		r->cap = 0;
	}
	if (r->is_line) {
		free(r->line);
		r->line = NULL;
		r->is_line = 0;
	}
	r->n_parts = r->left = 0;
	r->at = 0;
	r->bulk = -1;
}

void reader_init(struct reader *r)
{
	memset(r, 0, sizeof *r);
	r->bulk = -1;
}

void reader_fini(struct reader *r)
{
	free(r->parts);
	free(r->line);
}
