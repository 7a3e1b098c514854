/* SPDX-License-Identifier: BSD-2-Clause */
/* value: what a key stands for, by its type */
#ifndef KV_VALUE_H
#define KV_VALUE_H

#include <stdbool.h>
#include <stddef.h>

enum value_type { VALUE_STRING, VALUE_LIST, VALUE_SET, VALUE_HASH, VALUE_ZSET };

struct value {
	enum value_type type;
	union {
		void *any;
		struct text *text;
		struct list *list;
		struct set *set;
		struct fields *fields;
		struct zset *zset;
	};
};

/* As TYPE says it. */
const char *value_name(enum value_type type);
/*
 * value_free_some() - free it, or a part of it
 *
 * @budget: how many parts; less than it was by those that were freed. Return: whether it is all
 * freed; false: to be called again.
 */
bool value_free_some(struct value *v, size_t *budget);
/* What is long to free is left to the shard: keyspace_bury(). */
bool value_is_large(const struct value *v);

#endif
