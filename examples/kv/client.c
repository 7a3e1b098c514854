/* SPDX-License-Identifier: BSD-2-Clause */
/* client: all commands that are there are answered in one go, and their answers sent in one. */
#include "client.h"

#include <errno.h>
#include <limits.h>
#include <netpoll/conn.h>
#include <stdlib.h>
#include <string.h>

#include "pubsub.h"
#include "route.h"
#include "transaction.h"

#define VIEW_MAX  (64u << 10) /* input that is looked at in one piece, unless a command is longer */
#define FLUSH_AT  (64u << 10) /* unsent answers, before the next command runs */
#define WORDS_MAX 128

/* ------------------------------------------------------------------ answers */

struct writer *client_writer(struct client *c)
{
	return c->batch ? batch_writer(c->batch) : &c->w;
}

void client_speak(struct client *c, bool resp3)
{
	c->resp3 = resp3;
	client_writer(c)->resp3 = resp3;
}

static int client_open(struct client *c)
{
	struct np_linkbuf *out = np_conn_out(c->conn);

	if (!out)
		return -NP_ECLOSED;
	writer_open(&c->w, out, c->resp3);
	return 0;
}

static int client_settle(struct client *c)
{
	int r = c->batch ? batch_settle(&c->batch, &c->w) : 0;

	shard_begin(c->shard);
	return r;
}

/* Parks while the peer takes nothing, so that what waits for it is bounded. */
static int client_flush(struct client *c)
{
	int r = writer_close(&c->w);

	r = r < 0 ? r : np_conn_flush(c->conn);
	r = r < 0 ? r : client_open(c);
	shard_begin(c->shard);
	return r;
}

static int client_relieve(struct client *c)
{
	int r = c->batch && batch_is_full(c->batch) ? client_settle(c) : 0;

	if (r == 0 && !c->batch && writer_count(&c->w) >= FLUSH_AT)
		r = client_flush(c);
	return r;
}

/* ------------------------------------------------------------------ what is refused */

static int client_refuse(struct client *c)
{
	if (c->transaction)
		transaction_spoil(c->transaction);
	return c->batch ? batch_local(c->batch, MERGE_NONE) : 0;
}

/* With its arguments, as far as 128 bytes of them. */
static int client_unknown(struct client *c, const struct arg *argv, int argc)
{
	char words[2 * WORDS_MAX] = "";
	size_t n = 0;

	for (int i = 1; i < argc && n < WORDS_MAX; i++) {
		size_t k =
			strnlen(argv[i].p, argv[i].n < WORDS_MAX - n ? argv[i].n : WORDS_MAX - n);

		words[n++] = '\'';
		memcpy(words + n, argv[i].p, k);
		n += k;
		words[n++] = '\'';
		words[n++] = ' ';
	}
	writer_error(client_writer(c), "ERR unknown command '%.*s', with args beginning with: %.*s",
		     (int)(argv[0].n < WORDS_MAX ? argv[0].n : WORDS_MAX), argv[0].p, (int)n,
		     words);
	return client_refuse(c);
}

static bool client_may(struct client *c, const struct command *command, int argc)
{
	struct writer *w = client_writer(c);

	if (!command_takes(command, argc)) {
		writer_error(w, "ERR wrong number of arguments for '%s' command", command->name);
		return false;
	}
	if (c->subscriber && !c->resp3 && !(command->flags & COMMAND_LISTENS) && pubsub_count(c)) {
		writer_error(
			w,
			"ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
			command->name);
		return false;
	}
	if (c->transaction && (command->flags & COMMAND_NOT_MULTI)) {
		writer_text(w, "-ERR Command not allowed inside a transaction\r\n");
		return false;
	}
	return true;
}

/* ------------------------------------------------------------------ commands */

static int client_queue(struct client *c, const struct command *command, const struct arg *argv,
			int argc)
{
	transaction_queue(c->transaction, client_writer(c), command, argv, argc);
	return c->batch ? batch_local(c->batch, MERGE_NONE) : 0;
}

static const struct command *client_command_of(struct client *c, const char *p)
{
	const struct part *name = &c->reader.parts[0];

	return command_find(
		&(struct arg){ (c->reader.is_line ? c->reader.line : p) + name->at, name->n });
}

