/* SPDX-License-Identifier: BSD-2-Clause */
/* pubsub: a subscription is in two lists: its channel's, and its client's table. */
#include "pubsub.h"

#include <errno.h>
#include <netpoll/conn.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "hash.h"
#include "memory.h"
#include "pattern.h"
#include "shard.h"
#include "writer.h"

/* A channel, or a pattern, that somebody listens to. */
struct channel {
	struct node node;
	struct subscription *first;
	char name[];
};

struct subscription {
	struct node node; /* in the client's table */
	struct client *client;
	struct channel *channel;
	struct subscription *prev, *next; /* of the channel */
	char name[];
};

void pubsub_init(struct pubsub *p)
{
	table_init(&p->channels, offsetof(struct channel, name));
	table_init(&p->patterns, offsetof(struct channel, name));
}

void pubsub_fini(struct pubsub *p)
{
	table_fini(&p->channels);
	table_fini(&p->patterns);
}

static struct table *pubsub_of_shard(struct client *c, enum pubsub_kind kind)
{
	struct pubsub *p = &c->shard->pubsub;

	return kind == PUBSUB_PATTERN ? &p->patterns : &p->channels;
}

static struct table *pubsub_of_client(struct client *c, enum pubsub_kind kind)
{
	return kind == PUBSUB_PATTERN ? &c->subscriber->patterns : &c->subscriber->channels;
}

/* ------------------------------------------------------------------ listening */

static struct channel *channel_get(struct table *t, const struct arg *name, uint64_t hash)
{
	struct channel *ch = (struct channel *)table_find(t, name->p, name->n, hash);

	if (ch)
		return ch;
	ch = memory_alloc(sizeof *ch + name->n);
	if (!ch)
		return NULL;
	*ch = (struct channel){ .node.n = (uint32_t)name->n };
	memcpy(ch->name, name->p, name->n);
	if (table_add(t, &ch->node, hash) < 0) {
		memory_free(ch);
		return NULL;
	}
	return ch;
}

static void channel_leave(struct table *t, struct channel *ch)
{
	if (ch->first)
		return;
	table_remove(t, ch->name, ch->node.n, ch->node.hash);
	memory_free(ch);
}

static int pubsub_begin(struct client *c)
{
	if (c->subscriber)
		return 0;
	c->subscriber = memory_alloc(sizeof *c->subscriber);
	if (!c->subscriber)
		return -ENOMEM;
	table_init(&c->subscriber->channels, offsetof(struct subscription, name));
	table_init(&c->subscriber->patterns, offsetof(struct subscription, name));
	return 0;
}

static int pubsub_link(struct client *c, struct table *own, struct channel *ch,
		       const struct arg *name, uint64_t hash)
{
	struct subscription *s = memory_alloc(sizeof *s + name->n);

	if (!s)
		return -ENOMEM;
	*s = (struct subscription){
		.node.n = (uint32_t)name->n, .client = c, .channel = ch, .next = ch->first
	};
	memcpy(s->name, name->p, name->n);
	if (table_add(own, &s->node, hash) < 0) {
		memory_free(s);
		return -ENOMEM;
	}
	if (ch->first)
		ch->first->prev = s;
	ch->first = s;
	return 0;
}

int pubsub_add(struct client *c, enum pubsub_kind kind, const struct arg *name)
{
	uint64_t hash = hash_bytes(name->p, name->n);
	struct table *t = pubsub_of_shard(c, kind);
	struct channel *ch;
	int r = pubsub_begin(c);

	if (r < 0 || table_find(pubsub_of_client(c, kind), name->p, name->n, hash))
		return r;
	ch = channel_get(t, name, hash);
	if (!ch)
		return -ENOMEM;
	r = pubsub_link(c, pubsub_of_client(c, kind), ch, name, hash);
	if (r < 0)
		channel_leave(t, ch);
	return r;
}

