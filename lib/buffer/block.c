/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * block: the caches, one for each thread that has used a buffer
 *
 * A free block lies in its cache, at one of three places, or in its span:
 *
 *   place     whose access             leaves it by
 *   warm      own thread               block_get(); cache_cool() -> shelf
 *   shelf     own thread               block_get(); over its limit, block_decay(), end of the
 *                                      thread -> span
 *   returned  any thread, atomic       cache_reclaim() -> shelf; cache_settle() -> span
 *   span      any, the cache's lock    block_get(); all of it free -> the allocator
 *
 * block_free() puts it at warm, where nothing is there, or on the shelf; another thread's block at
 * returned. A cache is never freed: the blocks of a thread that has ended still lead to it, and the
 * threads that free them must find it. The next thread that needs a cache gets the oldest such one,
 * its debts included.
 */
#include "buffer/block.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "buffer/apart.h"
#include "buffer/mem.h"
#include "buffer/span.h"
#include "netpoll/block.h"
#include "sys/opts.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && offsetof(struct block, home) % 8 == 4 &&
		       offsetof(struct block, cls) % 8 == 7,
	       "block_plain_word() lays them out so");

#define CACHE_BYTES  (8u << 20) /* a shelf keeps at most this much, */
#define CACHE_BLOCKS 4u         /* but this many whatever their size, */
#define CACHE_CELLS  16384u     /* and this many bare headers; */
#define CACHE_SWING  64u        /* so many times as much where a clock lets it decay */
/* blocks that others freed and the owner has not fetched go to the spans above this */
#define RETURN_BYTES (1u << 20)

struct cache {
	struct block_cache hot; /* the owner's */

	pthread_mutex_t lock; /* for the spans */
	struct span *spans[BLOCK_CLASSES];
	size_t owned[BLOCK_CLASSES]; /* taken from spans */
	size_t high[BLOCK_CLASSES];

	struct cache *next;   /* all there are, under caches_lock */
	struct cache *orphan; /* the next one without a thread, under caches_lock */

	/* Any thread, atomic */
	alignas(64) _Atomic(struct block *) returned;
	atomic_uint returned_n[BLOCK_CLASSES];
	atomic_bool orphaned;
};

/* The cache of a thread before its first block: always empty, owns nothing, never written. */
static struct block_cache none;
__thread struct block_cache *block_cache = &none;
__thread void (*block_grew)(void);

static pthread_mutex_t caches_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cache *caches, *orphans;
static uint16_t last_id;
static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_thread_end;

static unsigned shelf_limit(unsigned cls)
{
	size_t n = CACHE_BYTES / block_size(cls);

	if (!cls)
		return CACHE_CELLS;
	return n < CACHE_BLOCKS ? CACHE_BLOCKS : (unsigned)n;
}

static size_t block_data_size(unsigned cls)
{
	return cls ? block_size(cls) : 0;
}

/* With its header. */
static size_t block_bytes(unsigned cls)
{
	return block_data_size(cls) + sizeof(struct block);
}

/* ------------------------------------------------------------------ back into the spans */

static void cache_put_back(struct cache *c, struct block *b)
{
	unsigned cls = b->cls;

	c->owned[cls]--;
	peer_write(c->hot.taken, c->hot.taken - block_bytes(cls));
	span_put(&c->spans[cls], b);
}

static void cache_put_back_list(struct cache *c, struct block *b)
{
	struct block *next;

	pthread_mutex_lock(&c->lock);
	for (; b; b = next) {
		next = b->next;
		cache_put_back(c, b);
	}
	pthread_mutex_unlock(&c->lock);
}

static struct block *cache_take_returned(struct cache *c)
{
	struct block *list = atomic_exchange(&c->returned, NULL);

	for (struct block *b = list; b; b = b->next)
		atomic_fetch_sub_explicit(&c->returned_n[b->cls], 1, memory_order_relaxed);
	return list;
}

static void cache_settle(struct cache *c)
{
	cache_put_back_list(c, cache_take_returned(c));
}

/* Lets go of the @n blocks that were freed longest ago. */
static void cache_shelf_drop(struct cache *c, struct shelf *s, unsigned n)
{
	struct block **p = &s->free;
	struct block *cold;

	for (unsigned keep = s->n - n; keep; keep--)
		p = &(*p)->next;
	cold = *p;
	*p = NULL;
	peer_write(s->n, s->n - n);
	if (s->low > s->n)
		s->low = s->n;
	cache_put_back_list(c, cold);
}

