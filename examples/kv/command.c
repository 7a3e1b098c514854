/* SPDX-License-Identifier: BSD-2-Clause */
/* command: found by two words of eight bytes, in which case does not count. */
#include "command.h"

#include <string.h>
#include <strings.h>

#include "commands.h"
#include "hash.h"
#include "memory.h"
#include "number.h"

#define SLOTS    512u
#define NAME_MAX 16u

struct name {
	uint64_t words[2];
};

static struct slot {
	struct name name;
	const struct command *command;
} command_slots[SLOTS];

static const struct command *const command_lists[] = {
	string_commands, key_commands,    list_commands,   set_commands,    hash_commands,
	zset_commands,   server_commands, client_commands, pubsub_commands, transaction_commands,
};

#define LISTS (sizeof command_lists / sizeof *command_lists)

/* Letters of both cases are the same; what is none stays what it is, or becomes none. */
static inline struct name command_fold(const char *p, size_t n)
{
	struct name name = { { 0, 0 } };

	memcpy(&name, p, n);
	name.words[0] |= 0x2020202020202020u;
	name.words[1] |= 0x2020202020202020u;
	return name;
}

static inline unsigned command_slot(const struct name *n)
{
	return (unsigned)((n->words[0] * 0x9e3779b97f4a7c15u ^ n->words[1]) * 0xff51afd7ed558ccdu >>
			  55);
}

static struct slot *command_place(const struct name *n)
{
	unsigned i = command_slot(n);

	while (command_slots[i].command && memcmp(&command_slots[i].name, n, sizeof *n) != 0)
		i = (i + 1) % SLOTS;
	return &command_slots[i];
}

void command_init(void)
{
	const struct command *c;
	struct name name;
	struct slot *slot;

	for (int i = 0; (c = command_at(i)); i++) {
		name = command_fold(c->name, strlen(c->name));
		slot = command_place(&name);
		*slot = (struct slot){ name, c };
	}
}

const struct command *command_at(int i)
{
	const struct command *c;

	for (size_t k = 0; k < LISTS; k++)
		for (c = command_lists[k]; c->name; c++)
			if (i-- == 0)
				return c;
	return NULL;
}

const struct command *command_find(const struct arg *arg)
{
	struct name name;

	if (arg->n > NAME_MAX || memchr(arg->p, ' ', arg->n) || memchr(arg->p, '\0', arg->n))
		return NULL;
	name = command_fold(arg->p, arg->n);
	return command_place(&name)->command;
}

bool command_takes(const struct command *c, int argc)
{
	return c->arity >= 0 ? argc == c->arity : argc >= -c->arity;
}

int command_last_key(const struct command *c, int argc)
{
	return c->last < 0 ? argc + c->last : c->last;
}

void command_run(struct exec *x)
{
	x->shard->counts.commands++;
	if ((x->command->flags & COMMAND_GROWS) && shards.memory_max &&
	    memory_used > shards.memory_max) {
		x->shard->counts.refused_for_memory++;
		writer_text(x->w, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
		return;
	}
	x->command->fn(x);
}

/* ------------------------------------------------------------------ what commands use */

uint64_t exec_hash(const struct exec *x, int i)
{
	return i == x->command->first ? x->hash : hash_bytes(x->argv[i].p, x->argv[i].n);
}

struct entry *exec_find_key(struct exec *x, int i)
{
	return keyspace_find(&x->shard->keys, x->db, &x->argv[i], exec_hash(x, i));
}

struct entry *exec_find(struct exec *x)
{
	return keyspace_find(&x->shard->keys, x->db, &x->argv[x->command->first], x->hash);
}

struct entry *exec_find_typed(struct exec *x, enum value_type type, bool *ret_ok)
{
	struct entry *e = exec_find(x);

	*ret_ok = !e || e->value.type == type;
	if (!*ret_ok)
		writer_wrong_type(x->w);
	return *ret_ok ? e : NULL;
}

bool exec_int(struct exec *x, int i, int64_t *ret)
{
	if (number_parse(x->argv[i].p, x->argv[i].n, ret) == 0)
		return true;
	writer_not_integer(x->w);
	return false;
}

bool exec_is(const struct exec *x, int i, const char *word)
{
	return x->argv[i].n == strlen(word) && !strncasecmp(x->argv[i].p, word, x->argv[i].n);
}

void exec_no_memory(struct exec *x)
{
	writer_text(x->w, "-OOM out of memory\r\n");
}
