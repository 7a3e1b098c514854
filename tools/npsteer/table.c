/* SPDX-License-Identifier: BSD-2-Clause */
/* table: cells are kept as text until the widths are known. */
#include "table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "npsteer.h"
#include "printable.h"

void table_init(struct table *t, size_t columns)
{
	*t = (struct table){ .columns = columns };
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
}

void table_text(struct table *t, const char *fmt, ...)
{
	char *cell = NULL;
	va_list ap;

	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->cells = realloc(t->cells, t->cap * sizeof *t->cells);
		if (!t->cells)
			fail_without_memory();
	}
	va_start(ap, fmt);
	if (vasprintf(&cell, fmt, ap) < 0)
		fail_without_memory();
	va_end(ap);
	printable(cell); /* names come from other processes */
	t->cells[t->n++] = cell;
}

void table_uint(struct table *t, uint64_t value)
{
	table_text(t, "%" PRIu64, value);
}

static const char *table_cell(const struct table *t, size_t row, size_t column)
{
	return t->cells[row * t->columns + column];
}

static bool table_is_number(const char *s)
{
	return s[strspn(s, "0123456789.-")] == '\0';
}

static int table_width(const struct table *t, size_t column, bool *ret_right)
{
	size_t rows = t->n / t->columns, width = 0, n;

	*ret_right = rows > 1;
	for (size_t r = 0; r < rows; r++) {
		n = printable_width(table_cell(t, r, column));
		width = n > width ? n : width;
		if (r && !table_is_number(table_cell(t, r, column)))
			*ret_right = false;
	}
	return (int)width;
}

void table_print(const struct table *t, FILE *to, const char *indent)
{
	size_t rows = t->n / t->columns, last = t->columns - 1;
	int width[TABLE_COLUMNS];
	bool right[TABLE_COLUMNS];

	for (size_t c = 0; c < t->columns; c++)
		width[c] = table_width(t, c, &right[c]);
	for (size_t r = 0; r < rows; r++) {
		fputs(indent, to);
		for (size_t c = 0; c < t->columns; c++) {
			/* printf(3) would count bytes */
			int pad = width[c] - (int)printable_width(table_cell(t, r, c));

			fprintf(to, "%*s%s%*s%s", right[c] ? pad : 0, "", table_cell(t, r, c),
				right[c] || c == last ? 0 : pad, "", c == last ? "\n" : "  ");
		}
	}
}
