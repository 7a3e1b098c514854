/* SPDX-License-Identifier: BSD-2-Clause */
/* set: a table of members. */
#include "set.h"

#include <errno.h>
#include <string.h>

#include "hash.h"
#include "memory.h"

struct set *set_new(void)
{
	struct set *s = memory_alloc(sizeof *s);

	if (s)
		table_init(&s->members, offsetof(struct member, name));
	return s;
}

bool set_free_some(struct set *s, size_t *budget)
{
	struct node *n;

	for (; (n = table_pop(&s->members)); --*budget) {
		memory_free(n);
		if (!*budget)
			return false;
	}
	table_fini(&s->members);
	memory_free(s);
	return true;
}

int set_add(struct set *s, const struct arg *name)
{
	uint64_t hash = hash_bytes(name->p, name->n);
	struct member *m;

	if (table_find(&s->members, name->p, name->n, hash))
		return 0;
	m = memory_alloc(sizeof *m + name->n);
	if (!m)
		return -ENOMEM;
	m->node.n = (uint32_t)name->n;
	memcpy(m->name, name->p, name->n);
	if (table_add(&s->members, &m->node, hash) == 0)
		return 1;
	memory_free(m);
	return -ENOMEM;
}

bool set_remove(struct set *s, const struct arg *name)
{
	struct node *n = table_remove(&s->members, name->p, name->n, hash_bytes(name->p, name->n));

	memory_free(n);
	return n;
}

bool set_has(struct set *s, const struct arg *name)
{
	return table_find(&s->members, name->p, name->n, hash_bytes(name->p, name->n));
}

struct member *set_random(struct set *s)
{
	return (struct member *)table_random(&s->members);
}

void set_drop(struct set *s, struct member *m)
{
	table_remove(&s->members, m->name, m->node.n, m->node.hash);
	memory_free(m);
}
