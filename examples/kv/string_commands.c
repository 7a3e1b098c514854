/* SPDX-License-Identifier: BSD-2-Clause */
/* string_commands: GET, SET and what else is about strings. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "expire.h"
#include "number.h"
#include "text.h"

#define REF_AT 16384u /* a longer value goes out without a copy */

static void string_reply(struct exec *x, struct text *t)
{
	if (t->n < REF_AT)
		writer_bulk(x->w, t->data, t->n);
	else
		writer_bulk_ref(x->w, t->data, t->n, text_unref, text_ref(t));
}

static struct text *string_new(const struct arg *value)
{
	struct text *t = text_new(value->n);

	if (t) {
		memcpy(t->data, value->p, value->n);
		t->n = value->n;
	}
	return t;
}

/* In the memory of the value that it replaces, where that fits and is not much larger. */
static bool string_overwrite(struct entry *e, const struct arg *value)
{
	struct text *t = e->value.text;

	if (e->value.type != VALUE_STRING || value->n > t->cap || value->n < t->cap / 4 ||
	    !text_is_own(t))
		return false;
	memcpy(t->data, value->p, value->n);
	t->n = value->n;
	return true;
}

/* Key argv[i] becomes argv[i + 1], whatever it was. */
static int string_put(struct exec *x, int i, struct entry *e, struct entry **ret)
{
	struct value v = { .type = VALUE_STRING };

	if (e && string_overwrite(e, &x->argv[i + 1])) {
		*ret = e;
		return 0;
	}
	v.text = string_new(&x->argv[i + 1]);
	if (!v.text)
		return -ENOMEM;
	if (e) {
		keyspace_change(&x->shard->keys, e, v);
		*ret = e;
		return 0;
	}
	if (keyspace_add(&x->shard->keys, x->db, &x->argv[i], exec_hash(x, i), v, ret) == 0)
		return 0;
	text_free(v.text);
	return -ENOMEM;
}

static int string_put_plain(struct exec *x, int i)
{
	struct entry *e = exec_find_key(x, i);
	int r = string_put(x, i, e, &e);

	if (r == 0)
		expiry_clear(&x->shard->keys.expiry, e);
	return r;
}

/* ------------------------------------------------------------------ GET, SET */

static void string_get(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_STRING, &ok);

	if (e)
		string_reply(x, e->value.text);
	else if (ok)
		writer_nil(x->w);
	x->shard->keys.hits += e != NULL;
	x->shard->keys.misses += ok && !e;
}

enum { SET_NX = 1, SET_XX = 2, SET_GET = 4, SET_KEEP = 8 };

struct set_options {
	unsigned flags;
	struct expire_option expire;
};

static bool string_set_flag(struct exec *x, int i, struct set_options *o)
{
	if (exec_is(x, i, "nx") && !(o->flags & SET_XX))
		o->flags |= SET_NX;
	else if (exec_is(x, i, "xx") && !(o->flags & SET_NX))
		o->flags |= SET_XX;
	else if (exec_is(x, i, "get"))
		o->flags |= SET_GET;
	else if (exec_is(x, i, "keepttl") && !o->expire.at)
		o->flags |= SET_KEEP;
	else
		return false;
	return true;
}

static bool string_set_options(struct exec *x, struct set_options *o)
{
	for (int i = 3; i < x->argc; i++) {
		if (string_set_flag(x, i, o))
			continue;
		if ((o->flags & SET_KEEP) || !expire_option(x, i, &o->expire)) {
			writer_syntax_error(x->w);
			return false;
		}
		i++;
	}
	return !o->expire.at || expire_option_when(x, &o->expire);
}

/* Return: whether it was a string, or nothing. */
static bool string_set_get(struct exec *x, struct entry *e)
{
	if (e && e->value.type != VALUE_STRING) {
		writer_wrong_type(x->w);
		return false;
	}
	if (e)
		string_reply(x, e->value.text);
	else
		writer_nil(x->w);
	return true;
}

static void string_set_with(struct exec *x, struct set_options *o)
{
	struct entry *e = exec_find(x);
	int r = 0;

	if ((o->flags & SET_GET) && !string_set_get(x, e))
		return;
	if ((o->flags & SET_NX && e) || (o->flags & SET_XX && !e)) {
		if (!(o->flags & SET_GET))
			writer_nil(x->w);
		return;
	}
	r = string_put(x, 1, e, &e);
	if (r == 0 && o->expire.at)
		r = keyspace_expire(&x->shard->keys, e, o->expire.when_ms);
	else if (r == 0 && !(o->flags & SET_KEEP))
		expiry_clear(&x->shard->keys.expiry, e);
	if (o->flags & SET_GET)
		return;
	if (r < 0)
		exec_no_memory(x);
	else
		writer_ok(x->w);
}

