/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zset: names with scores, found by name, and in the order of their scores
 *
 * A table and a treap over the same members: a tree by score and name whose shape is that of
 * priorities that were drawn by chance, so that it is as flat as one of random insertions.
 */
#ifndef KV_ZSET_H
#define KV_ZSET_H

#include "reader.h"
#include "table.h"

struct scored {
	struct node node;
	struct scored *left, *right;
	double score;
	uint32_t priority;
	uint32_t size; /* members of this subtree */
	char name[];
};

struct zset {
	struct table table;
	struct scored *root;
};

struct zset *zset_new(void);
bool zset_free_some(struct zset *z, size_t *budget);
/* NULL: there is none. */
struct scored *zset_find(struct zset *z, const struct arg *name);
/* It is not in it yet. Return: 0; -ENOMEM. */
int zset_add(struct zset *z, const struct arg *name, double score);
void zset_move(struct zset *z, struct scored *m, double score);
/* Removed and freed. */
void zset_drop(struct zset *z, struct scored *m);
/* The one with so many before it; NULL: there are fewer. */
struct scored *zset_at(const struct zset *z, size_t rank);
/* How many are before it. */
size_t zset_rank(const struct zset *z, const struct scored *m);

#endif
