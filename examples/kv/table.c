/* SPDX-License-Identifier: BSD-2-Clause */
/* table: chains in an array whose size is a power of two. */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chance.h"
#include "memory.h"

#define LEAST     4u
#define EMPTY_MAX 16u /* buckets without a node that one call passes over */

void table_init(struct table *t, size_t key_at)
{
	*t = (struct table){ .key_at = key_at };
}

static void table_drop(struct buckets *b)
{
	memory_free(b->at);
	*b = (struct buckets){ 0 };
}

void table_fini(struct table *t)
{
	table_drop(&t->now);
	table_drop(&t->old);
	t->moved = 0;
}

static void table_push(struct buckets *b, struct node *n)
{
	struct node **at = &b->at[n->hash & b->mask];

	n->next = *at;
	*at = n;
}

/* ------------------------------------------------------------------ resizing */

static void table_step(struct table *t)
{
	struct node *n, *next;

	for (unsigned empty = 0; t->moved <= t->old.mask && !t->old.at[t->moved]; t->moved++)
		if (++empty > EMPTY_MAX)
			return;
	if (t->moved <= t->old.mask) {
		for (n = t->old.at[t->moved]; n; n = next) {
			next = n->next;
			table_push(&t->now, n);
		}
		t->old.at[t->moved++] = NULL;
	}
	if (t->moved > t->old.mask) {
		table_drop(&t->old);
		t->moved = 0;
	}
}

/* Without memory it stays as it is, unless it has nothing yet. */
static int table_resize(struct table *t, size_t size)
{
	struct node **at = memory_count(calloc(size, sizeof *at));

	if (!at)
		return t->now.at ? 0 : -ENOMEM;
	t->old = t->now;
	t->now = (struct buckets){ at, size - 1 };
	t->moved = 0;
	return 0;
}

static int table_fit(struct table *t)
{
	if (t->old.at)
		return 0;
	if (!t->now.at)
		return table_resize(t, LEAST);
	if (t->count > t->now.mask)
		return table_resize(t, 2 * (t->now.mask + 1));
	if (t->count < t->now.mask / 8 && t->now.mask + 1 > LEAST)
		return table_resize(t,
				    (t->now.mask + 1) / 4 > LEAST ? (t->now.mask + 1) / 4 : LEAST);
	return 0;
}

/* ------------------------------------------------------------------ one key */

static inline struct node **table_chain(struct table *t, uint32_t hash)
{
	if (t->old.at && (hash & t->old.mask) >= t->moved)
		return &t->old.at[hash & t->old.mask];
	return &t->now.at[hash & t->now.mask];
}

/* Where the pointer to it stands. */
static inline struct node **table_place(struct table *t, const void *key, size_t n, uint32_t hash)
{
	struct node **at;

	if (!t->now.at)
		return NULL;
	if (t->old.at)
		table_step(t);
	for (at = table_chain(t, hash); *at; at = &(*at)->next)
		if ((*at)->hash == hash && (*at)->n == n && !memcmp(table_key(t, *at), key, n))
			return at;
	return NULL;
}

struct node *table_find(struct table *t, const void *key, size_t n, uint64_t hash)
{
	struct node **at = table_place(t, key, n, (uint32_t)hash);

	return at ? *at : NULL;
}

int table_add(struct table *t, struct node *n, uint64_t hash)
{
	struct node **at;
	int r = table_fit(t);

	if (r < 0)
		return r;
	n->hash = (uint32_t)hash;
	at = table_chain(t, n->hash);
	n->next = *at;
	*at = n;
	t->count++;
	return 0;
}

struct node *table_remove(struct table *t, const void *key, size_t n, uint64_t hash)
{
	struct node **at = table_place(t, key, n, (uint32_t)hash), *found;

	if (!at)
		return NULL;
	found = *at;
	*at = found->next;
	t->count--;
	table_fit(t);
	return found;
}

void table_replace(struct table *t, struct node *was, struct node *with)
{
	struct node **at = table_chain(t, was->hash);

	while (*at != was)
		at = &(*at)->next;
	with->hash = was->hash;
	with->next = was->next;
	*at = with;
}

/* ------------------------------------------------------------------ any key */

/* A bucket that holds something, of both arrays alike. */
static struct node *table_some_chain(struct table *t)
{
	size_t n = t->now.mask + 1 + (t->old.at ? t->old.mask + 1 : 0), i;
	struct node *chain;

	do {
		i = chance(n);
		chain = i <= t->now.mask ? t->now.at[i] : t->old.at[i - t->now.mask - 1];
	} while (!chain);
	return chain;
}

struct node *table_random(struct table *t)
{
	struct node *chain, *at;
	size_t n = 0;

	if (!t->count)
		return NULL;
	if (t->old.at)
		table_step(t);
	chain = table_some_chain(t);
	for (at = chain; at; at = at->next)
		n++;
	for (n = chance(n); n; n--)
		chain = chain->next;
	return chain;
}

struct node *table_pop(struct table *t)
{
	struct buckets *b = t->old.at ? &t->old : &t->now;
	struct node *n;

	while (t->count) {
		for (; t->moved <= b->mask; t->moved++)
			if ((n = b->at[t->moved])) {
				b->at[t->moved] = n->next;
				t->count--;
				return n;
			}
		if (b == &t->old)
			table_drop(&t->old);
		b = &t->now;
		t->moved = 0;
	}
	return NULL;
}

/* ------------------------------------------------------------------ all keys */

static void table_give(struct node *n, void (*fn)(struct node *n, void *arg), void *arg)
{
	for (struct node *next; n; n = next) {
		next = n->next;
		fn(n, arg);
	}
}

static uint64_t table_reversed(uint64_t v)
{
	v = __builtin_bswap64(v);
	v = (v >> 4 & 0x0f0f0f0f0f0f0f0fu) | (v & 0x0f0f0f0f0f0f0f0fu) << 4;
	v = (v >> 2 & 0x3333333333333333u) | (v & 0x3333333333333333u) << 2;
	return (v >> 1 & 0x5555555555555555u) | (v & 0x5555555555555555u) << 1;
}

/* The bits above the mask are counted up from the highest one on: buckets that become one, and one
 * that becomes several, are neighbours then. */
static uint64_t table_next_cursor(uint64_t cursor, uint64_t mask)
{
	return table_reversed(table_reversed(cursor | ~mask) + 1);
}

uint64_t table_scan(struct table *t, uint64_t cursor, void (*fn)(struct node *n, void *arg),
		    void *arg)
{
	const struct buckets *small = &t->now, *large = &t->old;

	if (!t->count)
		return 0;
	if (!t->old.at) {
		table_give(t->now.at[cursor & t->now.mask], fn, arg);
		return table_next_cursor(cursor, t->now.mask);
	}
	if (small->mask > large->mask) {
		small = &t->old;
		large = &t->now;
	}
	table_give(small->at[cursor & small->mask], fn, arg);
	do {
		table_give(large->at[cursor & large->mask], fn, arg);
		cursor = table_next_cursor(cursor, large->mask);
	} while (cursor & (small->mask ^ large->mask));
	return cursor;
}

void table_each(struct table *t, void (*fn)(struct node *n, void *arg), void *arg)
{
	for (size_t i = 0; t->old.at && i <= t->old.mask; i++)
		table_give(t->old.at[i], fn, arg);
	for (size_t i = 0; t->now.at && i <= t->now.mask; i++)
		table_give(t->now.at[i], fn, arg);
}
