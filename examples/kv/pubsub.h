/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pubsub: who of this shard's clients listens to what
 *
 * A client is subscribed where it is served. What is published goes to every shard, each of which
 * sends it to its own clients; one that does not read is reset when too much waits for it.
 */
#ifndef KV_PUBSUB_H
#define KV_PUBSUB_H

#include <stdbool.h>
#include <stddef.h>

#include "reader.h"
#include "table.h"

struct client;
struct shard;

struct pubsub {
	struct table channels, patterns;
};

/* Of one client. */
struct subscriber {
	struct table channels, patterns;
};

void pubsub_init(struct pubsub *p);
void pubsub_fini(struct pubsub *p);

/* Whether the name is a pattern. */
enum pubsub_kind { PUBSUB_CHANNEL, PUBSUB_PATTERN };

/* Return: 0, also where it was; -ENOMEM. */
int pubsub_add(struct client *c, enum pubsub_kind kind, const struct arg *name);
void pubsub_remove(struct client *c, enum pubsub_kind kind, const struct arg *name);
/* One that it listens to; NULL: it listens to none. */
const char *pubsub_any(struct client *c, enum pubsub_kind kind, size_t *ret_n);
/* How many channels and patterns it listens to. */
size_t pubsub_count(const struct client *c);
/* It has ended. */
void pubsub_leave(struct client *c);
/* To all clients of @s. Return: how many. */
size_t pubsub_publish(struct shard *s, const struct arg *channel, const struct arg *message);

#endif