/*
 * A working set larger than the shelf would be given to the kernel and faulted in again at each
 * swing. Where an owner of a clock lets it decay, a second or two is the bound on that.
 */
static bool cache_shelf_grow(struct shelf *s, unsigned cls)
{
	if (!block_grew || s->limit >= shelf_limit(cls) * CACHE_SWING)
		return false;
	s->limit *= 2;
	return true;
}

static void cache_shelve(struct cache *c, struct block *b)
{
	struct shelf *s = &c->hot.shelf[b->cls];

	if (shelf_put(s, b))
		return;
	if (cache_shelf_grow(s, b->cls)) {
		shelf_put(s, b);
		return;
	}
	cache_shelf_drop(c, s, s->n - s->n / 2);
	shelf_put(s, b);
}

/* The block at hand goes on top of its shelf. */
static void cache_cool(struct cache *c, unsigned cls)
{
	struct block *b = c->hot.warm[cls];

	if (!b)
		return;
	peer_write(c->hot.warm[cls], NULL);
	cache_shelve(c, b);
}

static void cache_reclaim(struct cache *c)
{
	struct block *b = cache_take_returned(c), *next;

	for (; b; b = next) {
		next = b->next;
		cache_shelve(c, b);
	}
}

/* ------------------------------------------------------------------ a thread's cache */

static void cache_leave(void *arg)
{
	struct cache *c = arg;

	block_cache = &none;
	for (unsigned i = 0; i < BLOCK_CLASSES; i++) {
		cache_cool(c, i);
		cache_shelf_drop(c, &c->hot.shelf[i], c->hot.shelf[i].n);
	}
	cache_settle(c);
	pthread_mutex_lock(&caches_lock);
	c->orphan = orphans;
	orphans = c;
	/* A push before this is settled here; a later one sees it, and its thread settles. */
	atomic_store(&c->orphaned, true);
	pthread_mutex_unlock(&caches_lock);
	cache_settle(c);
}

static void cache_make_thread_end(void)
{
	have_thread_end = pthread_key_create(&thread_end, cache_leave) == 0;
}

static struct cache *cache_new(void)
{
	struct cache *c =
		last_id < BLOCK_LOOSE - 1 ? aligned_alloc(alignof(struct cache), sizeof *c) : NULL;

	if (!c)
		return NULL;
	memset(c, 0, sizeof *c);
	c->hot.id = ++last_id;
	pthread_mutex_init(&c->lock, NULL);
	for (unsigned i = 0; i < BLOCK_CLASSES; i++) {
		c->hot.plain[i] = block_plain_word(c->hot.id, i);
		c->hot.shelf[i].limit = shelf_limit(i);
	}
	c->next = caches;
	caches = c;
	return c;
}

static struct cache *cache_enter(void)
{
	struct cache *c;

	pthread_once(&once, cache_make_thread_end);
	if (!have_thread_end)
		return NULL;
	pthread_mutex_lock(&caches_lock);
	c = orphans;
	if (c) {
		orphans = c->orphan;
		atomic_store(&c->orphaned, false);
		for (unsigned i = 0; i < BLOCK_CLASSES; i++)
			c->hot.shelf[i].limit = shelf_limit(i);
	} else {
		c = cache_new();
	}
	pthread_mutex_unlock(&caches_lock);
	if (!c)
		return NULL;
	block_cache = &c->hot;
	if (pthread_setspecific(thread_end, c)) {
		cache_leave(c);
		return NULL;
	}
	return c;
}

static struct cache *cache_mine(void)
{
	return block_cache->id ? (struct cache *)block_cache : cache_enter();
}

struct block_cache *block_cache_mine(void)
{
	struct cache *c = cache_mine();

	return c ? &c->hot : NULL;
}

void block_copied_slow(size_t n)
{
	struct cache *c = cache_mine();

	if (c)
		peer_write(c->hot.copied, c->hot.copied + n);
}

/* ------------------------------------------------------------------ where the fast paths end */

static struct block *cache_take_from_span(struct cache *c, unsigned cls)
{
	struct block *b;

