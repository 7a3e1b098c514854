/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table: which worker a client belongs to under "maglev"
 *
 * Maglev's way (Eisenbud et al., NSDI '16): each worker has an order of its own over the table's
 * entries, and in turn they take the next one of theirs that is free. All end up with as many
 * entries as the others, give or take one, and when a worker comes or goes, few entries change
 * hands but its own.
 *
 * The paper's table is of a prime size, so that every skip meets every entry. Here it is a power of
 * two and the skip is odd, which does the same. Weights are not the table's matter: the bound on
 * loads is by weight.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bpf.h>

#include "steer/steer.h"

static uint32_t table_mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x7feb352du;
	x ^= x >> 15;
	x *= 0x846ca68bu;
	return x ^ (x >> 16);
}

/* A worker's order: at, at + skip, at + 2 * skip ... */
struct order {
	uint32_t at, skip;
};

static void table_fill(struct np_table *t, struct order *o, const struct roster_entry *e,
		       unsigned n)
{
	unsigned left = NP_TABLE;

	for (unsigned i = 0; i < n; i++) {
		o[i].at = table_mix(e[i].w1);
		o[i].skip = table_mix(e[i].w1 ^ 0x9e3779b9u) | 1;
	}
	for (unsigned i = 0; left; i = i + 1 == n ? 0 : i + 1) {
		while (t->w1[o[i].at & (NP_TABLE - 1)])
			o[i].at += o[i].skip;
		t->w1[o[i].at & (NP_TABLE - 1)] = (uint16_t)e[i].w1;
		left--;
	}
}

/* Writes the one of the two tables that is not in force, and says which one it is. */
static int table_write(struct np_steer *s, unsigned g, const struct roster_entry *e, unsigned n,
		       uint32_t *ret_table)
{
	uint32_t next = s->maps.groups[g].table == 1 ? 2 : 1, key = 2 * g + next - 1;
	struct np_table *t = calloc(1, sizeof *t);
	struct order o[NP_WORKERS];
	int r;

	if (!t)
		return -ENOMEM;
	table_fill(t, o, e, n);
	r = map_update(&s->maps, MAP_np_table, &key, t, BPF_ANY);
	free(t);
	if (r == 0)
		*ret_table = next;
	return r;
}

void table_build(struct np_steer *s, unsigned g, const struct roster_entry *e, unsigned n)
{
	uint32_t table = 0;
	int r = n ? table_write(s, g, e, n, &table) : 0;

	/* The old one stays: a worker on it that is gone costs a retry, and one that is not on it
	 * gets what is too much. */
	if (r < 0)
		steer_log(
			s, 1,
			"\"maglev\" goes by the workers as they were before: its table cannot be written: %s",
			strerror(-r));
	else
		__atomic_store_n(&s->maps.groups[g].table, table, __ATOMIC_RELEASE);
}
