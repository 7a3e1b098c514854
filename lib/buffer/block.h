/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * block: a stretch of bytes, and the cache that blocks come from
 *
 * One 64-byte header serves three kinds of stretch. A chain holds headers, not memory: two chains
 * may show the same bytes, through different headers.
 *
 *   kind       cls  mem    whose bytes                     free when
 *   data       > 0  self   base[0 .. size), mapped with it refs falls to 0
 *   reference    0  self   the caller's, until done(arg)   refs falls to 0
 *   view         0  other  @mem's                          it leaves its chain; then refs of mem
 *
 * Of all headers that show one data block at most one has room (end > w): only it may write.
 *
 * refs is touched without a locked instruction while it is 1: only a holder can make it 2, and
 * there is one holder. Once it was shared, decrements are atomic.
 */
#ifndef BUFFER_BLOCK_H
#define BUFFER_BLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* Kept out of line, so that the fast path that ends in it needs no stack frame. */
#define slow_path   __attribute__((noinline))

struct block {
	struct block *next; /* the bytes after these; in a cache: the next free one */
	unsigned char *r;   /* first byte not consumed */
	unsigned char *w;   /* end of what is written */
	unsigned char *end; /* end of what may be written */
	struct block *mem;
	union {
		unsigned char *base; /* data */
		void *arg;           /* reference */
	};
	void (*done)(void *arg); /* reference; may be NULL */
	union {
		struct {
			atomic_uint refs; /* headers that show this memory, itself included */
			uint16_t home;    /* id of the cache it belongs to, or BLOCK_LOOSE */
			uint8_t flags;
			uint8_t cls;
		};
		uint64_t word; /* all four, refs lowest, for block_keep() */
	};
};

/* Unread bytes in @e, unflushed ones included. */
static inline size_t block_left(const struct block *e)
{
	return (size_t)(e->w - e->r);
}

static inline size_t block_room(const struct block *e)
{
	return (size_t)(e->end - e->w);
}

/* flags; 0 is a data block with nothing special about it. */
#define BLOCK_REF    1  /* a reference; done() is due */
#define BLOCK_FIXED  2  /* a reference or a slice: has no room and never gets any */
#define BLOCK_VIEW   4  /* shows another block's memory */
#define BLOCK_LEAD   8  /* base .. r was left empty, for bytes that belong before these */
#define BLOCK_PULLED 16 /* made by pulling bytes together */
#define BLOCK_SPLIT  32 /* end was moved: what follows it is another header's */

/* Sizes: class 0 is a bare header, class k has 256 << k bytes: 512 to 4 MiB. Above that:
 * BLOCK_LOOSE. */
#define BLOCK_CLASSES 15u
#define BLOCK_MAX     block_size(BLOCK_CLASSES - 1)
#define BLOCK_FIRST   3u      /* class of the first block where nothing else is known: 2 KiB */
#define BLOCK_GROWN   8u      /* class up to which a chain's blocks double: 64 KiB */
#define BLOCK_LOOSE   0xffffu /* home: an allocation of its own, in no cache */

static inline size_t block_size(unsigned cls)
{
	return (size_t)256 << cls;
}

/* The smallest class with room for @n; BLOCK_CLASSES where there is none. */
static inline unsigned block_class(size_t n)
{
	if (n <= block_size(1))
		return 1;
	if (n > BLOCK_MAX)
		return BLOCK_CLASSES;
	return 64u - (unsigned)__builtin_clzll(n - 1) - 8u;
}

/*
 * The free blocks of one class. Its thread alone changes it; np_block_stats() reads n from
 * elsewhere, so n is written in one piece.
 */
struct shelf {
	struct block *free; /* last freed first: warm */
	unsigned n;
	unsigned low;   /* fewest since the last decay: that many were not needed */
	unsigned limit; /* more than that go back to their spans */
};

struct block_cache {
	/* One free block of each class, apart from the shelf: taken and put with one store. */
	struct block *warm[BLOCK_CLASSES];
	uint64_t plain[BLOCK_CLASSES]; /* see block_keep() */
	struct shelf shelf[BLOCK_CLASSES];
	uint16_t id;
	size_t copied; /* bytes_copied of this thread */
	/* bytes that its blocks take in spans, held and cached; written under the cache's lock */
	size_t taken;
	_Atomic(size_t) loose; /* and those that are an allocation of their own */
};

extern __thread struct block_cache *block_cache;

struct block *block_get_slow(unsigned cls);
/* This thread's; NULL: it has none and can have none. */
struct block_cache *block_cache_mine(void);
void block_free_slow(struct block *b);
void block_copied_slow(size_t n);
/* A block with @n > BLOCK_MAX bytes, as from block_data(). */
struct block *block_get_loose(size_t n);

/* Counts that one thread writes and others read now and then. */
#define peer_read(x)     __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define peer_write(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

static inline void block_clear(struct block *b)
{
	b->next = NULL;
	b->r = b->w = b->base;
}

/* A block with what it held, if the thread's cache @c has one at hand. */
static inline struct block *block_warm(struct block_cache *c, size_t cls)
{
	struct block *b = c->warm[cls];

	if (likely(b))
		peer_write(c->warm[cls], NULL);
	return b;
}