	pthread_mutex_lock(&c->lock);
	b = span_take(&c->spans[cls], c, c->hot.id, cls);
	if (b) {
		peer_write(c->hot.taken, c->hot.taken + block_bytes(cls));
		if (++c->owned[cls] > c->high[cls])
			c->high[cls] = c->owned[cls];
	}
	pthread_mutex_unlock(&c->lock);
	if (b && block_grew)
		block_grew();
	return b;
}

struct block *block_get_slow(unsigned cls)
{
	struct cache *c;
	struct block *b;

	if (mem_debug())
		return apart_get(cls, block_data_size(cls));
	c = cache_mine();
	if (!c)
		return NULL;
	cache_reclaim(c);
	b = shelf_take(&c->hot.shelf[cls]);
	return b ? b : cache_take_from_span(c, cls);
}

struct block *block_get_loose(size_t n)
{
	struct block *b;

	mem_debug();
	b = apart_get(0, n);
	if (b)
		block_clear(b);
	return b;
}

/* Another thread's block. Its owner may end at any moment, so once it is pushed only the cache is
 * sure. */
static void cache_give_back(struct block *b)
{
	struct cache *c = span_of(b)->home;
	unsigned cls = b->cls;
	unsigned n = atomic_fetch_add_explicit(&c->returned_n[cls], 1, memory_order_relaxed) + 1;
	struct block *head = atomic_load_explicit(&c->returned, memory_order_relaxed);

	do
		b->next = head;
	while (!atomic_compare_exchange_weak(&c->returned, &head, b));
	if (atomic_load(&c->orphaned) || n * block_data_size(cls) > RETURN_BYTES)
		cache_settle(c);
}

/* As block_get() gives it. */
static void block_reset(struct block *b)
{
	unsigned cls = b->cls;

	peer_write(b->word, block_plain_word(b->home, cls));
	if (cls)
		b->end = b->base + block_size(cls);
}

void block_free_slow(struct block *b)
{
	if (b->home == BLOCK_LOOSE) {
		apart_free(b);
		return;
	}
	block_reset(b);
	if (block_keep(b))
		return;
	if (b->home == block_cache->id)
		cache_shelve((struct cache *)block_cache, b);
	else
		cache_give_back(b);
}

size_t block_decay(void)
{
	struct cache *c;

	if (!block_cache->id)
		return 0;
	c = (struct cache *)block_cache;
	cache_reclaim(c);
	for (unsigned i = 0; i < BLOCK_CLASSES; i++) {
		struct shelf *s = &c->hot.shelf[i];

		cache_cool(c, i);
		cache_shelf_drop(c, s, s->low);
		s->low = s->n;
	}
	return peer_read(c->hot.taken);
}

void np_block_trim(void)
{
	block_decay();
	block_decay();
}

/* ------------------------------------------------------------------ counts */

static void cache_add_stats(struct cache *c, struct np_block_stats *t)
{
	size_t cached, held;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < BLOCK_CLASSES; i++) {
		cached = peer_read(c->hot.shelf[i].n) + (peer_read(c->hot.warm[i]) != NULL) +
			 atomic_load_explicit(&c->returned_n[i], memory_order_relaxed);
		held = c->owned[i] > cached ? c->owned[i] - cached : 0;
		if (!i) {
			t->cells_in_use += held;
			continue;
		}
		t->blocks_in_use += held;
		t->bytes_in_use += held * block_size(i);
		t->blocks_cached += cached;
		t->bytes_cached += cached * block_size(i);
		t->bytes_high += c->high[i] * block_size(i);
	}
	pthread_mutex_unlock(&c->lock);
	t->bytes_copied += peer_read(c->hot.copied);
}

int np_block_stats(struct np_block_stats *ret)
{
	struct np_block_stats t = { .sz = sizeof t };
	struct mem_count m = mem_counted();

	pthread_mutex_lock(&caches_lock);
	for (struct cache *c = caches; c; c = c->next)
		cache_add_stats(c, &t);
	pthread_mutex_unlock(&caches_lock);
	apart_stats(&t);
	t.bytes_mapped = m.bytes;
	t.allocs = m.allocs;
	t.frees = m.frees;
	return sys_opts_give(ret, &t, sizeof t);
}
