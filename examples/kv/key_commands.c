/* SPDX-License-Identifier: BSD-2-Clause */
/* key_commands: keys of whatever type: their life, their names, their number. */
#include <limits.h>
#include <string.h>

#include "chance.h"
#include "commands.h"
#include "expire.h"
#include "number.h"
#include "pattern.h"

/* ------------------------------------------------------------------ there or not */

static void key_del(struct exec *x)
{
	struct entry *e;
	int64_t n = 0;

	for (int i = 1; i < x->argc; i++)
		if ((e = exec_find_key(x, i))) {
			keyspace_remove(&x->shard->keys, e);
			n++;
		}
	writer_int(x->w, n);
}

static void key_exists(struct exec *x)
{
	int64_t n = 0;

	for (int i = 1; i < x->argc; i++)
		n += exec_find_key(x, i) != NULL;
	writer_int(x->w, n);
}

static void key_type(struct exec *x)
{
	struct entry *e = exec_find(x);
	const char *name = e ? value_name(e->value.type) : "none";

	writer_text(x->w, "+");
	writer_raw(x->w, name, strlen(name));
	writer_text(x->w, "\r\n");
}

/* What argv[2] was is gone then, also when it would have ended. */
static void key_move(struct exec *x, struct entry *from, struct entry *to)
{
	struct keyspace *k = &x->shard->keys;
	int64_t when = expiry_when(&k->expiry, from);
	struct entry *e = to;

	if (to) {
		expiry_clear(&k->expiry, to);
	} else if (keyspace_add(k, x->db, &x->argv[2], exec_hash(x, 2), from->value, &e) < 0) {
		exec_no_memory(x);
		return;
	}
	if (to)
		keyspace_change(k, to, keyspace_take(k, from));
	else
		keyspace_take(k, from);
	if (when >= 0)
		keyspace_expire(k, e, when);
}

static void key_rename(struct exec *x)
{
	struct entry *from = exec_find(x), *to = exec_find_key(x, 2);
	bool nx = x->command->flags & COMMAND_FAST; /* RENAMENX */

	if (!from)
		writer_text(x->w, "-ERR no such key\r\n");
	else if (nx && to)
		writer_int(x->w, 0);
	else {
		if (from != to)
			key_move(x, from, to);
		if (nx)
			writer_int(x->w, 1);
		else
			writer_ok(x->w);
	}
}

/* ------------------------------------------------------------------ their end */

enum { IF_NX = 1, IF_XX = 2, IF_GT = 4, IF_LT = 8 };

static bool key_expire_flags(struct exec *x, unsigned *ret)
{
	static const char *const names[] = { "nx", "xx", "gt", "lt" };

	for (int i = 3, k; i < x->argc; i++) {
		for (k = 0; k < 4 && !exec_is(x, i, names[k]); k++)
			;
		if (k == 4) {
			writer_error(x->w, "ERR Unsupported option %.*s",
				     (int)(x->argv[i].n < 128 ? x->argv[i].n : 128), x->argv[i].p);
			return false;
		}
		*ret |= 1u << k;
	}
	if ((*ret & IF_NX) && (*ret & ~(unsigned)IF_NX))
		writer_text(
			x->w,
			"-ERR NX and XX, GT or LT options at the same time are not compatible\r\n");
	else if ((*ret & IF_GT) && (*ret & IF_LT))
		writer_text(x->w, "-ERR GT and LT options at the same time are not compatible\r\n");
	else
		return true;
	return false;
}

static bool key_expire_may(unsigned flags, int64_t was, int64_t when)
{
	return !((flags & IF_NX && was != -1) || (flags & IF_XX && was == -1) ||
		 (flags & IF_GT && (was == -1 || when <= was)) ||
		 (flags & IF_LT && was != -1 && when >= was));
}

/* EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT. */
static void key_expire(struct exec *x)
{
	const char *name = x->command->name;
	int64_t unit = name[0] == 'p' ? 1 : 1000, when;
	int64_t base = name[strlen(name) - 1] == 't' ? 0 : keyspace_now(&x->shard->keys);
	unsigned flags = 0;
	struct entry *e;

	if (!key_expire_flags(x, &flags) || !exec_int(x, 2, &when))
		return;
	if (when > INT64_MAX / unit || when < INT64_MIN / unit || when * unit > INT64_MAX - base) {
		writer_error(x->w, "ERR invalid expire time in '%s' command", name);
		return;
	}
	when = when * unit + base;
	e = exec_find(x);
	if (!e || !key_expire_may(flags, expiry_when(&x->shard->keys.expiry, e), when)) {
		writer_int(x->w, 0);
		return;
	}
	expire_entry(x, e, when);
	writer_int(x->w, 1);
}

