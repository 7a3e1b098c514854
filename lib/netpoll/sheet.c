/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sheet: cells and what stands between them
 *
 * Words come from the program and from peers: what is no UTF-8, and what steers a terminal, is
 * written as '?'.
 */
#include "netpoll/sheet.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define SHEET_SCHEMA 1
#define CELL_MAX     512

void sheet_open(struct sheet *s, FILE *to, enum np_dump_format format)
{
	*s = (struct sheet){ .to = to, .format = format };
	if (format == NP_DUMP_JSON)
		fprintf(to, "{\"schema\":%d", SHEET_SCHEMA);
}

static void sheet_end_table(struct sheet *s)
{
	if (s->table && s->format == NP_DUMP_JSON)
		fputc(']', s->to);
	if (s->table && !s->row && s->format == NP_DUMP_TEXT)
		fputs("  none\n", s->to);
	s->table = false;
}

void sheet_close(struct sheet *s)
{
	sheet_end_table(s);
	if (s->format == NP_DUMP_JSON)
		fputs("}\n", s->to);
}

static void sheet_heads(struct sheet *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->format == NP_DUMP_TEXT)
			fprintf(s->to, "  %*s", s->columns[i].width, s->columns[i].name);
		else
			fprintf(s->to, "\t%s", s->columns[i].name);
	fputc('\n', s->to);
}

void sheet_table(struct sheet *s, const char *name, const struct column *columns, unsigned n)
{
	sheet_end_table(s);
	s->columns = columns;
	s->n = n;
	s->at = 0;
	s->row = false;
	s->table = true;
	if (s->format == NP_DUMP_JSON) {
		fprintf(s->to, ",\"%s\":[", name);
		return;
	}
	if (s->format == NP_DUMP_TEXT)
		fprintf(s->to, "%s%s:\n", s->later ? "\n" : "", name);
	else
		fputs(name, s->to);
	s->later = true;
	sheet_heads(s);
}

/* ------------------------------------------------------------------ cells */

static void sheet_begin_cell(struct sheet *s)
{
	if (s->format == NP_DUMP_JSON) {
		if (s->at == 0)
			fputs(s->row ? ",\n{" : "\n{", s->to);
		else
			fputc(',', s->to);
		fprintf(s->to, "\"%s\":", s->columns[s->at].name);
	} else if (s->format == NP_DUMP_TSV) {
		fputc('\t', s->to);
	} else {
		fputs("  ", s->to);
	}
}

static void sheet_end_cell(struct sheet *s)
{
	if (++s->at < s->n)
		return;
	s->at = 0;
	s->row = true;
	fputs(s->format == NP_DUMP_JSON ? "}" : "\n", s->to);
}

/* @word as it is in JSON; padded in text. */
static void sheet_word(struct sheet *s, const char *word)
{
	sheet_begin_cell(s);
	if (s->format == NP_DUMP_TEXT)
		fprintf(s->to, "%*s", s->columns[s->at].width, word);
	else
		fputs(word, s->to);
	sheet_end_cell(s);
}

void sheet_none(struct sheet *s)
{
	sheet_word(s, s->format == NP_DUMP_JSON ? "null" : "-");
}

void sheet_uint(struct sheet *s, uint64_t value)
{
	char word[24];

	snprintf(word, sizeof word, "%" PRIu64, value);
	sheet_word(s, word);
}

void sheet_int(struct sheet *s, int64_t value)
{
	char word[24];

	snprintf(word, sizeof word, "%" PRId64, value);
	sheet_word(s, word);
}

void sheet_counts(struct sheet *s, const void *of)
{
	do
		sheet_uint(s, *(const uint64_t *)((const char *)of + s->columns[s->at].offset));
	while (s->columns[s->at].offset);
}

unsigned sheet_character(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0x20, 0xa0, 0x800, 0x10000 };
	unsigned n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t code = n == 1 ? p[0] : p[0] & (0x7fu >> n);

	if (n == 0 || p[0] > 0xf4 || p[0] == 0x7f)
		return 0;
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	/* what turns a line around, and separators of lines */
	if ((code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
	    (code >= 0x2066 && code <= 0x2069))
		return 0;
	return n;
}

/* @value fit to be seen, in quotes for JSON. Cut where @dst is full. */
static void sheet_clean(const struct sheet *s, const char *value, char *dst, size_t cap)
{
	bool json = s->format == NP_DUMP_JSON;
	const unsigned char *p = (const unsigned char *)value;
	size_t at = 0;

	if (json)
		dst[at++] = '"';
	while (*p && at + 8 < cap) {
		unsigned n = sheet_character(p);

		if (json && (*p == '"' || *p == '\\'))
			dst[at++] = '\\';
		if (!n)
			dst[at++] = '?';
		memcpy(dst + at, p, n);
		at += n;
		p += n ? n : 1;
	}
	if (json)
		dst[at++] = '"';
	dst[at] = '\0';
}

void sheet_text(struct sheet *s, const char *value)
{
	char word[CELL_MAX];

	if (!value) {
		sheet_none(s);
		return;
	}
	sheet_clean(s, value, word, sizeof word);
	sheet_word(s, *word ? word : "-");
}

void sheet_format(struct sheet *s, const char *fmt, ...)
{
	char value[CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof value, fmt, ap);
	va_end(ap);
	sheet_text(s, value);
}
