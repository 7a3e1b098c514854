/* SPDX-License-Identifier: BSD-2-Clause */
/* transaction: a chain of commands, each with its arguments behind it. */
#include "transaction.h"

#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "commands.h"
#include "route.h"

#define BYTES_MAX (64u << 20)

struct queued {
	struct queued *next;
	const struct command *command;
	int argc;
	struct arg argv[]; /* and behind them their bytes */
};

struct transaction {
	struct queued *first, **end;
	size_t n, bytes;
	int shard; /* of its keys; -1: none yet */
	bool spoilt;
};

struct transaction *transaction_new(void)
{
	struct transaction *t = calloc(1, sizeof *t);

	if (t) {
		t->end = &t->first;
		t->shard = -1;
	}
	return t;
}

static void transaction_drop(struct transaction *t)
{
	for (struct queued *q = t->first, *next; q; q = next) {
		next = q->next;
		free(q);
	}
}

void transaction_free(struct transaction **t)
{
	if (*t)
		transaction_drop(*t);
	free(*t);
	*t = NULL;
}

void transaction_spoil(struct transaction *t)
{
	t->spoilt = true;
}

/* ------------------------------------------------------------------ queueing */

static struct queued *transaction_copy(struct transaction *t, const struct arg *argv, int argc)
{
	size_t n = sizeof(struct queued) + (size_t)argc * sizeof *argv;
	struct queued *q;
	char *to;

	for (int i = 0; i < argc; i++)
		n += argv[i].n;
	if (t->bytes + n > BYTES_MAX || !(q = malloc(n)))
		return NULL;
	t->bytes += n;
	to = (char *)(q->argv + argc);
	for (int i = 0; i < argc; to += argv[i++].n) {
		memcpy(to, argv[i].p, argv[i].n);
		q->argv[i] = (struct arg){ to, argv[i].n };
	}
	q->argc = argc;
	q->next = NULL;
	return q;
}

static bool transaction_fits(struct transaction *t, const struct command *command,
			     const struct arg *argv, int argc)
{
	int shard = shards.n == 1 ? 0 : route_shard(command, argv, argc);

	if (shard == -2 || (shard >= 0 && t->shard >= 0 && shard != t->shard))
		return false;
	if (shard >= 0)
		t->shard = shard;
	return true;
}

void transaction_queue(struct transaction *t, struct writer *w, const struct command *command,
		       const struct arg *argv, int argc)
{
	bool fits = transaction_fits(t, command, argv, argc);
	struct queued *q = fits ? transaction_copy(t, argv, argc) : NULL;

	if (!q) {
		t->spoilt = true;
		if (fits)
			writer_text(w, "-OOM out of memory, or the transaction is too long\r\n");
		else
			writer_text(w,
				    "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
		return;
	}
	q->command = command;
	*t->end = q;
	t->end = &q->next;
	t->n++;
	writer_text(w, "+QUEUED\r\n");
}

/* ------------------------------------------------------------------ MULTI, EXEC, DISCARD */

static void transaction_multi(struct exec *x)
{
	if (x->client->transaction) {
		writer_text(x->w, "-ERR MULTI calls can not be nested\r\n");
		return;
	}
	x->client->transaction = transaction_new();
	if (x->client->transaction)
		writer_ok(x->w);
	else
		exec_no_memory(x);
}

static void transaction_discard(struct exec *x)
{
	if (!x->client->transaction) {
		writer_text(x->w, "-ERR DISCARD without MULTI\r\n");
		return;
	}
	transaction_free(&x->client->transaction);
	writer_ok(x->w);
}

/*
 * Alone, so no batch is open. Its own part is written before the commands open one: in a batch each
 * answer is a slot of its own.
 */
static void transaction_exec(struct exec *x)
{
	struct client *c = x->client;
	struct transaction *t = c->transaction;
	int r = 0;

	if (!t) {
		writer_text(x->w, "-ERR EXEC without MULTI\r\n");
		return;
	}
	c->transaction = NULL;
	if (t->spoilt) {
		writer_text(x->w,
			    "-EXECABORT Transaction discarded because of previous errors.\r\n");
	} else {
		writer_array(x->w, t->n);
		for (struct queued *q = t->first; q && r == 0; q = q->next)
			r = route_run(c, q->command, q->argv, q->argc);
		c->ends = c->ends || r < 0;
	}
	transaction_free(&t);
}

const struct command transaction_commands[] = {
	{ "multi", 1, COMMAND_AT_ONCE, ROUTE_HERE, 0, 0, 0, transaction_multi, NULL },
	{ "discard", 1, COMMAND_AT_ONCE, ROUTE_HERE, 0, 0, 0, transaction_discard, NULL },
	{ "exec", 1, COMMAND_AT_ONCE | COMMAND_ALONE, ROUTE_HERE, 0, 0, 0, transaction_exec, NULL },
	{ 0 },
};