/* The command that the reader has found at @p. */
static int client_command(struct client *c, const char *p)
{
	const struct command *command;
	int argc = c->reader.n_parts, r;
	struct arg *argv;

	if (!argc)
		return 0;
	command = client_command_of(c, p);
	if (command && (command->flags & COMMAND_ALONE)) {
		r = client_settle(c);
		if (r < 0)
			return r;
	}
	argv = shard_argv(c->shard, argc);
	if (!argv)
		return -ENOMEM;
	reader_args(&c->reader, p, argv);
	if (!command)
		return client_unknown(c, argv, argc);
	if (!client_may(c, command, argc))
		return client_refuse(c);
	if (c->transaction && !(command->flags & COMMAND_AT_ONCE))
		return client_queue(c, command, argv, argc);
	r = route_run(c, command, argv, argc);
	/* Confirmed before anything else can be said to it. */
	if (r == 0 && (command->flags & COMMAND_ALONE) && !c->batch)
		r = client_flush(c);
	return r;
}

static int client_malformed(struct client *c)
{
	int r = client_settle(c);

	writer_error(&c->w, "ERR %s", c->reader.error);
	c->ends = true;
	return r;
}

/* Return: 0; < 0: why it has to end. *ret_used: bytes of whole commands. */
static int client_commands(struct client *c, const char *p, size_t n, size_t *ret_used)
{
	int r = 0, got = READER_MORE;
	size_t used = 0;

	while (r == 0 && !c->ends) {
		got = reader_parse(&c->reader, p + used, n - used);
		if (got != READER_COMMAND)
			break;
		r = client_command(c, p + used);
		used += c->reader.at;
		reader_next(&c->reader);
		r = r < 0 ? r : client_relieve(c);
	}
	if (r == 0 && got == READER_BAD)
		r = client_malformed(c);
	*ret_used = used;
	return got < 0 ? got : r;
}

/* What is there of a command whose rest has not come is left, and asked for. */
static int client_rest(struct client *c, size_t used)
{
	int r = np_conn_skip(c->conn, used);

	if (r == 0)
		r = np_conn_flush(c->conn);
	if (r < 0)
		return r;
	if (c->ends)
		return np_conn_close(c->conn);
	return np_conn_len(c->conn) ? np_conn_want(c->conn, c->reader.need) : 0;
}

static size_t client_view(const struct client *c)
{
	size_t n = np_conn_len(c->conn), most = VIEW_MAX;

	if (c->reader.need > most)
		most = c->reader.need;
	return n < most ? n : most;
}

static int client_serve(struct np_conn *conn, void *arg)
{
	struct client *c = np_conn_data(conn);
	size_t n = client_view(c), used = 0;
	const void *p;
	int r;

	if (!n)
		return 0;
	r = np_conn_peek(conn, n, &p);
	r = r < 0 ? r : client_open(c);
	if (r < 0)
		return r;
	shard_begin(c->shard);
	r = client_commands(c, p, n, &used);
	if (c->batch) {
		int settled = client_settle(c);

		r = r < 0 ? r : settled;
	}
	shard_end(c->shard);
	if (writer_close(&c->w) < 0 || r < 0)
		return r < 0 ? r : -ENOMEM;
	return client_rest(c, used);
}

/* ------------------------------------------------------------------ life */

static int client_begin(struct np_conn *conn, void *arg)
{
	struct client *c = calloc(1, sizeof *c);

	if (!c)
		return -ENOMEM;
	c->conn = conn;
	c->shard = shard_self();
	c->id = ++c->shard->clients_made * (uint64_t)shards.n + (uint64_t)c->shard->index;
	c->shard->counts.clients++;
	c->shard->counts.connections++;
	reader_init(&c->reader);
	np_conn_set_data(conn, c);
	return 0;
}

static void client_end(struct np_conn *conn, void *arg)
{
	struct client *c = np_conn_data(conn);

	c->shard->counts.clients--;
	pubsub_leave(c);
	transaction_free(&c->transaction);
	reader_fini(&c->reader);
	free(c->name);
	free(c);
}

const struct np_handlers client_handlers = {
	.sz = sizeof client_handlers,
	.on_prepare = client_begin,
	.on_request = client_serve,
	.on_close = client_end,
};
