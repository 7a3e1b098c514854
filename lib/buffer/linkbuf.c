/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf: the life of a buffer: new, free, release, and all of it into another. */
#include "buffer/linkbuf.h"

#include <errno.h>
#include <string.h>

#include "buffer/chain.h"
#include "buffer/mem.h"
#include "netpoll/block.h"

_Static_assert(sizeof(struct np_linkbuf) == 48, "an idle connection's memory counts on it");
_Static_assert(sizeof(struct np_linkbuf) + 2 * sizeof(void *) <= sizeof(struct block),
	       "a buffer lives in a cell");

static void linkbuf_become_empty(struct np_linkbuf *b)
{
	b->head = b->read = b->tail = NULL;
	b->len = b->pending = 0;
	b->given = 0;
}

void linkbuf_init(struct np_linkbuf *b)
{
	linkbuf_become_empty(b);
	b->home = 0;
	b->first = BLOCK_FIRST;
	b->flags = 0;
}

void linkbuf_fini(struct np_linkbuf *b)
{
	struct block *e = b->head;

	linkbuf_become_empty(b);
	chain_drop(e, NULL);
}

int np_linkbuf_new(size_t hint, struct np_linkbuf **ret)
{
	struct block *cell = block_get(0);
	struct np_linkbuf *b = (struct np_linkbuf *)cell;
	uint16_t home;

	if (!cell)
		return -ENOMEM;
	home = cell->home;
	linkbuf_init(b);
	b->home = home;
	b->flags = LINKBUF_HEAP;
	if (hint)
		linkbuf_expect(b, hint);
	*ret = b;
	return 0;
}

/* The struct alone; an embedded one stays where it is. */
static void linkbuf_free_shell(struct np_linkbuf *b)
{
	struct block *cell = (struct block *)b;

	if (!(b->flags & LINKBUF_HEAP))
		return;
	cell->word = block_plain_word(b->home, 0);
	block_free(cell);
}

void np_linkbuf_free(struct np_linkbuf **p)
{
	struct np_linkbuf *b = *p;

	if (!b || (b->flags & LINKBUF_OUT))
		return;
	*p = NULL;
	linkbuf_fini(b);
	linkbuf_free_shell(b);
}

/* Bytes that were read and whose block stays, because more of it is unread. */
static void linkbuf_poison(struct block *e)
{
	if (block_alone(e) && !(e->flags & BLOCK_REF))
		memset(e->base, NP_BLOCK_POISONED, (size_t)(e->r - e->base));
}

static slow_path void linkbuf_release_some(struct np_linkbuf *b)
{
	struct block *e = b->head, *read;

	if (b->len + b->pending + b->given == 0) {
		linkbuf_become_empty(b);
		chain_drop(e, NULL);
		return;
	}
	/* Not beyond the tail: the room that space() gave may be behind it. */
	for (read = b->read; !block_left(read) && read != b->tail; read = read->next)
		;
	b->head = b->read = read;
	chain_drop(e, read);
	if (unlikely(mem_flags & NP_BLOCK_POISON))
		linkbuf_poison(read);
}

/* Not plain, or one more than can be at hand. */
void linkbuf_give_odd(struct block *e)
{
	block_drop(e);
}

void np_linkbuf_release(struct np_linkbuf *b)
{
	struct block *e;

	/*
	 * Read in part, from its only block or one behind it: nothing to give back, only to poison.
	 */
	e = b->head;
	if (e && (e != b->read || !block_left(e) || unlikely(mem_flags)))
		linkbuf_release_some(b);
}

void linkbuf_consume(struct np_linkbuf *b, size_t n)
{
	np_linkbuf_skip(b, n);
	np_linkbuf_release(b);
}

void chain_withdraw(struct np_linkbuf *b)
{
	struct block *e;

	if (!b->given)
		return;
	b->given = 0;
	e = b->tail ? b->tail->next : NULL;
	if (!e)
		return;
	b->tail->next = NULL;
	block_drop(e);
}

void chain_drop_unused(struct np_linkbuf *b)
{
	struct block *e = b->tail;

	if (b->len + b->pending || !e || e != b->head)
		return;
	if (e->flags & (BLOCK_FIXED | BLOCK_VIEW) || e->r != e->base)
		return;
	linkbuf_become_empty(b);
	block_drop(e);
}

static void linkbuf_splice(struct np_linkbuf *to, struct np_linkbuf *from)
{
	chain_withdraw(to);
	chain_withdraw(from);
	np_linkbuf_release(from);
	if (!from->head)
		return;
	to->pending += from->len + from->pending;
	if (to->tail)
		to->tail->next = from->head;
	else
		to->head = to->read = from->head;
	to->tail = from->tail;
	linkbuf_become_empty(from);
}

int np_linkbuf_append(struct np_linkbuf *b, struct np_linkbuf **other)
{
	struct np_linkbuf *o = *other;

	if (!o)
		return 0;
	if (o == b || (o->flags & LINKBUF_OUT))
		return -EINVAL;
	linkbuf_splice(b, o);
	*other = NULL;
	linkbuf_free_shell(o);
	return 0;
}
