/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sheet: tables written row by row, as text, as JSON or as words between tabs
 *
 * A table is a name and its columns; then come the cells, from left to right. Nothing is kept: a
 * column of text is as wide as it was said, or as its widest cell makes that row.
 */
#ifndef NETPOLL_SHEET_H
#define NETPOLL_SHEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "netpoll/observe.h"

struct column {
	const char *name;
	int width;     /* of text; below 0: flush left */
	size_t offset; /* of the uint64_t that sheet_counts() writes there; 0: none */
};

/* The column of a member, by its name. */
#define COLUMN(of, member, chars)                                               \
	{                                                                       \
		.name = #member, .width = chars, .offset = offsetof(of, member) \
	}

struct sheet {
	FILE *to;
	enum np_dump_format format;
	const struct column *columns;
	unsigned n, at;    /* columns; the next cell */
	bool later, table; /* not the first table; rows may come */
	bool row;          /* not the first row */
};

/* The outermost object: begins with the words of @fmt as a title. */
void sheet_open(struct sheet *s, FILE *to, enum np_dump_format format);
void sheet_close(struct sheet *s);
void sheet_table(struct sheet *s, const char *name, const struct column *columns, unsigned n);
#define SHEET_TABLE(s, name, columns) \
	sheet_table(s, name, columns, sizeof(columns) / sizeof((columns)[0]))
void sheet_text(struct sheet *s, const char *value); /* NULL: nothing is known */
void sheet_format(struct sheet *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sheet_uint(struct sheet *s, uint64_t value);
void sheet_int(struct sheet *s, int64_t value);
void sheet_none(struct sheet *s);
/* The next cells, from the members of @of: as far as columns have an offset. */
void sheet_counts(struct sheet *s, const void *of);
/* The bytes of the character of UTF-8 at @p, 0 where it is none, or is not fit to be seen. */
unsigned sheet_character(const unsigned char *p);

#endif