static void pubsub_unlink(struct table *t, struct subscription *s)
{
	struct channel *ch = s->channel;

	if (s->prev)
		s->prev->next = s->next;
	else
		ch->first = s->next;
	if (s->next)
		s->next->prev = s->prev;
	channel_leave(t, ch);
	memory_free(s);
}

void pubsub_remove(struct client *c, enum pubsub_kind kind, const struct arg *name)
{
	struct node *n;

	if (!c->subscriber)
		return;
	n = table_remove(pubsub_of_client(c, kind), name->p, name->n, hash_bytes(name->p, name->n));
	if (n)
		pubsub_unlink(pubsub_of_shard(c, kind), (struct subscription *)n);
}

const char *pubsub_any(struct client *c, enum pubsub_kind kind, size_t *ret_n)
{
	struct node *n = c->subscriber ? table_random(pubsub_of_client(c, kind)) : NULL;

	if (!n)
		return NULL;
	*ret_n = n->n;
	return ((struct subscription *)n)->name;
}

size_t pubsub_count(const struct client *c)
{
	return c->subscriber ? c->subscriber->channels.count + c->subscriber->patterns.count : 0;
}

void pubsub_leave(struct client *c)
{
	struct node *n;

	if (!c->subscriber)
		return;
	for (int kind = PUBSUB_CHANNEL; kind <= PUBSUB_PATTERN; kind++) {
		struct table *own = pubsub_of_client(c, kind);

		while ((n = table_pop(own)))
			pubsub_unlink(pubsub_of_shard(c, kind), (struct subscription *)n);
		table_fini(own);
	}
	memory_free(c->subscriber);
	c->subscriber = NULL;
}

/* ------------------------------------------------------------------ telling */

struct news {
	struct shard *shard;
	const struct arg *channel, *message;
	size_t told;
};

static int pubsub_write(const struct news *news, const struct channel *pattern, bool resp3,
			struct np_linkbuf *b)
{
	struct writer w;

	writer_open(&w, b, resp3);
	writer_push(&w, pattern ? 4 : 3);
	writer_str(&w, pattern ? "pmessage" : "message");
	if (pattern)
		writer_bulk(&w, pattern->name, pattern->node.n);
	writer_bulk(&w, news->channel->p, news->channel->n);
	writer_bulk(&w, news->message->p, news->message->n);
	return writer_close(&w);
}

/* One that has not read what it was told before is let go of: it would not know what it missed. */
static void pubsub_tell(struct news *news, const struct channel *pattern, struct client *c)
{
	struct np_linkbuf *b;
	int r = np_linkbuf_new(news->message->n, &b);

	if (r == 0) {
		r = pubsub_write(news, pattern, c->resp3, b);
		r = r < 0 ? r : np_conn_send(c->conn, &b);
		np_linkbuf_free(&b);
	}
	if (r == 0) {
		news->told++;
	} else if (r != -NP_ECLOSED) {
		news->shard->counts.dropped_subscribers++;
		np_conn_abort(c->conn);
	}
}

static void pubsub_tell_all(struct news *news, const struct channel *ch, bool is_pattern)
{
	for (struct subscription *s = ch->first; s; s = s->next)
		pubsub_tell(news, is_pattern ? ch : NULL, s->client);
}

static void pubsub_try_pattern(struct node *n, void *arg)
{
	struct channel *ch = (struct channel *)n;
	struct news *news = arg;

	if (pattern_matches(ch->name, n->n, news->channel->p, news->channel->n))
		pubsub_tell_all(news, ch, true);
}

size_t pubsub_publish(struct shard *s, const struct arg *channel, const struct arg *message)
{
	struct news news = { s, channel, message, 0 };
	struct node *n =
		table_find(&s->pubsub.channels, channel->p, channel->n,
			   s->pubsub.channels.count ? hash_bytes(channel->p, channel->n) : 0);

	if (n)
		pubsub_tell_all(&news, (struct channel *)n, false);
	if (s->pubsub.patterns.count)
		table_each(&s->pubsub.patterns, pubsub_try_pattern, &news);
	return news.told;
}
