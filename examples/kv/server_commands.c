/* SPDX-License-Identifier: BSD-2-Clause */
/* server_commands: what clients and tools ask of a server before they use it. */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "commands.h"
#include "info.h"
#include "pattern.h"

/* ------------------------------------------------------------------ INFO */

static void server_info_part(struct exec *x)
{
	info_give(x->shard, x->w);
}

/* Where this is the only shard. */
static void server_info(struct exec *x)
{
	struct info_counts c;

	info_take(x->shard, &c);
	info_write(&c, x->w);
}

static const struct command server_part_info = { "info",           -1,  0, ROUTE_HERE, 0, 0, 0,
						 server_info_part, NULL };

/* ------------------------------------------------------------------ COMMAND */

static void server_flag(struct writer *w, unsigned flags, unsigned flag, const char *name)
{
	if (flags & flag) {
		writer_text(w, "+");
		writer_raw(w, name, strlen(name));
		writer_text(w, "\r\n");
	}
}

static void server_flags(struct writer *w, const struct command *c)
{
	unsigned flags = c->flags & (COMMAND_WRITES | COMMAND_GROWS | COMMAND_FAST);

	flags |= c->first && !(flags & COMMAND_WRITES) ? COMMAND_ALONE : 0;
	writer_set(w, (size_t)__builtin_popcount(flags));
	server_flag(w, flags, COMMAND_WRITES, "write");
	server_flag(w, flags, COMMAND_ALONE, "readonly");
	server_flag(w, flags, COMMAND_GROWS, "denyoom");
	server_flag(w, flags, COMMAND_FAST, "fast");
}

static void server_describe(struct writer *w, const struct command *c)
{
	writer_array(w, 10);
	writer_str(w, c->name);
	writer_int(w, c->arity);
	server_flags(w, c);
	writer_int(w, c->first);
	writer_int(w, c->last);
	writer_int(w, c->step);
	writer_set(w, 0);   /* ACL categories */
	writer_array(w, 0); /* tips */
	writer_array(w, 0); /* key specifications */
	writer_array(w, 0); /* subcommands */
}

static size_t server_command_count(void)
{
	int n = 0;

	while (command_at(n))
		n++;
	return (size_t)n;
}

static void server_command_all(struct exec *x)
{
	writer_array(x->w, server_command_count());
	for (int i = 0; command_at(i); i++)
		server_describe(x->w, command_at(i));
}

static void server_command_some(struct exec *x)
{
	const struct command *c;

	writer_array(x->w, (size_t)x->argc - 2);
	for (int i = 2; i < x->argc; i++) {
		c = command_find(&x->argv[i]);
		if (c)
			server_describe(x->w, c);
		else
			writer_nil_array(x->w);
	}
}

static void server_command(struct exec *x)
{
	if (x->argc == 1)
		server_command_all(x);
	else if (exec_is(x, 1, "count"))
		writer_int(x->w, (int64_t)server_command_count());
	else if (exec_is(x, 1, "docs"))
		writer_map(x->w, 0); /* redis-cli's hints: none */
	else if (exec_is(x, 1, "info") && x->argc > 2)
		server_command_some(x);
	else
		writer_error(x->w, "ERR unknown subcommand '%.*s'. Try COMMAND HELP.",
			     (int)(x->argv[1].n < 128 ? x->argv[1].n : 128), x->argv[1].p);
}

/* ------------------------------------------------------------------ CONFIG */

struct setting {
	const char *name, *value;
};

static bool server_is_asked(struct exec *x, const char *name)
{
	for (int i = 2; i < x->argc; i++)
		if (pattern_matches(x->argv[i].p, x->argv[i].n, name, strlen(name)))
			return true;
	return false;
}

static void server_config_get(struct exec *x)
{
	char memory[32], databases[16];
	const struct setting all[] = {
		{ "save", "" },
		{ "appendonly", "no" },
		{ "databases", databases },
		{ "maxmemory", memory },
		{ "maxmemory-policy", "noeviction" },
		{ "proto-max-bulk-len", "536870912" },
		{ "timeout", "0" },
	};
	size_t n = 0;

	snprintf(memory, sizeof memory, "%zu", shards.total_memory_max);
	snprintf(databases, sizeof databases, "%d", DATABASES);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		n += server_is_asked(x, all[i].name);
	writer_map(x->w, n);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (server_is_asked(x, all[i].name)) {
			writer_str(x->w, all[i].name);
			writer_str(x->w, all[i].value);
		}
}

static void server_config(struct exec *x)
{
	if (exec_is(x, 1, "get") && x->argc > 2)
		server_config_get(x);
	else if (exec_is(x, 1, "resetstat") && x->argc == 2)
		writer_ok(x->w);
	else
		writer_text(x->w, "-ERR only CONFIG GET and RESETSTAT are known here\r\n");
}

static void server_time(struct exec *x)
{
	int64_t now = keyspace_now(&x->shard->keys);
	char text[32];

	writer_array(x->w, 2);
	snprintf(text, sizeof text, "%lld", (long long)(now / 1000));
	writer_str(x->w, text);
	snprintf(text, sizeof text, "%lld", (long long)(now % 1000 * 1000));
	writer_str(x->w, text);
}

const struct command server_commands[] = {
	{ "info", -1, 0, ROUTE_EVERY_COUNTS, 0, 0, 0, server_info, &server_part_info },
	{ "command", -1, 0, ROUTE_HERE, 0, 0, 0, server_command, NULL },
	{ "config", -2, 0, ROUTE_HERE, 0, 0, 0, server_config, NULL },
	{ "time", 1, COMMAND_FAST, ROUTE_HERE, 0, 0, 0, server_time, NULL },
	{ 0 },
};
