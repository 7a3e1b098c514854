/* SPDX-License-Identifier: BSD-2-Clause */
/* route: a command for this shard runs at once; one for another becomes a call in the batch. */
#include "route.h"

#include "chance.h"
#include "hash.h"
#include "number.h"

#define CROSSSLOT "-CROSSSLOT Keys in request don't hash to the same slot\r\n"

static int route_key(const struct arg *key, uint64_t *ret_hash)
{
	*ret_hash = hash_bytes(key->p, key->n);
	return shards.n == 1 ? 0 : shard_of(key, *ret_hash);
}

int route_shard(const struct command *command, const struct arg *argv, int argc)
{
	int last = command_last_key(command, argc), first = command->first, shard = -1;
	uint64_t hash;

	if (!first)
		return -1;
	for (int i = first, at; i <= last; i += command->step, shard = at) {
		at = route_key(&argv[i], &hash);
		if (shard >= 0 && at != shard)
			return -2;
	}
	return shard;
}

/* ------------------------------------------------------------------ one shard */

static int route_here(struct client *c, struct exec *x, enum merge merge)
{
	x->shard = c->shard;
	x->client = c;
	x->w = client_writer(c);
	command_run(x);
	return c->batch ? batch_local(c->batch, merge) : 0;
}

static int route_far(struct client *c, int to, struct exec *x, enum merge merge)
{
	if (!c->batch) {
		int r = batch_open(c->shard, c->resp3, &c->batch);

		if (r < 0)
			return r;
	}
	return batch_call(c->batch, to, x, merge);
}

static int route_to(struct client *c, int to, struct exec *x, enum merge merge)
{
	return to == c->shard->index ? route_here(c, x, merge) : route_far(c, to, x, merge);
}

/* ------------------------------------------------------------------ several */

/* Slots are merged, so there has to be a batch, though the first one may be this shard's. */
static int route_open(struct client *c)
{
	return c->batch ? 0 : batch_open(c->shard, c->resp3, &c->batch);
}

static int route_every(struct client *c, struct exec *x, enum merge merge)
{
	int r = route_open(c), from = merge == MERGE_SOME ? (int)chance((size_t)shards.n) : 0;

	if (x->command->part)
		x->command = x->command->part;
	for (int i = 0; i < shards.n && r == 0; i++)
		r = route_to(c, (from + i) % shards.n, x, merge);
	return r < 0 ? r : batch_merged(c->batch, merge);
}

/* A command of its own for each key, or pair. */
static int route_parts(struct client *c, const struct exec *whole, enum merge merge)
{
	const struct command *of = whole->command;
	int last = command_last_key(of, whole->argc), r = 0;
	struct arg argv[3] = { whole->argv[0] };
	struct exec x = *whole;

	x.command = of->part ? of->part : of;
	x.argv = argv;
	x.argc = 1 + of->step;
	for (int i = of->first; i <= last && r == 0; i += of->step) {
		for (int k = 0; k < of->step; k++)
			argv[1 + k] = whole->argv[i + k];
		r = route_to(c, route_key(&argv[1], &x.hash), &x, merge);
	}
	return r;
}

static int route_mget(struct client *c, struct exec *x)
{
	int r = route_open(c);

	if (r < 0)
		return r;
	writer_array(client_writer(c), (size_t)x->argc - 1);
	r = batch_local(c->batch, MERGE_NONE);
	return r < 0 ? r : route_parts(c, x, MERGE_NONE);
}

static int route_merged(struct client *c, struct exec *x, enum merge merge)
{
	int r = route_open(c);

	r = r < 0 ? r : route_parts(c, x, merge);
	return r < 0 ? r : batch_merged(c->batch, merge);
}

static int route_refuse(struct client *c)
{
	writer_text(client_writer(c), CROSSSLOT);
	return c->batch ? batch_local(c->batch, MERGE_NONE) : 0;
}

static int route_keys(struct client *c, struct exec *x)
{
	int to = shards.n == 1 ? 0 : route_shard(x->command, x->argv, x->argc);

	/* What is malformed has no keys to go by, and is refused wherever it runs. */
	if (x->command->step == 2 && x->argc % 2 == 0)
		to = c->shard->index;
	if (to >= 0) {
		x->hash = hash_bytes(x->argv[1].p, x->argv[1].n);
		return route_to(c, to, x, MERGE_NONE);
	}
	switch (x->command->route) {
	case ROUTE_KEYS_SUM:
		return route_merged(c, x, MERGE_SUM);
	case ROUTE_KEYS_MSET:
		return route_merged(c, x, MERGE_OK);
	case ROUTE_KEYS_MGET:
		return route_mget(c, x);
	default:
		return route_refuse(c);
	}
}

/* The rest of the cursor by the number of shards: key_commands.c. */
static int route_cursor(struct client *c, struct exec *x)
{
	int64_t cursor = 0;

	number_parse(x->argv[1].p, x->argv[1].n, &cursor);
	return route_to(c, (int)((uint64_t)cursor % (uint64_t)shards.n), x, MERGE_NONE);
}

int route_run(struct client *c, const struct command *command, const struct arg *argv, int argc)
{
	struct exec x = { .command = command, .argv = argv, .argc = argc, .db = c->db };

	if (command->route == ROUTE_KEY)
		return route_to(c, route_key(&argv[1], &x.hash), &x, MERGE_NONE);
	if (command->route >= ROUTE_EVERY_SUM && shards.n == 1)
		return route_here(c, &x, MERGE_NONE);
	switch (command->route) {
	case ROUTE_HERE:
		return route_here(c, &x, MERGE_NONE);
	case ROUTE_CURSOR:
		return route_cursor(c, &x);
	case ROUTE_EVERY_SUM:
		return route_every(c, &x, MERGE_SUM);
	case ROUTE_EVERY_OK:
		return route_every(c, &x, MERGE_OK);
	case ROUTE_EVERY_LIST:
		return route_every(c, &x, MERGE_LIST);
	case ROUTE_EVERY_SOME:
		return route_every(c, &x, MERGE_SOME);
	case ROUTE_EVERY_COUNTS:
		return route_every(c, &x, MERGE_COUNTS);
	default:
		return route_keys(c, &x);
	}
}
