/* SPDX-License-Identifier: BSD-2-Clause */
/* client_commands: about the connection itself, and what is asked to see whether it lives. */
#include <limits.h>
#include <netpoll/conn.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "commands.h"
#include "number.h"
#include "pubsub.h"
#include "transaction.h"
#include "version.h"

static void client_ping(struct exec *x)
{
	if (x->argc > 2) {
		writer_text(x->w, "-ERR wrong number of arguments for 'ping' command\r\n");
	} else if (!x->w->resp3 && pubsub_count(x->client)) {
		writer_text(x->w, "*2\r\n$4\r\npong\r\n");
		writer_bulk(x->w, x->argc == 2 ? x->argv[1].p : "",
			    x->argc == 2 ? x->argv[1].n : 0);
	} else if (x->argc == 2) {
		writer_bulk(x->w, x->argv[1].p, x->argv[1].n);
	} else {
		writer_text(x->w, "+PONG\r\n");
	}
}

static void client_echo(struct exec *x)
{
	writer_bulk(x->w, x->argv[1].p, x->argv[1].n);
}

static void client_quit(struct exec *x)
{
	writer_ok(x->w);
	x->client->ends = true;
}

static void client_select(struct exec *x)
{
	int64_t db;

	if (number_parse(x->argv[1].p, x->argv[1].n, &db) < 0) {
		writer_not_integer(x->w);
	} else if (db < INT_MIN || db > INT_MAX) {
		writer_error(x->w, "ERR value is out of range, value must between %d and %d",
			     INT_MIN, INT_MAX);
	} else if (db < 0 || db >= DATABASES) {
		writer_text(x->w, "-ERR DB index is out of range\r\n");
	} else {
		x->client->db = (int)db;
		writer_ok(x->w);
	}
}

/* ------------------------------------------------------------------ names */

/* Return: false: the answer has been written. */
static bool client_name(struct exec *x, const struct arg *name)
{
	char *copy;

	for (size_t i = 0; i < name->n; i++)
		if (name->p[i] < '!' || name->p[i] > '~') {
			writer_text(
				x->w,
				"-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
			return false;
		}
	copy = name->n ? strndup(name->p, name->n) : NULL;
	if (name->n && !copy) {
		exec_no_memory(x);
		return false;
	}
	free(x->client->name);
	x->client->name = copy;
	return true;
}

static void client_client(struct exec *x)
{
	struct client *c = x->client;

	if (exec_is(x, 1, "id") && x->argc == 2) {
		writer_int(x->w, (int64_t)c->id);
	} else if (exec_is(x, 1, "getname") && x->argc == 2) {
		if (c->name)
			writer_str(x->w, c->name);
		else
			writer_nil(x->w);
	} else if (exec_is(x, 1, "setname") && x->argc == 3) {
		if (client_name(x, &x->argv[2]))
			writer_ok(x->w);
	} else if (exec_is(x, 1, "setinfo") && x->argc == 4) {
		writer_ok(x->w);
	} else {
		writer_error(
			x->w,
			"ERR unknown subcommand or wrong number of arguments for '%.*s'. Try CLIENT HELP.",
			(int)(x->argv[1].n < 128 ? x->argv[1].n : 128), x->argv[1].p);
	}
}

/* ------------------------------------------------------------------ HELLO, RESET */

static void client_introduce(struct exec *x)
{
	struct writer *w = x->w;

	writer_map(w, 7);
	writer_str(w, "server");
	writer_str(w, "kv");
	writer_str(w, "version");
	writer_str(w, KV_REDIS_VERSION);
	writer_str(w, "proto");
	writer_int(w, x->client->resp3 ? 3 : 2);
	writer_str(w, "id");
	writer_int(w, (int64_t)x->client->id);
	writer_str(w, "mode");
	writer_str(w, "standalone");
	writer_str(w, "role");
	writer_str(w, "master");
	writer_str(w, "modules");
	writer_array(w, 0);
}

/* Return: false: the answer has been written. */
static bool client_hello_options(struct exec *x)
{
	for (int i = 2; i < x->argc; i += 2) {
		if (exec_is(x, i, "setname") && i + 1 < x->argc) {
			if (!client_name(x, &x->argv[i + 1]))
				return false;
		} else if (exec_is(x, i, "auth") && i + 2 < x->argc) {
			i++; /* there is no password, so any will do */
		} else {
			writer_error(x->w, "ERR Syntax error in HELLO option '%.*s'",
				     (int)(x->argv[i].n < 128 ? x->argv[i].n : 128), x->argv[i].p);
			return false;
		}
	}
	return true;
}

static void client_hello(struct exec *x)
{
	int64_t version = x->client->resp3 ? 3 : 2;

	if (x->argc > 1 && number_parse(x->argv[1].p, x->argv[1].n, &version) < 0) {
		writer_text(x->w, "-ERR Protocol version is not an integer or out of range\r\n");
	} else if (version < 2 || version > 3) {
		writer_text(x->w, "-NOPROTO unsupported protocol version\r\n");
	} else if (client_hello_options(x)) {
		client_speak(x->client, version == 3);
		client_introduce(x);
	}
}

static void client_reset(struct exec *x)
{
	pubsub_leave(x->client);
	transaction_free(&x->client->transaction);
	free(x->client->name);
	x->client->name = NULL;
	x->client->db = 0;
	client_speak(x->client, false);
	writer_text(x->w, "+RESET\r\n");
}

enum {
	F = COMMAND_FAST,
	LISTENS = COMMAND_FAST | COMMAND_LISTENS,
	LAST = LISTENS | COMMAND_ALONE | COMMAND_AT_ONCE,
	SPEAKS = COMMAND_FAST | COMMAND_ALONE | COMMAND_NOT_MULTI,
};

const struct command client_commands[] = {
	{ "ping", -1, LISTENS, ROUTE_HERE, 0, 0, 0, client_ping, NULL },
	{ "echo", 2, F, ROUTE_HERE, 0, 0, 0, client_echo, NULL },
	{ "quit", -1, LAST, ROUTE_HERE, 0, 0, 0, client_quit, NULL },
	{ "reset", 1, LAST, ROUTE_HERE, 0, 0, 0, client_reset, NULL },
	{ "select", 2, F, ROUTE_HERE, 0, 0, 0, client_select, NULL },
	{ "client", -2, F, ROUTE_HERE, 0, 0, 0, client_client, NULL },
	{ "hello", -1, SPEAKS, ROUTE_HERE, 0, 0, 0, client_hello, NULL },
	{ 0 },
};
