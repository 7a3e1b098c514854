/* SPDX-License-Identifier: BSD-2-Clause */
/* expiry: a binary heap in an array. */
#include "expiry.h"

#include <errno.h>
#include <stdlib.h>

#include "keyspace.h"
#include "memory.h"

static void expiry_put(struct expiry *x, uint32_t at, struct due due)
{
	x->at[at] = due;
	due.entry->expiry = at;
}

/* @due to where it belongs, from the free place @at on. */
static void expiry_sift(struct expiry *x, uint32_t at, struct due due)
{
	uint32_t child;

	for (; at > 1 && x->at[at / 2].when_ms > due.when_ms; at /= 2)
		expiry_put(x, at, x->at[at / 2]);
	for (; (child = 2 * at) <= x->n; at = child) {
		if (child < x->n && x->at[child + 1].when_ms < x->at[child].when_ms)
			child++;
		if (x->at[child].when_ms >= due.when_ms)
			break;
		expiry_put(x, at, x->at[child]);
	}
	expiry_put(x, at, due);
}

static int expiry_room(struct expiry *x)
{
	uint32_t cap = x->cap ? 2 * x->cap : 64;
	struct due *at;

	if (x->n + 1 < x->cap)
		return 0;
	if (x->n == UINT32_MAX / 2)
		return -ENOMEM;
	if (x->at)
		memory_uncount(x->at);
	at = realloc(x->at, cap * sizeof *at);
	if (at) {
		x->at = at;
		x->cap = cap;
	}
	memory_count(x->at);
	return at ? 0 : -ENOMEM;
}

int expiry_set(struct expiry *x, struct entry *e, int64_t when_ms)
{
	int r = e->expiry ? 0 : expiry_room(x);

	if (r < 0)
		return r;
	x->in_db[e->db] += !e->expiry;
	expiry_sift(x, e->expiry ? e->expiry : ++x->n, (struct due){ when_ms, e });
	return 0;
}

bool expiry_clear(struct expiry *x, struct entry *e)
{
	uint32_t at = e->expiry;
	struct due last;

	if (!at)
		return false;
	e->expiry = 0;
	x->in_db[e->db]--;
	last = x->at[x->n--];
	if (last.entry != e)
		expiry_sift(x, at, last);
	return true;
}

int64_t expiry_when(const struct expiry *x, const struct entry *e)
{
	return e->expiry ? x->at[e->expiry].when_ms : -1;
}

struct entry *expiry_due(const struct expiry *x, int64_t now_ms)
{
	return x->n && x->at[1].when_ms <= now_ms ? x->at[1].entry : NULL;
}

int64_t expiry_next(const struct expiry *x)
{
	return x->n ? x->at[1].when_ms : -1;
}

void expiry_forget(struct expiry *x, int db)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i <= x->n; i++)
		if (x->at[i].entry->db != db)
			x->at[++n] = x->at[i];
	x->n = n;
	x->in_db[db] = 0;
	for (uint32_t i = 1; i <= n; i++)
		x->at[i].entry->expiry = i;
	for (uint32_t i = n / 2; i > 0; i--)
		expiry_sift(x, i, x->at[i]);
}

void expiry_fini(struct expiry *x)
{
	memory_free(x->at);
	*x = (struct expiry){ 0 };
}