static void string_set(struct exec *x)
{
	struct set_options o = { 0 };

	if (x->argc == 3 || string_set_options(x, &o))
		string_set_with(x, &o);
}

static void string_setnx(struct exec *x)
{
	struct entry *e = exec_find(x);

	if (e)
		writer_int(x->w, 0);
	else if (string_put(x, 1, NULL, &e) < 0)
		exec_no_memory(x);
	else
		writer_int(x->w, 1);
}

/* SETEX, PSETEX: the value is the last argument. */
static void string_setex(struct exec *x)
{
	struct set_options o = { .expire = { .at = 2, .unit_ms = 1000 } };
	struct arg argv[3] = { x->argv[0], x->argv[1], x->argv[3] };

	if (x->command->name[0] == 'p')
		o.expire.unit_ms = 1;
	if (!expire_option_when(x, &o.expire))
		return;
	x->argv = argv;
	string_set_with(x, &o);
}

static void string_getset(struct exec *x)
{
	struct set_options o = { .flags = SET_GET };

	string_set_with(x, &o);
}

static void string_getdel(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_STRING, &ok);

	if (e) {
		string_reply(x, e->value.text);
		keyspace_remove(&x->shard->keys, e);
	} else if (ok) {
		writer_nil(x->w);
	}
}

/* Return: false: the answer has been written. */
static bool string_getex_option(struct exec *x, struct expire_option *o, bool *ret_persist)
{
	for (int i = 2; i < x->argc; i++) {
		if (exec_is(x, i, "persist") && !o->at)
			*ret_persist = true;
		else if (!*ret_persist && expire_option(x, i, o))
			i++;
		else {
			writer_syntax_error(x->w);
			return false;
		}
	}
	return true;
}

static void string_getex(struct exec *x)
{
	struct expire_option o = { 0 };
	bool persist = false, ok;
	struct entry *e;

	if (!string_getex_option(x, &o, &persist))
		return;
	e = exec_find_typed(x, VALUE_STRING, &ok);
	if (ok && !e)
		writer_nil(x->w);
	if (!e || (o.at && !expire_option_when(x, &o)))
		return;
	string_reply(x, e->value.text);
	if (persist)
		expiry_clear(&x->shard->keys.expiry, e);
	else if (o.at)
		expire_entry(x, e, o.when_ms);
}

/* ------------------------------------------------------------------ several keys */

static void string_mget_one(struct exec *x, int i)
{
	struct entry *e = exec_find_key(x, i);

	if (e && e->value.type == VALUE_STRING)
		string_reply(x, e->value.text);
	else
		writer_nil(x->w);
}

static void string_mget(struct exec *x)
{
	writer_array(x->w, (size_t)x->argc - 1);
	for (int i = 1; i < x->argc; i++)
		string_mget_one(x, i);
}

static void string_mget_part(struct exec *x)
{
	string_mget_one(x, 1);
}

static bool string_pairs(struct exec *x)
{
	if (x->argc % 2)
		return true;
	writer_error(x->w, "ERR wrong number of arguments for '%s' command", x->command->name);
	return false;
}

static void string_mset(struct exec *x)
{
	int r = 0;

	if (!string_pairs(x))
		return;
	for (int i = 1; i < x->argc && r == 0; i += 2)
		r = string_put_plain(x, i);
	if (r < 0)
		exec_no_memory(x);
	else
		writer_ok(x->w);
}

static void string_msetnx(struct exec *x)
{
	int r = 0;

	if (!string_pairs(x))
		return;
	for (int i = 1; i < x->argc; i += 2)
		if (exec_find_key(x, i)) {
			writer_int(x->w, 0);
			return;
		}
	for (int i = 1; i < x->argc && r == 0; i += 2)
		r = string_put_plain(x, i);
	if (r < 0)
		exec_no_memory(x);
	else
		writer_int(x->w, 1);
}

/* ------------------------------------------------------------------ numbers */

