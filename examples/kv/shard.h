/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shard: the keys of one poller, and the clients that it serves
 *
 * A key's hash says which poller it belongs to. No other thread reads or writes a shard: it is sent
 * messages (batch.h). So there is no lock, and no cache line that two of them write to.
 */
#ifndef KV_SHARD_H
#define KV_SHARD_H

#include <netpoll/pollers.h>
#include <stddef.h>
#include <stdint.h>

#include "keyspace.h"
#include "pubsub.h"

struct shard_counts {
	uint64_t commands, connections, clients, refused_for_memory, dropped_subscribers;
};

struct shard {
	int index;
	struct keyspace keys;
	struct pubsub pubsub;
	struct shard_counts counts;
	struct np_timer *timer; /* keyspace_tend(); NULL: there is nothing to do */
	struct arg *argv;       /* of the command that runs */
	int argv_cap;
	uint64_t clients_made;
};

/* What does not change once the pollers serve. */
struct shards {
	int n;
	struct shard **at;
	struct np_pollers *pollers;
	size_t memory_max; /* of each; 0: no limit */
	size_t total_memory_max;
	int64_t started_ms;
	int port;
};

extern struct shards shards;

/* One for each poller. Return: 0; -ENOMEM. */
int shards_open(struct np_pollers *pollers, size_t memory_max);
/* Once the pollers have stopped. */
void shards_close(void);

/* Of the poller whose thread this is. */
struct shard *shard_self(void);
/* Which one a key belongs to; @hash is that of the whole key. */
int shard_of(const struct arg *key, uint64_t hash);
/* A batch of commands begins, or has ended. Thread: the shard's. */
void shard_begin(struct shard *s);
void shard_end(struct shard *s);
/* Room for @n arguments; until the next call. NULL: no memory. */
struct arg *shard_argv(struct shard *s, int n);

#endif
