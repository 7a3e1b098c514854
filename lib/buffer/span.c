/* SPDX-License-Identifier: BSD-2-Clause */
/* span: blocks of one class, cut from one allocation as they are needed. */
#include "buffer/span.h"

#include "buffer/mem.h"

#define SPAN_HEADERS ((unsigned)(SPAN_PAGE / sizeof(struct block)) - 1)
/* data in a span, unless one block is more or its headers fill the page */
#define SPAN_BYTES   (512u << 10)

_Static_assert(sizeof(struct block) == 64, "a header is a cache line");
_Static_assert(sizeof(struct span) <= sizeof(struct block), "a span takes the place of one header");

static unsigned span_total(unsigned cls)
{
	size_t n = cls ? SPAN_BYTES / block_size(cls) : SPAN_HEADERS;

	if (n > SPAN_HEADERS)
		return SPAN_HEADERS;
	return n ? (unsigned)n : 1;
}

static size_t span_bytes(const struct span *s)
{
	return SPAN_PAGE + (s->cls ? s->total * block_size(s->cls) : 0);
}

static void span_link(struct span **list, struct span *s)
{
	s->prev = NULL;
	s->next = *list;
	if (s->next)
		s->next->prev = s;
	*list = s;
}

static void span_unlink(struct span **list, struct span *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		*list = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

static struct span *span_new(struct cache *home, unsigned cls)
{
	struct span t = { .home = home, .cls = cls, .total = span_total(cls) };
	struct span *s = mem_alloc(span_bytes(&t), SPAN_PAGE);

	if (s)
		*s = t;
	return s;
}

/*
 * Where in the page a span's k-th header lies. Each class starts elsewhere: headers with the same
 * offset in their pages look alike to a CPU that matches loads to earlier stores by the low 12 bits
 * of the address, and the first ones of two classes are used together all the time.
 */
static struct block *span_header(struct span *s, unsigned k)
{
	return (struct block *)s + 1 + (s->cls * 9 + k) % SPAN_HEADERS;
}

static struct block *span_carve(struct span *s, uint16_t id)
{
	struct block *b = span_header(s, s->carved);

	b->home = id;
	b->cls = (uint8_t)s->cls;
	b->flags = 0;
	b->mem = b;
	b->base = s->cls ? (unsigned char *)s + SPAN_PAGE + s->carved * block_size(s->cls) : NULL;
	b->end = s->cls ? b->base + block_size(s->cls) : NULL;
	atomic_init(&b->refs, 1);
	s->carved++;
	return b;
}

struct block *span_take(struct span **list, struct cache *home, uint16_t id, unsigned cls)
{
	struct span *s = *list;
	struct block *b;

	if (!s) {
		s = span_new(home, cls);
		if (!s)
			return NULL;
		span_link(list, s);
	}
	b = s->free;
	if (b)
		s->free = b->next;
	else
		b = span_carve(s, id);
	if (++s->taken == s->total)
		span_unlink(list, s);
	return b;
}

void span_put(struct span **list, struct block *b)
{
	struct span *s = span_of(b);

	if (s->taken-- == s->total)
		span_link(list, s);
	if (!s->taken) {
		span_unlink(list, s);
		mem_free(s, span_bytes(s));
		return;
	}
	if (s->cls)
		mem_idle(b->base, block_size(s->cls));
	b->next = s->free;
	s->free = b;
}
