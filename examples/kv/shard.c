/* SPDX-License-Identifier: BSD-2-Clause */
/* shard: each in memory of its own, a whole number of cache lines. */
#include "shard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define LINE      128u
#define ARGV_KEPT 1024

struct shards shards;

static struct shard *shard_new(int index)
{
	size_t size = (sizeof(struct shard) + LINE - 1) / LINE * LINE;
	struct shard *s = aligned_alloc(LINE, size);

	if (!s)
		return NULL;
	memset(s, 0, sizeof *s);
	s->index = index;
	keyspace_init(&s->keys);
	pubsub_init(&s->pubsub);
	return s;
}

int shards_open(struct np_pollers *pollers, size_t memory_max)
{
	struct keyspace clock = { 0 };

	shards.pollers = pollers;
	shards.n = 0;
	shards.at = calloc((size_t)np_pollers_count(pollers), sizeof *shards.at);
	if (!shards.at)
		return -ENOMEM;
	for (int i = 0; i < np_pollers_count(pollers); i++) {
		shards.at[i] = shard_new(i);
		if (!shards.at[i])
			return -ENOMEM;
		shards.n++;
	}
	shards.total_memory_max = memory_max;
	shards.memory_max = memory_max / (size_t)shards.n;
	shards.started_ms = keyspace_now(&clock);
	return 0;
}

void shards_close(void)
{
	for (int i = 0; i < shards.n; i++) {
		keyspace_fini(&shards.at[i]->keys);
		pubsub_fini(&shards.at[i]->pubsub);
		free(shards.at[i]->argv);
		free(shards.at[i]);
	}
	free(shards.at);
	shards.at = NULL;
	shards.n = 0;
}

struct shard *shard_self(void)
{
	return shards.at[np_poller_self()];
}

/* As in a Redis cluster: what stands in the first {} alone counts, if there is something in it. So
 * keys that belong together can be named so that they are together. */
int shard_of(const struct arg *key, uint64_t hash)
{
	const char *open = memchr(key->p, '{', key->n), *end = key->p + key->n, *close;

	if (open) {
		close = memchr(open, '}', (size_t)(end - open));
		if (close && close > open + 1)
			hash = hash_bytes(open + 1, (size_t)(close - open - 1));
	}
	return (int)((hash >> 32) * (uint64_t)shards.n >> 32);
}

/* ------------------------------------------------------------------ a batch of commands */

void shard_begin(struct shard *s)
{
	keyspace_turn(&s->keys);
}

static void shard_tend(void *arg)
{
	struct shard *s = arg;
	int ms;

	np_timer_stop(&s->timer);
	shard_begin(s);
	ms = keyspace_tend(&s->keys);
	if (ms >= 0)
		np_timer_start(ms, shard_tend, s, &s->timer);
}

/* Without memory for the timer, the next batch tries again. */
void shard_end(struct shard *s)
{
	if (!s->timer && (s->keys.expiry.n || s->keys.graves))
		np_timer_start(1, shard_tend, s, &s->timer);
}

struct arg *shard_argv(struct shard *s, int n)
{
	struct arg *argv;

	if (n <= s->argv_cap && (s->argv_cap <= ARGV_KEPT || n > ARGV_KEPT))
		return s->argv;
	argv = realloc(s->argv, (size_t)(n > ARGV_KEPT ? n : ARGV_KEPT) * sizeof *argv);
	if (!argv)
		return NULL;
	s->argv_cap = n > ARGV_KEPT ? n : ARGV_KEPT;
	return s->argv = argv;
}
