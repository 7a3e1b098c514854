/* SPDX-License-Identifier: BSD-2-Clause */
/* set_commands: members of a set. */
#include "commands.h"
#include "number.h"
#include "set.h"

static struct set *set_make(struct exec *x, struct entry *e)
{
	struct value v = { .type = VALUE_SET };
	size_t all = SIZE_MAX;

	if (e)
		return e->value.set;
	v.set = set_new();
	if (v.set && keyspace_add(&x->shard->keys, x->db, &x->argv[1], x->hash, v, NULL) == 0)
		return v.set;
	if (v.set)
		set_free_some(v.set, &all);
	return NULL;
}

static void set_end_if_empty(struct exec *x, struct entry *e)
{
	if (!e->value.set->members.count)
		keyspace_remove(&x->shard->keys, e);
}

static void set_sadd(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_SET, &ok);
	struct set *s = ok ? set_make(x, e) : NULL;
	int64_t n = 0;
	int r = s ? 0 : -1;

	if (!ok)
		return;
	for (int i = 2; i < x->argc && r >= 0; i++) {
		r = set_add(s, &x->argv[i]);
		n += r > 0;
	}
	if (r >= 0) {
		writer_int(x->w, n);
		return;
	}
	if (s)
		set_end_if_empty(x, exec_find(x));
	exec_no_memory(x);
}

static void set_srem(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_SET, &ok);
	int64_t n = 0;

	if (!ok)
		return;
	for (int i = 2; i < x->argc && e; i++)
		n += set_remove(e->value.set, &x->argv[i]);
	if (e)
		set_end_if_empty(x, e);
	writer_int(x->w, n);
}

static void set_sismember(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_SET, &ok);

	if (ok)
		writer_int(x->w, e && set_has(e->value.set, &x->argv[2]));
}

static void set_scard(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_SET, &ok);

	if (ok)
		writer_int(x->w, e ? (int64_t)e->value.set->members.count : 0);
}

static void set_give(struct node *n, void *arg)
{
	writer_bulk(arg, ((struct member *)n)->name, n->n);
}

static void set_smembers(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_SET, &ok);

	if (!ok)
		return;
	writer_set(x->w, e ? e->value.set->members.count : 0);
	if (e)
		table_each(&e->value.set->members, set_give, x->w);
}

static void set_pop_some(struct exec *x, struct entry *e, size_t n)
{
	struct member *m;

	while (n--) {
		m = set_random(e->value.set);
		writer_bulk(x->w, m->name, m->node.n);
		set_drop(e->value.set, m);
	}
	set_end_if_empty(x, e);
}

static void set_spop_many(struct exec *x)
{
	struct entry *e;
	int64_t n;
	bool ok;

	if (x->argc > 3) {
		writer_syntax_error(x->w);
		return;
	}
	if (number_parse(x->argv[2].p, x->argv[2].n, &n) < 0 || n < 0) {
		writer_text(x->w, "-ERR value is out of range, must be positive\r\n");
		return;
	}
	e = exec_find_typed(x, VALUE_SET, &ok);
	if (!ok)
		return;
	if (!e)
		n = 0;
	else if (n > (int64_t)e->value.set->members.count)
		n = (int64_t)e->value.set->members.count;
	writer_set(x->w, (size_t)n);
	if (n)
		set_pop_some(x, e, (size_t)n);
}

static void set_spop(struct exec *x)
{
	struct entry *e;
	bool ok;

	if (x->argc > 2) {
		set_spop_many(x);
		return;
	}
	e = exec_find_typed(x, VALUE_SET, &ok);
	if (e)
		set_pop_some(x, e, 1);
	else if (ok)
		writer_nil(x->w);
}

enum { G = COMMAND_WRITES | COMMAND_GROWS, W = COMMAND_WRITES, F = COMMAND_FAST };

const struct command set_commands[] = {
	{ "sadd", -3, G | F, ROUTE_KEY, 1, 1, 1, set_sadd, NULL },
	{ "srem", -3, W | F, ROUTE_KEY, 1, 1, 1, set_srem, NULL },
	{ "sismember", 3, F, ROUTE_KEY, 1, 1, 1, set_sismember, NULL },
	{ "scard", 2, F, ROUTE_KEY, 1, 1, 1, set_scard, NULL },
	{ "smembers", 2, 0, ROUTE_KEY, 1, 1, 1, set_smembers, NULL },
	{ "spop", -2, W | F, ROUTE_KEY, 1, 1, 1, set_spop, NULL },
	{ 0 },
};
