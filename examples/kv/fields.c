/* SPDX-License-Identifier: BSD-2-Clause */
/* fields: a table; a value that fits takes the place of the one before. */
#include "fields.h"

#include <errno.h>
#include <string.h>

#include "hash.h"
#include "memory.h"

struct fields *fields_new(void)
{
	struct fields *f = memory_alloc(sizeof *f);

	if (f)
		table_init(&f->table, offsetof(struct field, name));
	return f;
}

static void field_free(struct field *f)
{
	text_free(f->value);
	memory_free(f);
}

bool fields_free_some(struct fields *f, size_t *budget)
{
	struct node *n;

	for (; (n = table_pop(&f->table)); --*budget) {
		field_free((struct field *)n);
		if (!*budget)
			return false;
	}
	table_fini(&f->table);
	memory_free(f);
	return true;
}

static void field_set(struct text *t, const struct arg *value)
{
	memcpy(t->data, value->p, value->n);
	t->n = value->n;
}

static int field_change(struct field *f, const struct arg *value)
{
	struct text *t = f->value;

	if (value->n > t->cap || value->n < t->cap / 4) {
		t = text_new(value->n);
		if (!t)
			return -ENOMEM;
		text_free(f->value);
		f->value = t;
	}
	field_set(t, value);
	return 0;
}

static struct field *field_new(const struct arg *name, const struct arg *value)
{
	struct field *f = memory_alloc(sizeof *f + name->n);

	if (!f)
		return NULL;
	f->node.n = (uint32_t)name->n;
	memcpy(f->name, name->p, name->n);
	f->value = text_new(value->n);
	if (!f->value) {
		memory_free(f);
		return NULL;
	}
	field_set(f->value, value);
	return f;
}

int fields_put(struct fields *fields, const struct arg *name, const struct arg *value)
{
	uint64_t hash = hash_bytes(name->p, name->n);
	struct field *f = (struct field *)table_find(&fields->table, name->p, name->n, hash);

	if (f)
		return field_change(f, value);
	f = field_new(name, value);
	if (!f)
		return -ENOMEM;
	if (table_add(&fields->table, &f->node, hash) == 0)
		return 1;
	field_free(f);
	return -ENOMEM;
}

bool fields_remove(struct fields *fields, const struct arg *name)
{
	struct node *n =
		table_remove(&fields->table, name->p, name->n, hash_bytes(name->p, name->n));

	if (n)
		field_free((struct field *)n);
	return n;
}

struct field *fields_find(struct fields *f, const struct arg *name)
{
	return (struct field *)table_find(&f->table, name->p, name->n,
					  hash_bytes(name->p, name->n));
}
