/* SPDX-License-Identifier: BSD-2-Clause */
/* zset_commands: members by score. */
#include <errno.h>
#include <math.h>

#include "commands.h"
#include "number.h"
#include "zset.h"

static struct zset *zset_make(struct exec *x, struct entry *e)
{
	struct value v = { .type = VALUE_ZSET };
	size_t all = SIZE_MAX;

	if (e)
		return e->value.zset;
	v.zset = zset_new();
	if (v.zset && keyspace_add(&x->shard->keys, x->db, &x->argv[1], x->hash, v, NULL) == 0)
		return v.zset;
	if (v.zset)
		zset_free_some(v.zset, &all);
	return NULL;
}

static void zset_end_if_empty(struct exec *x, struct entry *e)
{
	if (!e->value.zset->root)
		keyspace_remove(&x->shard->keys, e);
}

/* As a double can hold it. Return: false: the answer has been written. */
static bool zset_score(struct exec *x, int i, double *ret)
{
	long double v;

	if (number_parse_float(x->argv[i].p, x->argv[i].n, &v) == 0) {
		*ret = (double)v;
		if (isinf(*ret) == isinf(v) && (*ret != 0 || v == 0))
			return true;
	}
	writer_text(x->w, "-ERR value is not a valid float\r\n");
	return false;
}

/* ------------------------------------------------------------------ ZADD */

enum { ADD_NX = 1, ADD_XX = 2, ADD_GT = 4, ADD_LT = 8, ADD_CH = 16, ADD_INCR = 32 };

struct addition {
	unsigned flags;
	int first; /* the argument that is the first score */
	int64_t added, changed;
	bool done; /* INCR: there is a score to tell */
	double score;
};

static void zset_flags(struct exec *x, struct addition *a)
{
	static const char *const names[] = { "nx", "xx", "gt", "lt", "ch", "incr" };
	int k;

	for (a->first = 2; a->first < x->argc; a->first++) {
		for (k = 0; k < 6 && !exec_is(x, a->first, names[k]); k++)
			;
		if (k == 6)
			return;
		a->flags |= 1u << k;
	}
}

/* Return: false: the answer has been written. */
static bool zset_flags_ok(struct exec *x, const struct addition *a)
{
	unsigned f = a->flags;
	int left = x->argc - a->first;

	if (left % 2 || !left)
		writer_syntax_error(x->w);
	else if ((f & ADD_NX) && (f & ADD_XX))
		writer_text(x->w, "-ERR XX and NX options at the same time are not compatible\r\n");
	else if (((f & ADD_NX) && (f & (ADD_GT | ADD_LT))) || ((f & ADD_GT) && (f & ADD_LT)))
		writer_text(
			x->w,
			"-ERR GT, LT, and/or NX options at the same time are not compatible\r\n");
	else if ((f & ADD_INCR) && left > 2)
		writer_text(x->w, "-ERR INCR option supports a single increment-element pair\r\n");
	else
		return true;
	return false;
}

static int zset_change(struct zset *z, struct scored *m, struct addition *a, double score)
{
	if (a->flags & ADD_NX)
		return 0;
	if (a->flags & ADD_INCR)
		score += m->score;
	if (isnan(score))
		return -EDOM;
	if (((a->flags & ADD_GT) && score <= m->score) ||
	    ((a->flags & ADD_LT) && score >= m->score))
		return 0;
	if (score != m->score) {
		zset_move(z, m, score);
		a->changed++;
	}
	a->done = true;
	a->score = score;
	return 0;
}

static int zset_add_one(struct zset *z, struct addition *a, const struct arg *name, double score)
{
	struct scored *m = zset_find(z, name);
	int r;

	if (m)
		return zset_change(z, m, a, score);
	if (a->flags & ADD_XX)
		return 0;
	r = zset_add(z, name, score);
	a->added += r == 0;
	a->done = r == 0;
	a->score = score;
	return r;
}

