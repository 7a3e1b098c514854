/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transaction: the commands between MULTI and EXEC
 *
 * All keys have to belong to one shard, on which they run with nothing in between; a command whose
 * keys do not is refused when it is queued, and EXEC then refuses all, as Redis Cluster does. What
 * asks every shard (PUBLISH, DBSIZE) is on each of them with nothing in between.
 */
#ifndef KV_TRANSACTION_H
#define KV_TRANSACTION_H

#include "command.h"

struct transaction;

struct transaction *transaction_new(void);
void transaction_free(struct transaction **t);
/* EXEC is to refuse it. */
void transaction_spoil(struct transaction *t);
/* Copied; the answer is written. */
void transaction_queue(struct transaction *t, struct writer *w, const struct command *command,
		       const struct arg *argv, int argc);

#endif
