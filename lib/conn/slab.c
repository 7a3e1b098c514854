/* SPDX-License-Identifier: BSD-2-Clause */
/* slab: the regions. The sanitizer sees each object by itself: there they come from malloc. */
#include "conn/slab.h"

#include <stdint.h>
#include <stdlib.h>

#include "sys/mem.h"

#define REGION (64u * 1024)

struct slot {
	struct slot *next;
};

struct region {
	struct list link; /* in slab->open while a slot is free */
	struct slot *free;
	unsigned fresh; /* slots from here on were never used */
	unsigned used;
};

#define ALIGN 8u
#define HEAD  ((sizeof(struct region) + ALIGN - 1) & ~(size_t)(ALIGN - 1))

void slab_init(struct slab *s, size_t size)
{
	list_init(&s->open);
	s->warm = NULL;
	s->slot = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	s->empty = 0;
	s->bytes = 0;
}

#ifdef __SANITIZE_ADDRESS__

void *slab_get(struct slab *s)
{
	s->bytes += s->slot;
	return malloc(s->slot);
}

void slab_put(struct slab *s, void *p)
{
	s->bytes -= s->slot;
	free(p);
}

void slab_fini(struct slab *s)
{
}

#else

static unsigned slab_capacity(const struct slab *s)
{
	return (unsigned)((REGION - HEAD) / s->slot);
}

/* Mapped twice as large as needed, and the ends given back. */
static void *slab_map(void)
{
	size_t head;
	void *p;

	if (sys_mem_map(2 * REGION, &p) < 0)
		return NULL;
	head = (size_t)(-(uintptr_t)p & (REGION - 1));
	if (head)
		sys_mem_unmap(p, head);
	sys_mem_unmap((char *)p + head + REGION, REGION - head);
	return (char *)p + head;
}

static struct region *region_new(struct slab *s)
{
	struct region *g = slab_map();

	if (!g)
		return NULL;
	g->free = NULL;
	g->fresh = g->used = 0;
	list_append(&s->open, &g->link);
	s->empty++;
	s->bytes += REGION;
	return g;
}

static void *slot_take(const struct slab *s, struct region *g)
{
	struct slot *o = g->free;

	if (!o)
		return (char *)g + HEAD + s->slot * g->fresh++;
	g->free = o->next;
	return o;
}

static bool slab_has_slot(const struct slab *s, const struct region *g)
{
	return g->free || g->fresh < slab_capacity(s);
}

static __attribute__((noinline)) void *slab_get_cold(struct slab *s)
{
	struct region *g = list_empty(&s->open) ? region_new(s) :
						  container_of(s->open.next, struct region, link);
	void *p;

	if (!g)
		return NULL;
	p = slot_take(s, g);
	if (g->used++ == 0)
		s->empty--;
	if (!slab_has_slot(s, g))
		list_remove(&g->link);
	return p;
}

void *slab_get(struct slab *s)
{
	void *p = s->warm;

	if (!p)
		return slab_get_cold(s);
	s->warm = NULL;
	return p;
}

static __attribute__((noinline)) void slab_put_cold(struct slab *s, void *p)
{
	struct region *g = (struct region *)((uintptr_t)p & ~(uintptr_t)(REGION - 1));
	struct slot *o = p;

	if (!slab_has_slot(s, g))
		list_append(&s->open, &g->link);
	o->next = g->free;
	g->free = o;
	if (--g->used)
		return;
	if (s->empty) {
		list_remove(&g->link);
		sys_mem_unmap(g, REGION);
		s->bytes -= REGION;
	} else {
		s->empty++;
	}
}

void slab_put(struct slab *s, void *p)
{
	void *cold = s->warm;

	s->warm = p;
	if (cold)
		slab_put_cold(s, cold);
}

void slab_fini(struct slab *s)
{
	struct list *l;

	if (s->warm)
		slab_put_cold(s, s->warm);
	while ((l = list_pop(&s->open)))
		sys_mem_unmap(container_of(l, struct region, link), REGION);
}

#endif