static void zset_add_reply(struct exec *x, const struct addition *a)
{
	if (!(a->flags & ADD_INCR))
		writer_int(x->w, a->flags & ADD_CH ? a->added + a->changed : a->added);
	else if (a->done)
		writer_float(x->w, a->score);
	else
		writer_nil(x->w);
}

static void zset_add_all(struct exec *x, struct addition *a)
{
	struct zset *z;
	struct entry *e;
	double score;
	bool ok;
	int r;

	for (int i = a->first; i < x->argc; i += 2)
		if (!zset_score(x, i, &score))
			return;
	e = exec_find_typed(x, VALUE_ZSET, &ok);
	if (!ok)
		return;
	if (!e && (a->flags & ADD_XX)) {
		zset_add_reply(x, a);
		return;
	}
	z = zset_make(x, e);
	r = z ? 0 : -ENOMEM;
	for (int i = a->first; i < x->argc && r == 0; i += 2) {
		zset_score(x, i, &score);
		r = zset_add_one(z, a, &x->argv[i + 1], score);
	}
	if (r == -EDOM)
		writer_text(x->w, "-ERR resulting score is not a number (NaN)\r\n");
	else if (r < 0)
		exec_no_memory(x);
	else
		zset_add_reply(x, a);
	if (z && !z->root)
		keyspace_remove(&x->shard->keys, exec_find(x));
}

static void zset_zadd(struct exec *x)
{
	struct addition a = { 0 };

	zset_flags(x, &a);
	if (zset_flags_ok(x, &a))
		zset_add_all(x, &a);
}

static void zset_zincrby(struct exec *x)
{
	struct addition a = { .flags = ADD_INCR, .first = 2 };

	zset_add_all(x, &a);
}

/* ------------------------------------------------------------------ one member */

static void zset_zrem(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_ZSET, &ok);
	struct scored *m;
	int64_t n = 0;

	if (!ok)
		return;
	for (int i = 2; i < x->argc && e; i++)
		if ((m = zset_find(e->value.zset, &x->argv[i]))) {
			zset_drop(e->value.zset, m);
			n++;
		}
	if (e)
		zset_end_if_empty(x, e);
	writer_int(x->w, n);
}

/* ZSCORE, ZRANK, ZREVRANK. */
static void zset_zscore(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_ZSET, &ok);
	struct scored *m = e ? zset_find(e->value.zset, &x->argv[2]) : NULL;
	struct zset *z = e ? e->value.zset : NULL;

	if (ok && !m)
		writer_nil(x->w);
	else if (ok && x->command->name[1] == 's')
		writer_float(x->w, m->score);
	else if (ok && x->command->name[2] == 'a')
		writer_int(x->w, (int64_t)zset_rank(z, m));
	else if (ok)
		writer_int(x->w, (int64_t)(z->table.count - 1 - zset_rank(z, m)));
}

static void zset_zcard(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_ZSET, &ok);

	if (ok)
		writer_int(x->w, e ? (int64_t)e->value.zset->table.count : 0);
}

/* ------------------------------------------------------------------ several */

/* @pairs: RESP3 has an array for each member then. */
static void zset_give(struct exec *x, const struct scored *m, bool score, bool pairs)
{
	if (pairs)
		writer_array(x->w, 2);
	writer_bulk(x->w, m->name, m->node.n);
	if (score)
		writer_float(x->w, m->score);
}

