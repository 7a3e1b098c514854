/* SPDX-License-Identifier: BSD-2-Clause */
/* zset: recursion is as deep as the tree: some tens for a million. */
#include "zset.h"

#include <errno.h>
#include <string.h>

#include "chance.h"
#include "hash.h"
#include "memory.h"

struct zset *zset_new(void)
{
	struct zset *z = memory_alloc(sizeof *z);

	if (z) {
		table_init(&z->table, offsetof(struct scored, name));
		z->root = NULL;
	}
	return z;
}

/* The tree is not needed for it: all members are in the table. */
bool zset_free_some(struct zset *z, size_t *budget)
{
	struct node *n;

	for (; (n = table_pop(&z->table)); --*budget) {
		memory_free(n);
		if (!*budget)
			return false;
	}
	table_fini(&z->table);
	memory_free(z);
	return true;
}

/* ------------------------------------------------------------------ the tree */

static uint32_t tree_size(const struct scored *t)
{
	return t ? t->size : 0;
}

static void tree_count(struct scored *t)
{
	t->size = 1 + tree_size(t->left) + tree_size(t->right);
}

/* Whether @a comes before @b: by score, then by the bytes of the name. */
static bool tree_before(const struct scored *a, const struct scored *b)
{
	uint32_t n = a->node.n < b->node.n ? a->node.n : b->node.n;
	int by;

	if (a->score != b->score)
		return a->score < b->score;
	by = memcmp(a->name, b->name, n);
	return by ? by < 0 : a->node.n < b->node.n;
}

/* Those of @t before @m, and the others. */
static void tree_split(struct scored *t, const struct scored *m, struct scored **left,
		       struct scored **right)
{
	if (!t) {
		*left = *right = NULL;
		return;
	}
	if (tree_before(t, m)) {
		tree_split(t->right, m, &t->right, right);
		*left = t;
	} else {
		tree_split(t->left, m, left, &t->left);
		*right = t;
	}
	tree_count(t);
}

/* All of @left are before all of @right. */
static struct scored *tree_merge(struct scored *left, struct scored *right)
{
	if (!left || !right)
		return left ? left : right;
	if (left->priority > right->priority) {
		left->right = tree_merge(left->right, right);
		tree_count(left);
		return left;
	}
	right->left = tree_merge(left, right->left);
	tree_count(right);
	return right;
}

static void tree_insert(struct scored **at, struct scored *m)
{
	for (; *at && (*at)->priority >= m->priority;
	     at = tree_before(*at, m) ? &(*at)->right : &(*at)->left)
		(*at)->size++;
	tree_split(*at, m, &m->left, &m->right);
	tree_count(m);
	*at = m;
}

static void tree_remove(struct scored **at, const struct scored *m)
{
	for (; *at != m; at = tree_before(*at, m) ? &(*at)->right : &(*at)->left)
		(*at)->size--;
	*at = tree_merge(m->left, m->right);
}

/* ------------------------------------------------------------------ members */

struct scored *zset_find(struct zset *z, const struct arg *name)
{
	return (struct scored *)table_find(&z->table, name->p, name->n,
					   hash_bytes(name->p, name->n));
}

int zset_add(struct zset *z, const struct arg *name, double score)
{
	struct scored *m = memory_alloc(sizeof *m + name->n);

	if (!m)
		return -ENOMEM;
	m->node.n = (uint32_t)name->n;
	m->score = score;
	m->priority = (uint32_t)chance_bits();
	memcpy(m->name, name->p, name->n);
	if (table_add(&z->table, &m->node, hash_bytes(name->p, name->n)) < 0) {
		memory_free(m);
		return -ENOMEM;
	}
	tree_insert(&z->root, m);
	return 0;
}

void zset_move(struct zset *z, struct scored *m, double score)
{
	tree_remove(&z->root, m);
	m->score = score;
	tree_insert(&z->root, m);
}

void zset_drop(struct zset *z, struct scored *m)
{
	tree_remove(&z->root, m);
	table_remove(&z->table, m->name, m->node.n, m->node.hash);
	memory_free(m);
}

struct scored *zset_at(const struct zset *z, size_t rank)
{
	struct scored *t = z->root;

	while (t && rank != tree_size(t->left)) {
		if (rank < tree_size(t->left)) {
			t = t->left;
		} else {
			rank -= tree_size(t->left) + 1;
			t = t->right;
		}
	}
	return t;
}

size_t zset_rank(const struct zset *z, const struct scored *m)
{
	size_t rank = 0;

	for (const struct scored *t = z->root; t != m;) {
		if (tree_before(t, m)) {
			rank += tree_size(t->left) + 1;
			t = t->right;
		} else {
			t = t->left;
		}
	}
	return rank + tree_size(m->left);
}