/* What it was goes on to end when it would have. */
static int string_put_kept(struct exec *x, struct entry *e, const char *p, size_t n)
{
	struct arg argv[3] = { x->argv[0], x->argv[1], { p, n } };
	const struct arg *was = x->argv;
	int r;

	x->argv = argv;
	r = string_put(x, 1, e, &e);
	x->argv = was;
	return r;
}

static void string_add(struct exec *x, int64_t by)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_STRING, &ok);
	char text[NUMBER_MAX];
	int64_t v = 0;

	if (!ok)
		return;
	if (e && number_parse(e->value.text->data, e->value.text->n, &v) < 0)
		writer_not_integer(x->w);
	else if (__builtin_add_overflow(v, by, &v))
		writer_text(x->w, "-ERR increment or decrement would overflow\r\n");
	else if (string_put_kept(x, e, text, number_write(text, v)) < 0)
		exec_no_memory(x);
	else
		writer_int(x->w, v);
}

static void string_incr(struct exec *x)
{
	string_add(x, 1);
}

static void string_decr(struct exec *x)
{
	string_add(x, -1);
}

static void string_incrby(struct exec *x)
{
	int64_t by;

	if (exec_int(x, 2, &by))
		string_add(x, by);
}

static void string_decrby(struct exec *x)
{
	int64_t by;

	if (!exec_int(x, 2, &by))
		return;
	if (by == INT64_MIN)
		writer_text(x->w, "-ERR decrement would overflow\r\n");
	else
		string_add(x, -by);
}

/* 17 digits behind the point, without zeroes at the end. */
static size_t string_float(char *text, size_t cap, long double v)
{
	size_t n = (size_t)snprintf(text, cap, "%.17Lf", v);

	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	if (n == 2 && !memcmp(text, "-0", 2)) {
		text[0] = '0';
		n = 1;
	}
	return n;
}

static void string_incrbyfloat(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_STRING, &ok);
	long double v = 0, by;
	char text[5120];
	size_t n;

	if (!ok)
		return;
	if ((e && number_parse_float(e->value.text->data, e->value.text->n, &v) < 0) ||
	    number_parse_float(x->argv[2].p, x->argv[2].n, &by) < 0) {
		writer_text(x->w, "-ERR value is not a valid float\r\n");
		return;
	}
	if (isnan(v + by) || isinf(v + by)) {
		writer_text(x->w, "-ERR increment would produce NaN or Infinity\r\n");
		return;
	}
	n = string_float(text, sizeof text, v + by);
	if (string_put_kept(x, e, text, n) < 0)
		exec_no_memory(x);
	else
		writer_bulk(x->w, text, n);
}

/* ------------------------------------------------------------------ parts */

static void string_strlen(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_STRING, &ok);

	if (ok)
		writer_int(x->w, e ? (int64_t)e->value.text->n : 0);
}

