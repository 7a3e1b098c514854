/* SPDX-License-Identifier: BSD-2-Clause */
/* fields: names with values: what Redis calls a hash */
#ifndef KV_FIELDS_H
#define KV_FIELDS_H

#include "reader.h"
#include "table.h"
#include "text.h"

struct field {
	struct node node;
	struct text *value;
	char name[];
};

struct fields {
	struct table table;
};

struct fields *fields_new(void);
bool fields_free_some(struct fields *f, size_t *budget);
/* Return: 1; 0: it had another value; -ENOMEM. */
int fields_put(struct fields *f, const struct arg *name, const struct arg *value);
bool fields_remove(struct fields *f, const struct arg *name);
/* NULL: there is none. */
struct field *fields_find(struct fields *f, const struct arg *name);

#endif
