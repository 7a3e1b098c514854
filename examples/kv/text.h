/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * text: the bytes of a string value
 *
 * A long one goes to a client without a copy: the reply has a reference, and may be the last to
 * have one, on whichever thread. What has a second reference is not written to any more.
 */
#ifndef KV_TEXT_H
#define KV_TEXT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
	_Atomic(unsigned) refs;
	size_t n, cap;
	char data[];
};

/* Room for @cap bytes, and none in it. Return: NULL: no memory. */
struct text *text_new(size_t cap);
/* The shard's reference. */
void text_free(struct text *t);
/* Another one, for a reply; done() of np_linkbuf_write_ref(). */
struct text *text_ref(struct text *t);
void text_unref(void *t);
/* Whether it may be written to. */
bool text_is_own(const struct text *t);
/*
 * text_fit() - one with room for @n bytes and with those that *t had, to be written to
 *
 * It grows by half as much again. Return: 0; -ENOMEM: *t stays.
 */
int text_fit(struct text **t, size_t n);

#endif
