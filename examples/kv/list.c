/* SPDX-License-Identifier: BSD-2-Clause */
/* list: pieces in a chain; one that is made for the left is filled from its end on. */
#include "list.h"

#include <errno.h>
#include <string.h>

#include "memory.h"
#include "number.h"

#define PIECE_LEAST  64u
#define PIECE_MOST   4096u
#define ELEMENT_MEAN 8u /* an empty one has 6 bytes: a piece of such is full early */

/* Its elements are those at .first to .last - 1, in the order of the list. */
struct piece {
	struct piece *beside[2]; /* by side */
	uint32_t begin, end;     /* where bytes lie */
	uint32_t cap;            /* of bytes */
	uint16_t max;            /* of elements */
	uint16_t first, last;
	uint16_t at[]; /* where each begins; behind them the bytes */
};

static char *piece_bytes(struct piece *p)
{
	return (char *)(p->at + p->max);
}

static struct piece *piece_new(enum side side, size_t cap)
{
	size_t max = cap > PIECE_MOST ? 1 : cap / ELEMENT_MEAN + 1;
	struct piece *p = memory_alloc(sizeof *p + max * sizeof p->at[0] + cap);

	if (!p)
		return NULL;
	*p = (struct piece){ .cap = (uint32_t)cap, .max = (uint16_t)max };
	if (side == LIST_LEFT) {
		p->begin = p->end = p->cap;
		p->first = p->last = p->max;
	}
	return p;
}

static bool piece_has_room(const struct piece *p, enum side side, size_t n)
{
	if (side == LIST_LEFT)
		return p->first > 0 && p->begin >= n;
	return p->last < p->max && p->cap - p->end >= n;
}

/* Room for an element of @n bytes. */
static char *piece_push(struct piece *p, enum side side, size_t n)
{
	if (side == LIST_LEFT) {
		p->begin -= (uint32_t)n;
		p->at[--p->first] = (uint16_t)p->begin;
		return piece_bytes(p) + p->begin;
	}
	p->at[p->last++] = (uint16_t)p->end;
	p->end += (uint32_t)n;
	return piece_bytes(p) + p->end - n;
}

/* Where the @i-th element of the piece begins; one behind the last: where that ends. */
static uint32_t piece_at(const struct piece *p, size_t i)
{
	return p->first + i == p->last ? p->end : p->at[p->first + i];
}

static size_t piece_count(const struct piece *p)
{
	return (size_t)p->last - p->first;
}

/* ------------------------------------------------------------------ the list */

struct list *list_new(void)
{
	struct list *l = memory_alloc(sizeof *l);

	if (l)
		*l = (struct list){ 0 };
	return l;
}

static void list_drop(struct list *l, enum side side)
{
	struct piece *p = l->end[side];

	l->end[side] = p->beside[!side];
	if (l->end[side])
		l->end[side]->beside[side] = NULL;
	else
		l->end[!side] = NULL;
	memory_free(p);
}

bool list_free_some(struct list *l, size_t *budget)
{
	for (; l->end[LIST_LEFT]; --*budget) {
		if (!*budget)
			return false;
		list_drop(l, LIST_LEFT);
	}
	memory_free(l);
	return true;
}

void list_free(struct list *l)
{
	size_t all = SIZE_MAX;

	list_free_some(l, &all);
}

static struct piece *list_grow(struct list *l, enum side side, size_t n)
{
	struct piece *was = l->end[side], *p;
	size_t cap = was ? 2 * (size_t)was->cap : PIECE_LEAST;

	if (cap > PIECE_MOST)
		cap = PIECE_MOST;
	p = piece_new(side, n > cap ? n : cap);
	if (!p)
		return NULL;
	p->beside[!side] = was;
	if (was)
		was->beside[side] = p;
	else
		l->end[!side] = p;
	return l->end[side] = p;
}

int list_push(struct list *l, enum side side, const void *bytes, size_t n)
{
	char head[NUMBER_MAX + 3] = "$", *to;
	size_t n_head = 1 + number_write(head + 1, (int64_t)n), size;
	struct piece *p = l->end[side];

	head[n_head++] = '\r';
	head[n_head++] = '\n';
	size = n_head + n + 2;
	if (!p || !piece_has_room(p, side, size))
		p = list_grow(l, side, size);
	if (!p)
		return -ENOMEM;
	to = piece_push(p, side, size);
	memcpy(to, head, n_head);
	memcpy(to + n_head, bytes, n);
	memcpy(to + n_head + n, "\r\n", 2);
	l->n++;
	return 0;
}

void list_pop(struct list *l, enum side side, struct writer *w)
{
	struct piece *p = l->end[side];
	size_t i = side == LIST_LEFT ? 0 : piece_count(p) - 1;
	uint32_t from = piece_at(p, i), to = piece_at(p, i + 1);

	writer_raw(w, piece_bytes(p) + from, to - from);
	if (side == LIST_LEFT) {
		p->first++;
		p->begin = to;
	} else {
		p->last--;
		p->end = from;
	}
	l->n--;
	if (p->first == p->last)
		list_drop(l, side);
}

/* The piece with the element @i, from the nearer end; *ret: which of its own that is. */
static struct piece *list_piece(const struct list *l, size_t i, size_t *ret)
{
	enum side from = i > l->n / 2 ? LIST_RIGHT : LIST_LEFT;
	struct piece *p = l->end[from];

	if (from == LIST_LEFT) {
		for (; i >= piece_count(p); p = p->beside[LIST_RIGHT])
			i -= piece_count(p);
		*ret = i;
		return p;
	}
	for (i = l->n - 1 - i; i >= piece_count(p); p = p->beside[LIST_LEFT])
		i -= piece_count(p);
	*ret = piece_count(p) - 1 - i;
	return p;
}

void list_range(const struct list *l, size_t from, size_t to, struct writer *w)
{
	size_t left = to - from + 1, i, n;
	struct piece *p = list_piece(l, from, &i);

	for (; left; left -= n, i = 0, p = p->beside[LIST_RIGHT]) {
		n = piece_count(p) - i < left ? piece_count(p) - i : left;
		writer_raw(w, piece_bytes(p) + piece_at(p, i), piece_at(p, i + n) - piece_at(p, i));
	}
}
