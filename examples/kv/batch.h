/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * batch: what a client has asked other shards for, and the answers, in the order of the questions
 *
 * It begins with the first command that is for another shard. From then on each answer has a slot:
 * a call in the message to its shard, or bytes that this shard has written at once. batch_settle()
 * sends the messages, one for each shard, waits for all of them, and writes the slots in their
 * order. A message owns its bytes: a client that ends meanwhile leaves nothing behind that is used.
 */
#ifndef KV_BATCH_H
#define KV_BATCH_H

#include <stdbool.h>

#include "command.h"

struct batch;

/* What becomes of an answer. The first slots of those that are merged say how, the last one, of the
 * same merge with .ends, that the answer is to be written. */
enum merge { MERGE_NONE, MERGE_SUM, MERGE_OK, MERGE_LIST, MERGE_SOME, MERGE_COUNTS };

/* Return: 0; -ENOMEM. */
int batch_open(struct shard *self, bool resp3, struct batch **ret);
/* Where the answers of this shard are written while it is open. */
struct writer *batch_writer(struct batch *b);
/* @x is for shard @to, which is another one; copied. */
int batch_call(struct batch *b, int to, const struct exec *x, enum merge merge);
/* What was written to batch_writer() since the last slot. */
int batch_local(struct batch *b, enum merge merge);
/* The answer of the merge before. */
int batch_merged(struct batch *b, enum merge merge);
/* Whether it should be settled before more is asked. */
bool batch_is_full(const struct batch *b);
/*
 * batch_settle() - the answers, to @w; frees the batch
 *
 * May park: yes. Return: 0; -ECANCELED and the like: some are missing, and the client has to end.
 */
int batch_settle(struct batch **b, struct writer *w);

#endif
