/* SPDX-License-Identifier: BSD-2-Clause */
/* apart: one allocation for each block, and, if asked for, the stack of its taker. */
#include "buffer/apart.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer/mem.h"

#define DEPTH 12

struct holder {
	struct holder *next, *prev;
	int tid, depth;
	void *stack[DEPTH];
};

struct apart {
	size_t bytes;              /* of data */
	struct block_cache *cache; /* of the thread that took it, which is never freed; or NULL */
	struct holder holder;      /* linked under NP_BLOCK_HOLDERS */
	alignas(64) struct block b;
};

static atomic_size_t cells, blocks, bytes, high;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct holder *oldest, *newest;

static struct apart *apart_of(struct holder *h)
{
	return (struct apart *)((char *)h - offsetof(struct apart, holder));
}

/*
 * The frames of this library's caller: in its shared form it knows its own by their address.
 */
static void apart_remember(struct holder *h)
{
	Dl_info us, them;
	int first = 0;

	h->tid = (int)gettid();
	h->depth = backtrace(h->stack, DEPTH);
	if (!dladdr((void *)(uintptr_t)apart_remember, &us))
		return;
	while (first < h->depth && dladdr(h->stack[first], &them) && them.dli_fbase == us.dli_fbase)
		first++;
	if (first == h->depth)
		return;
	h->depth -= first;
	memmove(h->stack, h->stack + first, (size_t)h->depth * sizeof h->stack[0]);
}

static void apart_holder_add(struct holder *h)
{
	apart_remember(h);
	pthread_mutex_lock(&lock);
	h->next = NULL;
	h->prev = newest;
	if (newest)
		newest->next = h;
	else
		oldest = h;
	newest = h;
	pthread_mutex_unlock(&lock);
}

static void apart_holder_remove(struct holder *h)
{
	pthread_mutex_lock(&lock);
	if (h->prev)
		h->prev->next = h->next;
	else
		oldest = h->next;
	if (h->next)
		h->next->prev = h->prev;
	else
		newest = h->prev;
	pthread_mutex_unlock(&lock);
}

static void apart_count(size_t n)
{
	size_t held = atomic_fetch_add_explicit(&bytes, n, memory_order_relaxed) + n;
	size_t was = atomic_load_explicit(&high, memory_order_relaxed);

	atomic_fetch_add_explicit(n ? &blocks : &cells, 1, memory_order_relaxed);
	while (held > was && !atomic_compare_exchange_weak_explicit(
				     &high, &was, held, memory_order_relaxed, memory_order_relaxed))
		;
}

struct block *apart_get(unsigned cls, size_t n)
{
	struct apart *a =
		n > SIZE_MAX - sizeof *a ? NULL : mem_alloc(sizeof *a + n, alignof(struct apart));
	struct block *b;

	if (!a)
		return NULL;
	a->bytes = n;
	b = &a->b;
	b->base = n ? (unsigned char *)(a + 1) : NULL;
	b->end = n ? b->base + n : NULL;
	b->mem = b;
	b->home = BLOCK_LOOSE;
	b->cls = (uint8_t)cls;
	b->flags = 0;
	atomic_init(&b->refs, 1);
	apart_count(n);
	a->cache = block_cache_mine();
	if (a->cache)
		atomic_fetch_add_explicit(&a->cache->loose, sizeof *a + n, memory_order_relaxed);
	if (mem_flags & NP_BLOCK_HOLDERS)
		apart_holder_add(&a->holder);
	return b;
}

void apart_free(struct block *b)
{
	struct apart *a = (struct apart *)((char *)b - offsetof(struct apart, b));

	if (mem_flags & NP_BLOCK_HOLDERS)
		apart_holder_remove(&a->holder);
	if (mem_flags & NP_BLOCK_POISON)
		memset(a + 1, NP_BLOCK_POISONED, a->bytes);
	if (a->cache)
		atomic_fetch_sub_explicit(&a->cache->loose, sizeof *a + a->bytes,
					  memory_order_relaxed);
	atomic_fetch_sub_explicit(&bytes, a->bytes, memory_order_relaxed);
	atomic_fetch_sub_explicit(a->bytes ? &blocks : &cells, 1, memory_order_relaxed);
	mem_free(a, sizeof *a + a->bytes);
}

void apart_stats(struct np_block_stats *t)
{
	t->cells_in_use += atomic_load_explicit(&cells, memory_order_relaxed);
	t->blocks_in_use += atomic_load_explicit(&blocks, memory_order_relaxed);
	t->bytes_in_use += atomic_load_explicit(&bytes, memory_order_relaxed);
	t->bytes_high += atomic_load_explicit(&high, memory_order_relaxed);
}

static int apart_report(struct holder *h,
			int (*fn)(const struct np_block_holder *holder, void *arg), void *arg)
{
	struct apart *a = apart_of(h);
	char **words = backtrace_symbols(h->stack, 1);
	struct np_block_holder t = {
		.data = a->bytes ? a + 1 : NULL,
		.bytes = a->bytes,
		.tid = h->tid,
		.depth = h->depth,
		.stack = h->stack,
		.where = words ? words[0] : "",
	};
	int r = fn(&t, arg);

	free(words);
	return r;
}

int np_block_holders(int (*fn)(const struct np_block_holder *holder, void *arg), void *arg)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	for (struct holder *h = oldest; h && !r; h = h->next)
		r = apart_report(h, fn, arg);
	pthread_mutex_unlock(&lock);
	return r;
}