static inline struct block *shelf_take(struct shelf *s)
{
	struct block *b = s->free;
	unsigned n;

	if (unlikely(!b))
		return NULL;
	s->free = b->next;
	n = s->n - 1;
	peer_write(s->n, n);
	if (n < s->low)
		s->low = n;
	return b;
}

/*
 * A header of class @cls. cls and home are set, flags is 0; of a data block base, end, mem and refs
 * too. NULL: no memory.
 */
static inline struct block *block_get(size_t cls)
{
	struct block_cache *c = block_cache;
	struct block *b = c->warm[cls];

	if (likely(b)) {
		peer_write(c->warm[cls], NULL);
		return b;
	}
	b = shelf_take(&c->shelf[cls]);
	return likely(b) ? b : block_get_slow((unsigned)cls);
}

/* An empty data block. */
static inline struct block *block_data(size_t cls)
{
	struct block *b = block_get(cls);

	if (likely(b))
		block_clear(b);
	return b;
}

/*
 * refs 1, @home, no flags and @cls, as one word. Set in one store, since block_keep() loads it in
 * one, and a load that takes bytes of several stores waits until they are in the cache.
 */
static inline uint64_t block_plain_word(uint16_t home, unsigned cls)
{
	return 1 | (uint64_t)home << 32 | (uint64_t)cls << 56;
}

/*
 * Puts @b at hand in this thread's cache, if there is room and @b is plain: of this cache, shown
 * once, without flags. That is one comparison, of the whole word.
 */
static inline bool block_keep(struct block *b)
{
	struct block_cache *c = block_cache;
	uint64_t word = __atomic_load_n(&b->word, __ATOMIC_ACQUIRE);
	size_t cls = word >> 56;

	if (unlikely(word != c->plain[cls] || c->warm[cls]))
		return false;
	peer_write(c->warm[cls], b);
	return true;
}

static inline bool shelf_put(struct shelf *s, struct block *b)
{
	if (unlikely(s->n >= s->limit))
		return false;
	b->next = s->free;
	s->free = b;
	peer_write(s->n, s->n + 1);
	return true;
}

/* Back to a cache. Nobody shows it any more; done() has run. */
static inline void block_free(struct block *b)
{
	struct block_cache *c = block_cache;
	uint64_t word = __atomic_load_n(&b->word, __ATOMIC_ACQUIRE);
	size_t cls = word >> 56;

	if (unlikely(word != c->plain[cls]))
		block_free_slow(b);
	else if (!c->warm[cls])
		peer_write(c->warm[cls], b);
	else if (unlikely(!shelf_put(&c->shelf[cls], b)))
		block_free_slow(b);
}

/* One header less shows the memory of @m. */
static inline void block_unref(struct block *m)
{
	void (*done)(void *arg);
	void *arg;

	if (atomic_load_explicit(&m->refs, memory_order_acquire) != 1) {
		if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
			return;
		atomic_store_explicit(&m->refs, 1, memory_order_relaxed);
	}
	if (unlikely(m->flags & BLOCK_REF)) {
		done = m->done;
		arg = m->arg;
		block_free(m);
		if (done)
			done(arg); /* last: it may use buffers itself */
		return;
	}
	block_free(m);
}

static inline void block_ref(struct block *m)
{
	if (atomic_load_explicit(&m->refs, memory_order_relaxed) == 1)
		atomic_store_explicit(&m->refs, 2, memory_order_relaxed);
	else
		atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

/* Nobody else shows this block's memory. */
static inline bool block_alone(const struct block *b)
{
	return b->mem == b && atomic_load_explicit(&b->refs, memory_order_acquire) == 1;
}

/* A view is a bare header, plain again without its flags. */
static inline void block_free_view(struct block *v)
{
	v->word = block_plain_word(v->home, 0);
	block_free(v);
}

/* A header leaves its chain. */
static inline void block_drop(struct block *b)
{
	struct block *m = b->mem;

	if (m != b)
		block_free_view(b);
	block_unref(m);
}

static inline void block_copied(size_t n)
{
	struct block_cache *c = block_cache;

	if (unlikely(!c->id))
		block_copied_slow(n);
	else
		peer_write(c->copied, c->copied + n);
}

/* A header that shows @n bytes from @p of the memory of @m. */
static inline struct block *block_view(struct block *m, unsigned char *p, size_t n)
{
	struct block *v = block_get(0);

	if (unlikely(!v))
		return NULL;
	block_ref(m);
	v->next = NULL;
	v->r = p;
	v->w = v->end = p + n;
	v->mem = m;
	v->flags = BLOCK_FIXED | BLOCK_VIEW;
	return v;
}

/*
 * block_decay() - let go of the blocks that this thread has not needed since the last call
 *
 * Called every second or so from block_grew() on, by an owner of a clock, while it returns more
 * than is worth a timer; two calls without work between leave nothing cached.
 * Return: bytes that this thread's blocks take, held and cached.
 */
size_t block_decay(void);
/* Bytes that the blocks of this thread take, held (wherever they are now) and cached. */
static inline size_t block_taken(void)
{
	return peer_read(block_cache->taken) +
	       atomic_load_explicit(&block_cache->loose, memory_order_relaxed);
}
/* Called, where it is set, when this thread's blocks have come to take more memory. May not use
 * buffers. */
extern __thread void (*block_grew)(void);

#endif
