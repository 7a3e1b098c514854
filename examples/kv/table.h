/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table: a hash table of nodes that the caller makes; it grows and shrinks a few buckets at a time
 *
 * While it is resized there are two arrays: each call moves a bucket from the one to the other, so
 * that none of them takes long. A key is in one of the two: in the old one where its bucket there
 * has not been moved.
 */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first field of what is in a table. The key's bytes lie at table.key_at. */
struct node {
	struct node *next;
	uint32_t hash;
	uint32_t n; /* bytes of the key */
};

struct buckets {
	struct node **at;
	size_t mask; /* how many there are, less one */
};

struct table {
	struct buckets now, old; /* old.at: NULL where it is not being resized */
	size_t moved;            /* of the old buckets: those below are empty */
	size_t count;
	size_t key_at;
};

void table_init(struct table *t, size_t key_at);
/* The arrays; it has to be empty. */
void table_fini(struct table *t);

static inline const char *table_key(const struct table *t, const struct node *n)
{
	return (const char *)n + t->key_at;
}

struct node *table_find(struct table *t, const void *key, size_t n, uint64_t hash);
/* @n has key and length, and is not in it yet. Return: 0; -ENOMEM. */
int table_add(struct table *t, struct node *n, uint64_t hash);
/* Return: the node, which is the caller's then, or NULL. */
struct node *table_remove(struct table *t, const void *key, size_t n, uint64_t hash);
/* @with has the key of @was, and takes its place. */
void table_replace(struct table *t, struct node *was, struct node *with);
/* One of them, by chance; NULL: it is empty. */
struct node *table_random(struct table *t);
/* One of them, removed; NULL: it is empty. For the end of a table, a part at a time. */
struct node *table_pop(struct table *t);

/*
 * table_scan() - call fn(node) for those of one bucket, and of those that it has become
 *
 * What is in it all the while is given at least once before the cursor is 0 again, however it is
 * resized between the calls. Return: the next cursor; 0: that was the last.
 */
uint64_t table_scan(struct table *t, uint64_t cursor, void (*fn)(struct node *n, void *arg),
		    void *arg);
/* All of them; @fn may not change the table. */
void table_each(struct table *t, void (*fn)(struct node *n, void *arg), void *arg);

#endif