/* ZPOPMIN, ZPOPMAX. */
static void zset_zpop(struct exec *x)
{
	bool max = x->command->name[5] == 'a', ok;
	bool pairs = x->w->resp3 && x->argc == 3;
	struct scored *m;
	struct entry *e;
	int64_t n = 1;

	if (x->argc > 3) {
		writer_syntax_error(x->w);
		return;
	}
	if (x->argc == 3 && (number_parse(x->argv[2].p, x->argv[2].n, &n) < 0 || n < 0)) {
		writer_text(x->w, "-ERR value is out of range, must be positive\r\n");
		return;
	}
	e = exec_find_typed(x, VALUE_ZSET, &ok);
	if (!ok)
		return;
	if (!e)
		n = 0;
	else if (n > (int64_t)e->value.zset->table.count)
		n = (int64_t)e->value.zset->table.count;
	writer_array(x->w, (size_t)(pairs ? n : 2 * n));
	for (; n > 0; n--) {
		m = zset_at(e->value.zset, max ? e->value.zset->table.count - 1 : 0);
		zset_give(x, m, true, pairs);
		zset_drop(e->value.zset, m);
	}
	if (e)
		zset_end_if_empty(x, e);
}

/* Return: false: the answer has been written. */
static bool zset_range_options(struct exec *x, bool *ret_scores, bool *ret_reverse)
{
	*ret_reverse = x->command->name[2] == 'e';
	for (int i = 4; i < x->argc; i++) {
		if (exec_is(x, i, "withscores"))
			*ret_scores = true;
		else if (exec_is(x, i, "rev") && x->command->name[2] == 'a')
			*ret_reverse = true;
		else {
			writer_syntax_error(x->w);
			return false;
		}
	}
	return true;
}

/* ZRANGE by rank, ZREVRANGE. */
static void zset_zrange(struct exec *x)
{
	bool scores = false, reverse, ok, pairs;
	int64_t from, to, n;
	struct entry *e;

	if (!zset_range_options(x, &scores, &reverse) || !exec_int(x, 2, &from) ||
	    !exec_int(x, 3, &to))
		return;
	e = exec_find_typed(x, VALUE_ZSET, &ok);
	if (!ok)
		return;
	n = e ? (int64_t)e->value.zset->table.count : 0;
	from = from < 0 ? from + n : from;
	from = from < 0 ? 0 : from;
	to = to < 0 ? to + n : to;
	to = to >= n ? n - 1 : to;
	pairs = scores && x->w->resp3;
	n = from > to ? 0 : to - from + 1;
	writer_array(x->w, (size_t)(scores && !pairs ? 2 * n : n));
	for (int64_t i = from; n > 0 && i <= to; i++) {
		size_t rank = reverse ? e->value.zset->table.count - 1 - (size_t)i : (size_t)i;

		zset_give(x, zset_at(e->value.zset, rank), scores, pairs);
	}
}

enum { G = COMMAND_WRITES | COMMAND_GROWS, W = COMMAND_WRITES, F = COMMAND_FAST };

const struct command zset_commands[] = {
	{ "zadd", -4, G | F, ROUTE_KEY, 1, 1, 1, zset_zadd, NULL },
	{ "zincrby", 4, G | F, ROUTE_KEY, 1, 1, 1, zset_zincrby, NULL },
	{ "zrem", -3, W | F, ROUTE_KEY, 1, 1, 1, zset_zrem, NULL },
	{ "zscore", 3, F, ROUTE_KEY, 1, 1, 1, zset_zscore, NULL },
	{ "zrank", 3, F, ROUTE_KEY, 1, 1, 1, zset_zscore, NULL },
	{ "zrevrank", 3, F, ROUTE_KEY, 1, 1, 1, zset_zscore, NULL },
	{ "zcard", 2, F, ROUTE_KEY, 1, 1, 1, zset_zcard, NULL },
	{ "zpopmin", -2, W | F, ROUTE_KEY, 1, 1, 1, zset_zpop, NULL },
	{ "zpopmax", -2, W | F, ROUTE_KEY, 1, 1, 1, zset_zpop, NULL },
	{ "zrange", -4, 0, ROUTE_KEY, 1, 1, 1, zset_zrange, NULL },
	{ "zrevrange", -4, 0, ROUTE_KEY, 1, 1, 1, zset_zrange, NULL },
	{ 0 },
};