/* Return: whether it may be so long; if not, the answer has been written. */
static bool string_length_ok(struct exec *x, uint64_t n)
{
	if (n <= READER_BULK_MAX)
		return true;
	writer_text(x->w, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
	return false;
}

/* @p over what is at @from on; what is missing before it becomes zeroes. */
static void string_patch(struct exec *x, struct entry *e, size_t from, const struct arg *with)
{
	struct text *t = e->value.text;
	size_t n = from + with->n > t->n ? from + with->n : t->n;

	if (text_fit(&e->value.text, n) < 0) {
		exec_no_memory(x);
		return;
	}
	t = e->value.text;
	if (from > t->n)
		memset(t->data + t->n, 0, from - t->n);
	memcpy(t->data + from, with->p, with->n);
	t->n = n;
	writer_int(x->w, (int64_t)n);
}

static struct entry *string_empty(struct exec *x)
{
	struct entry *e;

	if (string_put_kept(x, NULL, "", 0) < 0) {
		exec_no_memory(x);
		return NULL;
	}
	e = exec_find(x);
	return e;
}

static void string_append(struct exec *x)
{
	bool ok;
	struct entry *e = exec_find_typed(x, VALUE_STRING, &ok);

	if (!ok || !string_length_ok(x, (e ? e->value.text->n : 0) + x->argv[2].n))
		return;
	e = e ? e : string_empty(x);
	if (e)
		string_patch(x, e, e->value.text->n, &x->argv[2]);
}

static void string_setrange(struct exec *x)
{
	struct entry *e;
	int64_t from;
	bool ok;

	if (!exec_int(x, 2, &from))
		return;
	if (from < 0) {
		writer_text(x->w, "-ERR offset is out of range\r\n");
		return;
	}
	e = exec_find_typed(x, VALUE_STRING, &ok);
	if (!ok)
		return;
	if (!x->argv[3].n) {
		writer_int(x->w, e ? (int64_t)e->value.text->n : 0);
		return;
	}
	if (!string_length_ok(x, (uint64_t)from + x->argv[3].n))
		return;
	e = e ? e : string_empty(x);
	if (e)
		string_patch(x, e, (size_t)from, &x->argv[3]);
}

static void string_getrange(struct exec *x)
{
	int64_t from, to, n;
	struct entry *e;
	bool ok;

	if (!exec_int(x, 2, &from) || !exec_int(x, 3, &to))
		return;
	e = exec_find_typed(x, VALUE_STRING, &ok);
	if (!ok)
		return;
	n = e ? (int64_t)e->value.text->n : 0;
	if (from < 0 && to < 0 && from > to)
		n = 0;
	from = from < 0 ? (from + n < 0 ? 0 : from + n) : from;
	to = to < 0 ? (to + n < 0 ? 0 : to + n) : to;
	to = to >= n ? n - 1 : to;
	if (!n || from > to)
		writer_text(x->w, "$0\r\n\r\n");
	else
		writer_bulk(x->w, e->value.text->data + from, (size_t)(to - from) + 1);
}

enum { G = COMMAND_WRITES | COMMAND_GROWS, W = COMMAND_WRITES, F = COMMAND_FAST };

static const struct command string_part_get = {
	.name = "mget",
	.arity = 2,
	.flags = F,
	.route = ROUTE_KEY,
	.first = 1,
	.last = 1,
	.step = 1,
	.fn = string_mget_part,
};
static const struct command string_part_set = {
	.name = "mset",
	.arity = 3,
	.flags = G,
	.route = ROUTE_KEY,
	.first = 1,
	.last = 1,
	.step = 1,
	.fn = string_set,
};

const struct command string_commands[] = {
	{ "get", 2, F, ROUTE_KEY, 1, 1, 1, string_get, NULL },
	{ "set", -3, G, ROUTE_KEY, 1, 1, 1, string_set, NULL },
	{ "setnx", 3, G | F, ROUTE_KEY, 1, 1, 1, string_setnx, NULL },
	{ "setex", 4, G, ROUTE_KEY, 1, 1, 1, string_setex, NULL },
	{ "psetex", 4, G, ROUTE_KEY, 1, 1, 1, string_setex, NULL },
	{ "getset", 3, G | F, ROUTE_KEY, 1, 1, 1, string_getset, NULL },
	{ "getdel", 2, W | F, ROUTE_KEY, 1, 1, 1, string_getdel, NULL },
	{ "getex", -2, W | F, ROUTE_KEY, 1, 1, 1, string_getex, NULL },
	{ "mget", -2, F, ROUTE_KEYS_MGET, 1, -1, 1, string_mget, &string_part_get },
	{ "mset", -3, G, ROUTE_KEYS_MSET, 1, -1, 2, string_mset, &string_part_set },
	{ "msetnx", -3, G, ROUTE_KEYS, 1, -1, 2, string_msetnx, NULL },
	{ "incr", 2, G | F, ROUTE_KEY, 1, 1, 1, string_incr, NULL },
	{ "decr", 2, G | F, ROUTE_KEY, 1, 1, 1, string_decr, NULL },
	{ "incrby", 3, G | F, ROUTE_KEY, 1, 1, 1, string_incrby, NULL },
	{ "decrby", 3, G | F, ROUTE_KEY, 1, 1, 1, string_decrby, NULL },
	{ "incrbyfloat", 3, G | F, ROUTE_KEY, 1, 1, 1, string_incrbyfloat, NULL },
	{ "strlen", 2, F, ROUTE_KEY, 1, 1, 1, string_strlen, NULL },
	{ "append", 3, G | F, ROUTE_KEY, 1, 1, 1, string_append, NULL },
	{ "setrange", 4, G, ROUTE_KEY, 1, 1, 1, string_setrange, NULL },
	{ "getrange", 4, 0, ROUTE_KEY, 1, 1, 1, string_getrange, NULL },
	{ "substr", 4, 0, ROUTE_KEY, 1, 1, 1, string_getrange, NULL },
	{ 0 },
};
