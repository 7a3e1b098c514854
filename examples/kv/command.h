/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command: what there is to be asked, and who answers it
 *
 *   route           where it runs                              its answer
 *   HERE            on the client's poller; may see the client that of the command
 *   KEY             on the shard of its key                    that of the command
 *   KEYS_SUM        on the shard of each key                   the sum
 *   KEYS_MGET       on the shard of each key                   an array
 *   KEYS_MSET       on the shard of each pair                  OK, or the first error
 *   KEYS            on the shard that all its keys belong to   that of the command, or CROSSSLOT
 *   CURSOR          on the shard that its cursor names         that of the command
 *   EVERY_SUM       on every shard                             the sum
 *   EVERY_OK        on every shard                             OK, or the first error
 *   EVERY_LIST      on every shard                             one array of all
 *   EVERY_SOME      on every shard                             one that is not nil
 *   EVERY_COUNTS    on every shard                             info_write()
 *
 * Where all keys belong to one shard, a KEYS_ command runs there as it is.
 */
#ifndef KV_COMMAND_H
#define KV_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "reader.h"
#include "shard.h"
#include "writer.h"

struct client;
struct exec;

enum route {
	ROUTE_HERE,
	ROUTE_KEY,
	ROUTE_KEYS_SUM,
	ROUTE_KEYS_MGET,
	ROUTE_KEYS_MSET,
	ROUTE_KEYS,
	ROUTE_CURSOR,
	ROUTE_EVERY_SUM,
	ROUTE_EVERY_OK,
	ROUTE_EVERY_LIST,
	ROUTE_EVERY_SOME,
	ROUTE_EVERY_COUNTS,
};

enum {
	COMMAND_WRITES = 1,
	COMMAND_GROWS = 2,      /* refused at the memory limit */
	COMMAND_LISTENS = 4,    /* allowed to a RESP2 client that has subscribed */
	COMMAND_ALONE = 8,      /* not before the answers to those before it have been written */
	COMMAND_NOT_MULTI = 16, /* refused in a transaction */
	COMMAND_AT_ONCE = 32,   /* not queued in a transaction */
	COMMAND_FAST = 64,
};

struct command {
	const char *name;
	int arity; /* arguments, the name included; below 0: that many at least */
	unsigned flags;
	enum route route;
	int first, last, step; /* which arguments are keys; last below 0: from the end */
	void (*fn)(struct exec *x);
	const struct command *part; /* of KEYS_MGET, KEYS_MSET: what is asked for each key */
};

/* A command as it runs. */
struct exec {
	const struct command *command;
	struct shard *shard;
	struct client *client; /* NULL where it has come from another poller */
	struct writer *w;
	const struct arg *argv;
	int argc;
	int db;
	uint64_t hash; /* of its first key */
};

/* Once, before any other. */
void command_init(void);
/* NULL: there is none of that name. */
const struct command *command_find(const struct arg *name);
/* Whether it takes so many arguments. */
bool command_takes(const struct command *c, int argc);
/* The index of the last argument that is a key. */
int command_last_key(const struct command *c, int argc);
/* The @i-th; NULL: that was the last. */
const struct command *command_at(int i);
/* On the shard's thread. */
void command_run(struct exec *x);

/* The entry of the first key, or NULL. */
struct entry *exec_find(struct exec *x);
/* The entry of the key at argv[i], or NULL. */
struct entry *exec_find_key(struct exec *x, int i);
/* Also whether it is of that type; where it is not, the answer has been written, and *ret_ok is
 * false. */
struct entry *exec_find_typed(struct exec *x, enum value_type type, bool *ret_ok);
/* The hash of the key at argv[i]. */
uint64_t exec_hash(const struct exec *x, int i);
/* An integer; where it is none, the answer has been written. */
bool exec_int(struct exec *x, int i, int64_t *ret);
/* Whether argv[i] is that word, in whatever case. */
bool exec_is(const struct exec *x, int i, const char *word);
/* No memory: the answer. */
void exec_no_memory(struct exec *x);

#endif
