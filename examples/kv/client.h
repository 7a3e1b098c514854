/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client: a connection, from the bytes it sends to the answers it gets, in their order
 *
 *   batch    replies go to        leaves it by
 *   NULL     the connection       route_run(), with the first command for another shard
 *   open     slots of the batch   client_settle(): the batch is full, a command has to be alone, or
 *                                 there is no more input
 */
#ifndef KV_CLIENT_H
#define KV_CLIENT_H

#include <netpoll/handlers.h>
#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "command.h"
#include "reader.h"
#include "shard.h"
#include "writer.h"

struct transaction;

struct client {
	struct np_conn *conn;
	struct shard *shard;
	struct reader reader;
	struct writer w;
	struct batch *batch;
	struct transaction *transaction; /* NULL: none */
	struct subscriber *subscriber;   /* NULL: it never was one */
	char *name;                      /* NULL: none; CLIENT SETNAME */
	uint64_t id;
	int db;
	bool resp3;
	bool ends; /* nothing that follows is answered */
};

extern const struct np_handlers client_handlers;

/* Where the answer of what runs here is written. */
struct writer *client_writer(struct client *c);
/* RESP3, or RESP2, from this answer on. */
void client_speak(struct client *c, bool resp3);

#endif
