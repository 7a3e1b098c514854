/* SPDX-License-Identifier: BSD-2-Clause */
/* chain: the steps on a buffer's chain that its reading and its writing half share. */
#ifndef BUFFER_CHAIN_H
#define BUFFER_CHAIN_H

#include "buffer/linkbuf.h"

static inline void chain_add(struct np_linkbuf *b, struct block *e)
{
	if (b->tail)
		b->tail->next = e;
	else
		b->head = b->read = e;
	b->tail = e;
}

/* Lets go of @e and all behind it, up to @stop. The buffer must be in order already: done() may
 * look. */
static inline void chain_drop(struct block *e, const struct block *stop)
{
	struct block *next;

	for (; e != stop; e = next) {
		next = e->next;
		block_drop(e);
	}
}

/* Takes back the room that space() gave. */
void chain_withdraw(struct np_linkbuf *b);
/* An empty buffer from which nothing was read holds no block. */
void chain_drop_unused(struct np_linkbuf *b);
/* Consumes @n bytes, which are there. */
void chain_consume(struct np_linkbuf *b, size_t n);

#endif
