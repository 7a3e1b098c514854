/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyspace: the keys of one shard, in sixteen databases, and when they end
 *
 * A key whose time has come is removed by a look for it, or by keyspace_tend(), so nobody
 * finds it. Thread: the shard's alone.
 */
#ifndef KV_KEYSPACE_H
#define KV_KEYSPACE_H

#include <stdint.h>

#include "expiry.h"
#include "reader.h"
#include "table.h"
#include "value.h"

struct entry {
	struct node node;
	uint32_t expiry; /* its place in keyspace.expiry; 0: it does not end */
	uint16_t db;
	struct value value;
	char key[];
};

struct grave;

struct keyspace {
	struct table db[DATABASES];
	struct expiry expiry;
	struct grave *graves; /* what is freed bit by bit */
	int64_t now_ms;       /* 0: not asked for since keyspace_turn() */
	uint64_t expired, hits, misses;
};

void keyspace_init(struct keyspace *k);
void keyspace_fini(struct keyspace *k);
/* Another batch of commands begins: the clock is read anew when one asks for it. */
void keyspace_turn(struct keyspace *k);
/* Milliseconds of the wall clock. */
int64_t keyspace_now(struct keyspace *k);

struct entry *keyspace_find(struct keyspace *k, int db, const struct arg *key, uint64_t hash);
/* @value is taken where it is 0. It is no key yet. Return: 0; -ENOMEM. */
int keyspace_add(struct keyspace *k, int db, const struct arg *key, uint64_t hash,
		 struct value value, struct entry **ret);
void keyspace_remove(struct keyspace *k, struct entry *e);
/* Another value in the place of its own. */
void keyspace_change(struct keyspace *k, struct entry *e, struct value value);
/* Removed as an entry, its value handed out. */
struct value keyspace_take(struct keyspace *k, struct entry *e);
/* Return: 0; -ENOMEM. */
int keyspace_expire(struct keyspace *k, struct entry *e, int64_t when_ms);
/* All keys of a database. */
void keyspace_flush(struct keyspace *k, int db);
/*
 * keyspace_tend() - remove keys whose time has come, and free what was flushed: a bounded part
 *
 * Return: in how many milliseconds there is more to do; -1: nothing is.
 */
int keyspace_tend(struct keyspace *k);

#endif
