/* SPDX-License-Identifier: BSD-2-Clause */
/* value: how each type is freed. */
#include "value.h"

#include "fields.h"
#include "list.h"
#include "set.h"
#include "text.h"
#include "zset.h"

#define LARGE 4096u /* elements */

const char *value_name(enum value_type type)
{
	static const char *const names[] = { "string", "list", "set", "hash", "zset" };

	return names[type];
}

bool value_free_some(struct value *v, size_t *budget)
{
	switch (v->type) {
	case VALUE_LIST:
		return list_free_some(v->list, budget);
	case VALUE_SET:
		return set_free_some(v->set, budget);
	case VALUE_HASH:
		return fields_free_some(v->fields, budget);
	case VALUE_ZSET:
		return zset_free_some(v->zset, budget);
	default:
		text_free(v->text);
		return true;
	}
}

bool value_is_large(const struct value *v)
{
	switch (v->type) {
	case VALUE_LIST:
		return v->list->n > LARGE;
	case VALUE_SET:
		return v->set->members.count > LARGE;
	case VALUE_HASH:
		return v->fields->table.count > LARGE;
	case VALUE_ZSET:
		return v->zset->table.count > LARGE;
	default:
		return false;
	}
}