/* TTL, PTTL, EXPIRETIME, PEXPIRETIME. */
static void key_ttl(struct exec *x)
{
	const char *name = x->command->name;
	struct entry *e = exec_find(x);
	int64_t when = e ? expiry_when(&x->shard->keys.expiry, e) : -2;

	if (when >= 0) {
		if (name[strlen(name) - 1] == 'l')
			when -= keyspace_now(&x->shard->keys);
		if (name[0] != 'p')
			when = when / 1000 + (when % 1000 >= 500); /* it may be INT64_MAX */
	}
	writer_int(x->w, when);
}

static void key_persist(struct exec *x)
{
	struct entry *e = exec_find(x);

	writer_int(x->w, e && expiry_clear(&x->shard->keys.expiry, e));
}

/* ------------------------------------------------------------------ many of them */

struct scan {
	struct exec *x;
	struct writer w; /* of the keys, which are counted before they are sent */
	const struct arg *pattern, *type;
	size_t seen, n;
};

static bool key_is_over(struct scan *s, struct entry *e)
{
	struct keyspace *k = &s->x->shard->keys;

	return e->expiry && expiry_when(&k->expiry, e) <= keyspace_now(k);
}

static void key_give(struct node *node, void *arg)
{
	struct entry *e = (struct entry *)node;
	struct scan *s = arg;
	const char *type = value_name(e->value.type);

	s->seen++;
	if ((s->pattern && !pattern_matches(s->pattern->p, s->pattern->n, e->key, e->node.n)) ||
	    (s->type &&
	     (s->type->n != strlen(type) || memcmp(s->type->p, type, s->type->n) != 0)) ||
	    key_is_over(s, e))
		return;
	s->n++;
	writer_bulk(&s->w, e->key, e->node.n);
}

static int key_scan_open(struct scan *s, struct exec *x)
{
	struct np_linkbuf *b;

	*s = (struct scan){ .x = x };
	if (np_linkbuf_new(0, &b) < 0) {
		exec_no_memory(x);
		return -1;
	}
	writer_open(&s->w, b, false);
	return 0;
}

static void key_scan_close(struct scan *s)
{
	struct np_linkbuf *b = s->w.b;
	int r = writer_close(&s->w);

	if (r < 0) {
		np_linkbuf_free(&b);
		exec_no_memory(s->x);
		return;
	}
	writer_array(s->x->w, s->n);
	writer_append(s->x->w, &b);
}

static void key_keys(struct exec *x)
{
	struct scan s;

	if (key_scan_open(&s, x) < 0)
		return;
	s.pattern = &x->argv[1];
	table_each(&x->shard->keys.db[x->db], key_give, &s);
	key_scan_close(&s);
}

/* Return: false: the answer has been written. */
static bool key_scan_options(struct exec *x, struct scan *s, int64_t *ret_count)
{
	for (int i = 2; i < x->argc; i += 2) {
		if (exec_is(x, i, "count") && i + 1 < x->argc) {
			if (!exec_int(x, i + 1, ret_count))
				return false;
		} else if (exec_is(x, i, "match") && i + 1 < x->argc) {
			s->pattern = &x->argv[i + 1];
		} else if (exec_is(x, i, "type") && i + 1 < x->argc) {
			s->type = &x->argv[i + 1];
		} else {
			*ret_count = 0;
		}
		if (*ret_count < 1) {
			writer_syntax_error(x->w);
			return false;
		}
	}
	return true;
}

/*
 * The cursor of a client is that of a shard times their number, and the shard: it goes on at the
 * next one where a shard has come to its end.
 */
static uint64_t key_next_cursor(const struct exec *x, uint64_t cursor)
{
	uint64_t n = (uint64_t)shards.n, at = (uint64_t)x->shard->index;

	if (cursor)
		return cursor * n + at;
	return at + 1 < n ? at + 1 : 0;
}

