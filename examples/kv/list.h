/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * list: elements in pieces of up to 4 KiB, kept as the bulk strings that a reply has
 *
 * So a range is copied to the client as it lies, a piece at a time, and nothing is written anew.
 */
#ifndef KV_LIST_H
#define KV_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "writer.h"

struct piece;

enum side { LIST_LEFT, LIST_RIGHT };

struct list {
	struct piece *end[2]; /* by side */
	size_t n;
};

struct list *list_new(void);
void list_free(struct list *l);
/* Frees up to @budget pieces. Return: whether it is all freed. */
bool list_free_some(struct list *l, size_t *budget);
/* Return: 0; -ENOMEM. */
int list_push(struct list *l, enum side side, const void *p, size_t n);
/* The element at the end, written to @w and removed; there has to be one. */
void list_pop(struct list *l, enum side side, struct writer *w);
/* Elements @from to @to, counted from 0, which are there. */
void list_range(const struct list *l, size_t from, size_t to, struct writer *w);

#endif
