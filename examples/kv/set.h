/* SPDX-License-Identifier: BSD-2-Clause */
/* set: names, each once */
#ifndef KV_SET_H
#define KV_SET_H

#include "reader.h"
#include "table.h"

struct member {
	struct node node;
	char name[];
};

struct set {
	struct table members;
};

struct set *set_new(void);
bool set_free_some(struct set *s, size_t *budget);
/* Return: 1; 0: it was in it; -ENOMEM. */
int set_add(struct set *s, const struct arg *name);
bool set_remove(struct set *s, const struct arg *name);
bool set_has(struct set *s, const struct arg *name);
/* One by chance, to be freed by set_drop(); there has to be one. */
struct member *set_random(struct set *s);
void set_drop(struct set *s, struct member *m);

#endif
