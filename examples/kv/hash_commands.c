/* SPDX-License-Identifier: BSD-2-Clause */
/* hash_commands: fields of a hash. */
#include "commands.h"
#include "fields.h"
#include "number.h"

static struct fields *hash_make(struct exec *x, struct entry *e)
{
	struct value v = { .type = VALUE_HASH };
	size_t all = SIZE_MAX;

	if (e)
		return e->value.fields;
	v.fields = fields_new();
	if (v.fields && keyspace_add(&x->shard->keys, x->db, &x->argv[1], x->hash, v, NULL) == 0)
		return v.fields;
	if (v.fields)
		fields_free_some(v.fields, &all);
	return NULL;
}

static void hash_end_if_empty(struct exec *x, struct entry *e)
{
	if (!e->value.fields->table.count)
		keyspace_remove(&x->shard->keys, e);
}

/* Return: how many are new; -1: the answer has been written. */
static int64_t hash_put(struct exec *x, struct entry *e)
{
	struct fields *f = hash_make(x, e);
	int r = f ? 0 : -1;
	int64_t n = 0;

	for (int i = 2; i < x->argc && r >= 0; i += 2) {
		r = fields_put(f, &x->argv[i], &x->argv[i + 1]);
		n += r > 0;
	}
	if (r >= 0)
		return n;
	if (f)
		hash_end_if_empty(x, exec_find(x));
	exec_no_memory(x);
	return -1;
}

/* HSET, HMSET. */
static void hash_hset(struct exec *x)
{
	struct entry *e;
	int64_t n;
	bool ok;

	if (x->argc % 2) {
		writer_error(x->w, "ERR wrong number of arguments for '%s' command",
			     x->command->name);
		return;
	}
	e = exec_find_typed(x, VALUE_HASH, &ok);
	n = ok ? hash_put(x, e) : -1;
	if (n >= 0 && x->command->name[1] == 'm')
		writer_ok(x->w);
	else if (n >= 0)
		writer_int(x->w, n);
}

static void hash_hsetnx(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_HASH, &ok);

	if (!ok)
		return;
	if (e && fields_find(e->value.fields, &x->argv[2]))
		writer_int(x->w, 0);
	else if (hash_put(x, e) >= 0)
		writer_int(x->w, 1);
}

static void hash_give(struct exec *x, struct entry *e, int i)
{
	struct field *f = e ? fields_find(e->value.fields, &x->argv[i]) : NULL;

	if (f)
		writer_bulk(x->w, f->value->data, f->value->n);
	else
		writer_nil(x->w);
}

static void hash_hget(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_HASH, &ok);

	if (ok)
		hash_give(x, e, 2);
}

static void hash_hmget(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_HASH, &ok);

	if (!ok)
		return;
	writer_array(x->w, (size_t)x->argc - 2);
	for (int i = 2; i < x->argc; i++)
		hash_give(x, e, i);
}

static void hash_hdel(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_HASH, &ok);
	int64_t n = 0;

	if (!ok)
		return;
	for (int i = 2; i < x->argc && e; i++)
		n += fields_remove(e->value.fields, &x->argv[i]);
	if (e)
		hash_end_if_empty(x, e);
	writer_int(x->w, n);
}

static void hash_hlen(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_HASH, &ok);

	if (ok)
		writer_int(x->w, e ? (int64_t)e->value.fields->table.count : 0);
}

/* HEXISTS, HSTRLEN. */
static void hash_hexists(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_HASH, &ok);
	struct field *f = e ? fields_find(e->value.fields, &x->argv[2]) : NULL;

	if (ok && x->command->name[1] == 's')
		writer_int(x->w, f ? (int64_t)f->value->n : 0);
	else if (ok)
		writer_int(x->w, f != NULL);
}

static void hash_give_name(struct node *n, void *arg)
{
	writer_bulk(arg, ((struct field *)n)->name, n->n);
}

static void hash_give_value(struct node *n, void *arg)
{
	const struct text *t = ((struct field *)n)->value;

	writer_bulk(arg, t->data, t->n);
}

static void hash_give_both(struct node *n, void *arg)
{
	hash_give_name(n, arg);
	hash_give_value(n, arg);
}

/* HGETALL, HKEYS, HVALS. */
static void hash_hgetall(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_HASH, &ok);
	char what = x->command->name[1];
	size_t n = e ? e->value.fields->table.count : 0;

	if (!ok)
		return;
	if (what == 'g')
		writer_map(x->w, n);
	else
		writer_array(x->w, n);
	if (n)
		table_each(&e->value.fields->table,
			   what == 'g' ? hash_give_both :
			   what == 'k' ? hash_give_name :
					 hash_give_value,
			   x->w);
}

static void hash_hincrby(struct exec *x)
{
	struct arg argv[4] = { x->argv[0], x->argv[1], x->argv[2] };
	char text[NUMBER_MAX];
	int64_t v = 0, by;
	struct entry *e;
	struct field *f;
	bool ok;

	if (!exec_int(x, 3, &by))
		return;
	e = exec_find_typed(x, VALUE_HASH, &ok);
	if (!ok)
		return;
	f = e ? fields_find(e->value.fields, &x->argv[2]) : NULL;
	if (f && number_parse(f->value->data, f->value->n, &v) < 0) {
		writer_text(x->w, "-ERR hash value is not an integer\r\n");
	} else if (__builtin_add_overflow(v, by, &v)) {
		writer_text(x->w, "-ERR increment or decrement would overflow\r\n");
	} else {
		argv[3] = (struct arg){ text, number_write(text, v) };
		x->argv = argv;
		if (hash_put(x, e) >= 0)
			writer_int(x->w, v);
	}
}

enum { G = COMMAND_WRITES | COMMAND_GROWS, W = COMMAND_WRITES, F = COMMAND_FAST };

const struct command hash_commands[] = {
	{ "hset", -4, G | F, ROUTE_KEY, 1, 1, 1, hash_hset, NULL },
	{ "hmset", -4, G | F, ROUTE_KEY, 1, 1, 1, hash_hset, NULL },
	{ "hsetnx", 4, G | F, ROUTE_KEY, 1, 1, 1, hash_hsetnx, NULL },
	{ "hget", 3, F, ROUTE_KEY, 1, 1, 1, hash_hget, NULL },
	{ "hmget", -3, F, ROUTE_KEY, 1, 1, 1, hash_hmget, NULL },
	{ "hdel", -3, W | F, ROUTE_KEY, 1, 1, 1, hash_hdel, NULL },
	{ "hlen", 2, F, ROUTE_KEY, 1, 1, 1, hash_hlen, NULL },
	{ "hexists", 3, F, ROUTE_KEY, 1, 1, 1, hash_hexists, NULL },
	{ "hstrlen", 3, F, ROUTE_KEY, 1, 1, 1, hash_hexists, NULL },
	{ "hgetall", 2, 0, ROUTE_KEY, 1, 1, 1, hash_hgetall, NULL },
	{ "hkeys", 2, 0, ROUTE_KEY, 1, 1, 1, hash_hgetall, NULL },
	{ "hvals", 2, 0, ROUTE_KEY, 1, 1, 1, hash_hgetall, NULL },
	{ "hincrby", 4, G | F, ROUTE_KEY, 1, 1, 1, hash_hincrby, NULL },
	{ 0 },
};