static void key_scan(struct exec *x)
{
	int64_t cursor, count = 10;
	char text[NUMBER_MAX];
	struct scan s;
	uint64_t at;

	if (number_parse(x->argv[1].p, x->argv[1].n, &cursor) < 0 || cursor < 0) {
		writer_text(x->w, "-ERR invalid cursor\r\n");
		return;
	}
	if (key_scan_open(&s, x) < 0)
		return;
	if (!key_scan_options(x, &s, &count)) {
		np_linkbuf_free(&s.w.b);
		return;
	}
	at = (uint64_t)cursor / (uint64_t)shards.n;
	for (int64_t left = count > INT64_MAX / 10 ? INT64_MAX : 10 * count; left; left--) {
		at = table_scan(&x->shard->keys.db[x->db], at, key_give, &s);
		if (!at || s.seen >= (uint64_t)count)
			break;
	}
	writer_array(x->w, 2);
	writer_bulk(x->w, text, number_write(text, (int64_t)key_next_cursor(x, at)));
	key_scan_close(&s);
}

static void key_random(struct exec *x)
{
	struct keyspace *k = &x->shard->keys;
	struct scan s = { .x = x };
	struct entry *e;

	while ((e = (struct entry *)table_random(&k->db[x->db])) && key_is_over(&s, e))
		keyspace_remove(k, e);
	if (e)
		writer_bulk(x->w, e->key, e->node.n);
	else
		writer_nil(x->w);
}

static void key_dbsize(struct exec *x)
{
	writer_int(x->w, (int64_t)x->shard->keys.db[x->db].count);
}

static bool key_flush_option(struct exec *x)
{
	if (x->argc == 1 || (x->argc == 2 && (exec_is(x, 1, "async") || exec_is(x, 1, "sync"))))
		return true;
	writer_syntax_error(x->w);
	return false;
}

static void key_flushdb(struct exec *x)
{
	if (!key_flush_option(x))
		return;
	keyspace_flush(&x->shard->keys, x->db);
	writer_ok(x->w);
}

static void key_flushall(struct exec *x)
{
	if (!key_flush_option(x))
		return;
	for (int i = 0; i < DATABASES; i++)
		keyspace_flush(&x->shard->keys, i);
	writer_ok(x->w);
}

enum { W = COMMAND_WRITES, F = COMMAND_FAST };

const struct command key_commands[] = {
	{ "del", -2, W, ROUTE_KEYS_SUM, 1, -1, 1, key_del, NULL },
	{ "unlink", -2, W | F, ROUTE_KEYS_SUM, 1, -1, 1, key_del, NULL },
	{ "exists", -2, F, ROUTE_KEYS_SUM, 1, -1, 1, key_exists, NULL },
	{ "touch", -2, F, ROUTE_KEYS_SUM, 1, -1, 1, key_exists, NULL },
	{ "type", 2, F, ROUTE_KEY, 1, 1, 1, key_type, NULL },
	{ "rename", 3, W, ROUTE_KEYS, 1, 2, 1, key_rename, NULL },
	{ "renamenx", 3, W | F, ROUTE_KEYS, 1, 2, 1, key_rename, NULL },
	{ "expire", -3, W | F, ROUTE_KEY, 1, 1, 1, key_expire, NULL },
	{ "pexpire", -3, W | F, ROUTE_KEY, 1, 1, 1, key_expire, NULL },
	{ "expireat", -3, W | F, ROUTE_KEY, 1, 1, 1, key_expire, NULL },
	{ "pexpireat", -3, W | F, ROUTE_KEY, 1, 1, 1, key_expire, NULL },
	{ "ttl", 2, F, ROUTE_KEY, 1, 1, 1, key_ttl, NULL },
	{ "pttl", 2, F, ROUTE_KEY, 1, 1, 1, key_ttl, NULL },
	{ "expiretime", 2, F, ROUTE_KEY, 1, 1, 1, key_ttl, NULL },
	{ "pexpiretime", 2, F, ROUTE_KEY, 1, 1, 1, key_ttl, NULL },
	{ "persist", 2, W | F, ROUTE_KEY, 1, 1, 1, key_persist, NULL },
	{ "keys", 2, 0, ROUTE_EVERY_LIST, 0, 0, 0, key_keys, NULL },
	{ "scan", -2, 0, ROUTE_CURSOR, 0, 0, 0, key_scan, NULL },
	{ "randomkey", 1, 0, ROUTE_EVERY_SOME, 0, 0, 0, key_random, NULL },
	{ "dbsize", 1, F, ROUTE_EVERY_SUM, 0, 0, 0, key_dbsize, NULL },
	{ "flushdb", -1, W, ROUTE_EVERY_OK, 0, 0, 0, key_flushdb, NULL },
	{ "flushall", -1, W, ROUTE_EVERY_OK, 0, 0, 0, key_flushall, NULL },
	{ 0 },
};
