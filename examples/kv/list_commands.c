/* SPDX-License-Identifier: BSD-2-Clause */
/* list_commands: at both ends, and ranges. */
#include "commands.h"
#include "list.h"
#include "number.h"

/* Which end: the first letter says it. */
static enum side list_side(const struct exec *x)
{
	return x->command->name[0] == 'l' ? LIST_LEFT : LIST_RIGHT;
}

/* The list of the key, made where there is none; NULL: no memory. */
static struct list *list_make(struct exec *x, struct entry *e)
{
	struct value v = { .type = VALUE_LIST };

	if (e)
		return e->value.list;
	v.list = list_new();
	if (v.list && keyspace_add(&x->shard->keys, x->db, &x->argv[1], x->hash, v, NULL) == 0)
		return v.list;
	if (v.list)
		list_free(v.list);
	return NULL;
}

static void list_push_all(struct exec *x, struct entry *e)
{
	struct list *l = list_make(x, e);
	int r = l ? 0 : -1;

	for (int i = 2; i < x->argc && r == 0; i++)
		r = list_push(l, list_side(x), x->argv[i].p, x->argv[i].n);
	if (r < 0 && l && !l->n)
		keyspace_remove(&x->shard->keys, exec_find(x));
	if (r < 0)
		exec_no_memory(x);
	else
		writer_int(x->w, (int64_t)l->n);
}

static void list_push_command(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_LIST, &ok);

	if (ok)
		list_push_all(x, e);
}

static void list_pushx_command(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_LIST, &ok);

	if (e)
		list_push_all(x, e);
	else if (ok)
		writer_int(x->w, 0);
}

/* Return: whether there is a count; -1: the answer has been written. */
static int list_pop_count(struct exec *x, int64_t *ret)
{
	if (x->argc > 3) {
		writer_error(x->w, "ERR wrong number of arguments for '%s' command",
			     x->command->name);
		return -1;
	}
	*ret = 1;
	if (x->argc == 2)
		return 0;
	if (number_parse(x->argv[2].p, x->argv[2].n, ret) == 0 && *ret >= 0)
		return 1;
	writer_text(x->w, "-ERR value is out of range, must be positive\r\n");
	return -1;
}

static void list_pop_command(struct exec *x)
{
	int64_t n;
	int counted = list_pop_count(x, &n);
	struct entry *e;
	struct list *l;
	bool ok;

	if (counted < 0)
		return;
	e = exec_find_typed(x, VALUE_LIST, &ok);
	if (!e) {
		if (ok && counted)
			writer_nil_array(x->w);
		else if (ok)
			writer_nil(x->w);
		return;
	}
	l = e->value.list;
	n = n > (int64_t)l->n ? (int64_t)l->n : n;
	if (counted)
		writer_array(x->w, (size_t)n);
	while (n--)
		list_pop(l, list_side(x), x->w);
	if (!l->n)
		keyspace_remove(&x->shard->keys, e);
}

static void list_len(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_LIST, &ok);

	if (ok)
		writer_int(x->w, e ? (int64_t)e->value.list->n : 0);
}

static void list_range_command(struct exec *x)
{
	int64_t from, to, n;
	struct entry *e;
	bool ok;

	if (!exec_int(x, 2, &from) || !exec_int(x, 3, &to))
		return;
	e = exec_find_typed(x, VALUE_LIST, &ok);
	if (!ok)
		return;
	n = e ? (int64_t)e->value.list->n : 0;
	from = from < 0 ? from + n : from;
	from = from < 0 ? 0 : from;
	to = to < 0 ? to + n : to;
	to = to >= n ? n - 1 : to;
	writer_array(x->w, from > to ? 0 : (size_t)(to - from) + 1);
	if (from <= to)
		list_range(e->value.list, (size_t)from, (size_t)to, x->w);
}

static void list_index(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_LIST, &ok);
	int64_t i;

	if (!ok)
		return;
	if (!e) {
		writer_nil(x->w);
		return;
	}
	if (!exec_int(x, 2, &i))
		return;
	i = i < 0 ? i + (int64_t)e->value.list->n : i;
	if (i < 0 || i >= (int64_t)e->value.list->n)
		writer_nil(x->w);
	else
		list_range(e->value.list, (size_t)i, (size_t)i, x->w);
}

enum { G = COMMAND_WRITES | COMMAND_GROWS, W = COMMAND_WRITES, F = COMMAND_FAST };

const struct command list_commands[] = {
	{ "lpush", -3, G | F, ROUTE_KEY, 1, 1, 1, list_push_command, NULL },
	{ "rpush", -3, G | F, ROUTE_KEY, 1, 1, 1, list_push_command, NULL },
	{ "lpushx", -3, G | F, ROUTE_KEY, 1, 1, 1, list_pushx_command, NULL },
	{ "rpushx", -3, G | F, ROUTE_KEY, 1, 1, 1, list_pushx_command, NULL },
	{ "lpop", -2, W | F, ROUTE_KEY, 1, 1, 1, list_pop_command, NULL },
	{ "rpop", -2, W | F, ROUTE_KEY, 1, 1, 1, list_pop_command, NULL },
	{ "llen", 2, F, ROUTE_KEY, 1, 1, 1, list_len, NULL },
	{ "lrange", 4, 0, ROUTE_KEY, 1, 1, 1, list_range_command, NULL },
	{ "lindex", 3, 0, ROUTE_KEY, 1, 1, 1, list_index, NULL },
	{ 0 },
};
