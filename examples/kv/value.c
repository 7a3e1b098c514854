/* SPDX-License-Identifier: BSD-2-Clause */
/* value: how each type is freed. */
#include "value.h"

#include "list.h"
#include "text.h"

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
	default:
		text_free(v->text);
		return true;
	}
}

bool value_is_large(const struct value *v)
{
	return v->type == VALUE_LIST && v->list->n > LARGE;
}
