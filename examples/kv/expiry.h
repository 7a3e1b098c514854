/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * expiry: keys by the moment at which they end: a heap, the soonest first
 *
 * A key knows its place in it. So what is due is known without a look at keys that are not.
 */
#ifndef KV_EXPIRY_H
#define KV_EXPIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATABASES 16

struct entry;

struct due {
	int64_t when_ms; /* of the wall clock */
	struct entry *entry;
};

struct expiry {
	struct due *at; /* from 1 on: place 0 is that of a key that does not end */
	uint32_t n, cap;
	uint32_t in_db[DATABASES]; /* of each database */
};

/* The key ends at @when_ms, in the place of what was said before. Return: 0; -ENOMEM. */
int expiry_set(struct expiry *x, struct entry *e, int64_t when_ms);
/* It does not end any more. Return: whether it would have. */
bool expiry_clear(struct expiry *x, struct entry *e);
/* -1: it does not end. */
int64_t expiry_when(const struct expiry *x, const struct entry *e);
/* The one that ends first, if it has by then; NULL. */
struct entry *expiry_due(const struct expiry *x, int64_t now_ms);
/* -1: there is none. */
int64_t expiry_next(const struct expiry *x);
/* All keys of a database, which are forgotten. */
void expiry_forget(struct expiry *x, int db);
void expiry_fini(struct expiry *x);

#endif
