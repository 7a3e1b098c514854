/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table: rows of cells, printed with columns as wide as their widest cell
 *
 * The first row is the heading. A column whose cells below it are all numbers is set flush right.
 */
#ifndef NPSTEER_TABLE_H
#define NPSTEER_TABLE_H

#include <stdint.h>
#include <stdio.h>

#define TABLE_COLUMNS 24

struct table {
	char **cells;
	size_t n, cap;
	size_t columns;
};

void table_init(struct table *t, size_t columns);
void table_fini(struct table *t);
/* The next cell, from left to right and top to bottom. */
void table_text(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_uint(struct table *t, uint64_t value);
void table_print(const struct table *t, FILE *to, const char *indent);

#endif
