/* SPDX-License-Identifier: BSD-2-Clause */
/* keyspace: tables of entries; what is large is buried, and freed later. */
#include "keyspace.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "memory.h"
#include "text.h"

#define TEND_KEYS   200u
#define TEND_PARTS  2000u
#define TEND_MS_MAX 100

/* A table of entries, or one value. */
struct grave {
	struct grave *next;
	struct table table;
	struct value value;
	bool is_value;
};

void keyspace_init(struct keyspace *k)
{
	*k = (struct keyspace){ 0 };
	for (int i = 0; i < DATABASES; i++)
		table_init(&k->db[i], offsetof(struct entry, key));
}

/* ------------------------------------------------------------------ time */

void keyspace_turn(struct keyspace *k)
{
	k->now_ms = 0;
}

int64_t keyspace_now(struct keyspace *k)
{
	struct timespec t;

	if (!k->now_ms) {
		clock_gettime(CLOCK_REALTIME, &t);
		k->now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	}
	return k->now_ms;
}

/* ------------------------------------------------------------------ the end of values */

/* Without memory for it, it is freed at once. */
static struct grave *keyspace_dig(struct keyspace *k)
{
	struct grave *g = memory_alloc(sizeof *g);

	if (g) {
		*g = (struct grave){ .next = k->graves };
		k->graves = g;
	}
	return g;
}

static void keyspace_free_value(struct keyspace *k, struct value v)
{
	size_t all = SIZE_MAX;
	struct grave *g = value_is_large(&v) ? keyspace_dig(k) : NULL;

	if (g) {
		g->is_value = true;
		g->value = v;
	} else {
		value_free_some(&v, &all);
	}
}

static bool keyspace_empty_table(struct keyspace *k, struct table *t, size_t *budget)
{
	struct entry *e;

	for (; (e = (struct entry *)table_pop(t)); --*budget) {
		keyspace_free_value(k, e->value);
		memory_free(e);
		if (!*budget)
			return false;
	}
	table_fini(t);
	return true;
}

/* Return: whether nothing is left. */
static bool keyspace_dispose(struct keyspace *k, size_t budget)
{
	struct grave *g, **at;
	bool done;

	while ((g = k->graves) && budget) {
		done = g->is_value ? value_free_some(&g->value, &budget) :
				     keyspace_empty_table(k, &g->table, &budget);
		if (!done)
			continue;
		/* What its entries left is before it by now. */
		for (at = &k->graves; *at != g; at = &(*at)->next)
			;
		*at = g->next;
		memory_free(g);
	}
	return !k->graves;
}

/* ------------------------------------------------------------------ one key */

static void keyspace_free_entry(struct keyspace *k, struct entry *e)
{
	expiry_clear(&k->expiry, e);
	table_remove(&k->db[e->db], e->key, e->node.n, e->node.hash);
	memory_free(e);
}

void keyspace_remove(struct keyspace *k, struct entry *e)
{
	keyspace_free_value(k, keyspace_take(k, e));
}

struct value keyspace_take(struct keyspace *k, struct entry *e)
{
	struct value v = e->value;

	keyspace_free_entry(k, e);
	return v;
}

void keyspace_change(struct keyspace *k, struct entry *e, struct value value)
{
	struct value was = e->value;

	e->value = value;
	keyspace_free_value(k, was);
}

struct entry *keyspace_find(struct keyspace *k, int db, const struct arg *key, uint64_t hash)
{
	struct entry *e = (struct entry *)table_find(&k->db[db], key->p, key->n, hash);

	if (e && e->expiry && expiry_when(&k->expiry, e) <= keyspace_now(k)) {
		keyspace_remove(k, e);
		k->expired++;
		e = NULL;
	}
	return e;
}

int keyspace_add(struct keyspace *k, int db, const struct arg *key, uint64_t hash,
		 struct value value, struct entry **ret)
{
	struct entry *e = memory_alloc(sizeof *e + key->n);
	int r;

	if (!e)
		return -ENOMEM;
	*e = (struct entry){ .node.n = (uint32_t)key->n, .db = (uint16_t)db, .value = value };
	memcpy(e->key, key->p, key->n);
	r = table_add(&k->db[db], &e->node, hash);
	if (r < 0) {
		memory_free(e);
		return r;
	}
	if (ret)
		*ret = e;
	return 0;
}

int keyspace_expire(struct keyspace *k, struct entry *e, int64_t when_ms)
{
	return expiry_set(&k->expiry, e, when_ms);
}

/* ------------------------------------------------------------------ many keys */

void keyspace_flush(struct keyspace *k, int db)
{
	struct table *t = &k->db[db];
	size_t all = SIZE_MAX;
	struct grave *g;

	if (!t->count)
		return;
	expiry_forget(&k->expiry, db);
	g = keyspace_dig(k);
	if (g)
		g->table = *t;
	else
		keyspace_empty_table(k, t, &all);
	table_init(t, offsetof(struct entry, key));
}

static bool keyspace_remove_due(struct keyspace *k, unsigned budget)
{
	struct entry *e;

	for (; (e = expiry_due(&k->expiry, keyspace_now(k))); budget--) {
		if (!budget)
			return false;
		keyspace_remove(k, e);
		k->expired++;
	}
	return true;
}

int keyspace_tend(struct keyspace *k)
{
	bool more = !keyspace_remove_due(k, TEND_KEYS);
	int64_t next = expiry_next(&k->expiry);

	more |= !keyspace_dispose(k, TEND_PARTS);
	if (more)
		return 1;
	if (next < 0)
		return -1;
	next -= keyspace_now(k);
	return next < 1 ? 1 : next < TEND_MS_MAX ? (int)next : TEND_MS_MAX;
}

void keyspace_fini(struct keyspace *k)
{
	for (int i = 0; i < DATABASES; i++) {
		keyspace_flush(k, i);
		table_fini(&k->db[i]); /* an empty one has buckets, too */
	}
	keyspace_dispose(k, SIZE_MAX);
	expiry_fini(&k->expiry);
}
