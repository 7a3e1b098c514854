/* SPDX-License-Identifier: BSD-2-Clause */
/* pubsub_commands: listening, where the client is served; telling, on every shard. */
#include "client.h"
#include "commands.h"
#include "pubsub.h"

static enum pubsub_kind pubsub_kind(const struct exec *x)
{
	return x->command->name[0] == 'p' ? PUBSUB_PATTERN : PUBSUB_CHANNEL;
}

static void pubsub_confirm(struct exec *x, const char *name, size_t n)
{
	writer_push(x->w, 3);
	writer_str(x->w, x->command->name);
	if (name)
		writer_bulk(x->w, name, n);
	else
		writer_nil(x->w);
	writer_int(x->w, (int64_t)pubsub_count(x->client));
}

static void pubsub_subscribe(struct exec *x)
{
	for (int i = 1; i < x->argc; i++) {
		if (pubsub_add(x->client, pubsub_kind(x), &x->argv[i]) < 0)
			exec_no_memory(x);
		else
			pubsub_confirm(x, x->argv[i].p, x->argv[i].n);
	}
}

static void pubsub_unsubscribe_all(struct exec *x)
{
	const char *name;
	size_t n;
	bool any = false;

	while ((name = pubsub_any(x->client, pubsub_kind(x), &n))) {
		/* the name goes with the subscription, and the count is that without it */
		struct writer *w = x->w;

		any = true;
		writer_push(w, 3);
		writer_str(w, x->command->name);
		writer_bulk(w, name, n);
		pubsub_remove(x->client, pubsub_kind(x), &(struct arg){ name, n });
		writer_int(w, (int64_t)pubsub_count(x->client));
	}
	if (!any)
		pubsub_confirm(x, NULL, 0);
}

static void pubsub_unsubscribe(struct exec *x)
{
	if (x->argc == 1)
		pubsub_unsubscribe_all(x);
	for (int i = 1; i < x->argc; i++) {
		pubsub_remove(x->client, pubsub_kind(x), &x->argv[i]);
		pubsub_confirm(x, x->argv[i].p, x->argv[i].n);
	}
}

static void pubsub_publish_command(struct exec *x)
{
	writer_int(x->w, (int64_t)pubsub_publish(x->shard, &x->argv[1], &x->argv[2]));
}

enum { L = COMMAND_LISTENS | COMMAND_ALONE | COMMAND_NOT_MULTI };

const struct command pubsub_commands[] = {
	{ "subscribe", -2, L, ROUTE_HERE, 0, 0, 0, pubsub_subscribe, NULL },
	{ "unsubscribe", -1, L, ROUTE_HERE, 0, 0, 0, pubsub_unsubscribe, NULL },
	{ "psubscribe", -2, L, ROUTE_HERE, 0, 0, 0, pubsub_subscribe, NULL },
	{ "punsubscribe", -1, L, ROUTE_HERE, 0, 0, 0, pubsub_unsubscribe, NULL },
	{ "publish", 3, COMMAND_FAST, ROUTE_EVERY_SUM, 0, 0, 0, pubsub_publish_command, NULL },
	{ 0 },
};
