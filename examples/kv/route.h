/* SPDX-License-Identifier: BSD-2-Clause */
/* route: a command to the shards that can answer it */
#ifndef KV_ROUTE_H
#define KV_ROUTE_H

#include "client.h"

/* Return: the shard that all keys of a command belong to; -1: it has none; -2: they differ. */
int route_shard(const struct command *command, const struct arg *argv, int argc);
/* Return: 0; < 0: the client has to end. */
int route_run(struct client *c, const struct command *command, const struct arg *argv, int argc);

#endif
