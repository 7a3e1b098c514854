/* SPDX-License-Identifier: BSD-2-Clause */
/* text: counted as the shard's until the shard lets go of it. */
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define TEXT_LEAST 16u

struct text *text_new(size_t cap)
{
	struct text *t;

	if (cap < TEXT_LEAST)
		cap = TEXT_LEAST;
	t = memory_alloc(sizeof *t + cap);
	if (!t)
		return NULL;
	atomic_init(&t->refs, 1);
	t->n = 0;
	t->cap = cap;
	return t;
}

void text_free(struct text *t)
{
	memory_uncount(t);
	text_unref(t);
}

struct text *text_ref(struct text *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void text_unref(void *arg)
{
	struct text *t = arg;

	if (text_is_own(t) || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		free(t);
}

bool text_is_own(const struct text *t)
{
	return atomic_load_explicit(&t->refs, memory_order_acquire) == 1;
}

int text_fit(struct text **t, size_t n)
{
	struct text *was = *t, *is;

	if (n <= was->cap && text_is_own(was))
		return 0;
	is = text_new(n > was->n && was->n ? n + n / 2 : n);
	if (!is)
		return -ENOMEM;
	is->n = was->n;
	memcpy(is->data, was->data, was->n);
	text_free(was);
	*t = is;
	return 0;
}
