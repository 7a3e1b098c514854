/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linkbuf: the inside of struct np_linkbuf, for the parts of this library that embed one
 *
 * The chain, oldest first. All bytes before @read's r are consumed; readable and unflushed ones are
 * told apart by the two counts alone, so a flush touches no block.
 *
 *   head ── kept for pointers ── read ── ... ── tail ── (room of space(), until commit())
 *
 *   head  read  tail  len  pending   state     leaves it by
 *    0     0     0     0      0      empty     reserve(), write(), append(), space() -> holding
 *    x     x     x     *      *      holding   release() with len + pending == 0 -> empty;
 *                                              commit(0), trim(0) where nothing was read -> empty
 */
#ifndef BUFFER_LINKBUF_H
#define BUFFER_LINKBUF_H

#include <stdarg.h>
#include <stdint.h>

#include "buffer/block.h"
#include "netpoll/linkbuf.h"

/* 48 bytes: with two words behind it, it lies in one cell. */
struct np_linkbuf {
	struct block *head; /* release() frees from here up to read */
	size_t len;         /* readable */
	struct block *read; /* next() takes here; may be used up while later blocks are not */
	size_t pending;     /* written, not flushed */
	struct block *tail; /* reserve() adds here */
	uint32_t given;     /* bytes that space() gave and commit() has not settled */
	uint16_t home;      /* of the cell it lies in, if LINKBUF_HEAP */
	uint8_t first;      /* class of the first block; grows with bursts and shrinks after them */
	uint8_t flags;
};

#define LINKBUF_HEAP 0x80 /* from np_linkbuf_new(), not embedded */
/* a connection's output: it counts what is submitted of it, so that it cannot be given away */
#define LINKBUF_OUT  0x40
#define LINKBUF_CALM 0x3f /* how many commits in a row have left most of the first block empty */

/* np_linkbuf_len() and np_linkbuf_flush() for its embedders, without the call. */
static inline size_t linkbuf_len(const struct np_linkbuf *b)
{
	return b->len;
}

static inline void linkbuf_flush(struct np_linkbuf *b)
{
	b->len += b->pending;
	b->pending = 0;
}

/* Whether @n > 0 bytes can be read and the next @n lie in one block. */
static inline bool linkbuf_has(const struct np_linkbuf *b, size_t n)
{
	return likely(n - 1 < b->len && block_left(b->read) >= n);
}

/* Consumes the next @n bytes, which linkbuf_has(). */
static inline const void *linkbuf_take(struct np_linkbuf *b, size_t n)
{
	const void *p = b->read->r;

	b->read->r += n;
	b->len -= n;
	return p;
}

/* The empty chain of @b becomes @e, of which the first @n bytes are written. */
static inline void linkbuf_hold(struct np_linkbuf *b, struct block *e, size_t n)
{
	unsigned char *base = e->base;

	e->next = NULL;
	e->r = base;
	e->w = base + n;
	b->head = b->read = b->tail = e;
}

/* Whether @e is all that @b, which is not empty, consists of. */
static inline bool linkbuf_is_only(const struct np_linkbuf *b, const struct block *e)
{
	return e == b->head && !b->given;
}

/* Its only block, all of which is consumed, goes back: the common end of a request. */
void linkbuf_give_odd(struct block *e);
static inline void linkbuf_give_only(struct np_linkbuf *b, struct block *e)
{
	b->head = b->read = b->tail = NULL;
	b->len = 0;
	if (unlikely(!block_keep(e)))
		linkbuf_give_odd(e);
}

/* np_linkbuf_skip() of bytes that are there, and np_linkbuf_release(). */
void linkbuf_consume(struct np_linkbuf *b, size_t n);

/* The first block of an empty chain, if one is at hand; the common beginning of a reply. */
static inline struct block *linkbuf_first_block(struct np_linkbuf *b, size_t cls)
{
	struct block *t = block_warm(block_cache, cls);

	if (likely(t))
		linkbuf_hold(b, t, 0);
	return t;
}

/*
 * np_linkbuf_space() in its common case: an empty buffer, no more than twice its first block, and
 * one at hand
 *
 * Settled by np_linkbuf_commit() or linkbuf_commit(). Return: @want bytes to fill; NULL: it takes
 * np_linkbuf_space().
 */
static inline void *linkbuf_space(struct np_linkbuf *b, size_t want)
{
	size_t size = block_size(b->first);
	struct block *t;

	if (unlikely(b->tail || want > 2 * size))
		return NULL;
	t = linkbuf_first_block(b, b->first + (size_t)(want > size));
	if (unlikely(!t))
		return NULL;
	b->given = (uint32_t)want;
	return t->w;
}

/* The first block of an empty chain is to have room for @n bytes, where they are not too many. */
static inline void linkbuf_expect(struct np_linkbuf *b, size_t n)
{
	b->first = n > block_size(BLOCK_GROWN) ? BLOCK_GROWN : (uint8_t)block_class(n);
}

/* The first block is sized for what one commit brings: at once when that grows, slowly when it
 * falls. */
void linkbuf_adapt(struct np_linkbuf *b, size_t n);

/* np_linkbuf_commit() of @n > 0 bytes that lie in what linkbuf_space() gave. */
static inline void linkbuf_commit(struct np_linkbuf *b, size_t n)
{
	b->tail->w += n;
	b->given = 0;
	b->len += n;
	if (unlikely(b->first != BLOCK_FIRST || n > block_size(BLOCK_FIRST)))
		linkbuf_adapt(b, n);
}

/* Holds no block, and cannot fail. */
void linkbuf_init(struct np_linkbuf *b);
/* Gives everything back; b is as after linkbuf_init(). */
void linkbuf_fini(struct np_linkbuf *b);

/*
 * Two words for a queue of buffers from np_linkbuf_new() (np_conn_send's mail): they lie
 * behind the struct, and an embedded buffer has none. lib/buffer never reads them.
 */
static inline void **linkbuf_link(struct np_linkbuf *b)
{
	return (void **)(b + 1);
}

/* How far a search has come; all 0 to begin with. Good until something is consumed, peeked or
 * released. */
struct linkbuf_mark {
	const struct block *block; /* NULL: at the first one */
	size_t before;             /* readable bytes before it */
	size_t seen;               /* that were looked at */
	unsigned matched;          /* of the delimiter, at the end of those */
};

#define LINKBUF_DELIM_MAX 255

/* A delimiter to look for, and the bytes of it that still match where the next one does not. */
struct linkbuf_delim {
	const unsigned char *s;
	unsigned n;
	const unsigned char *back; /* n of them; NULL where n is 1 */
};

/* @n 1 to LINKBUF_DELIM_MAX; @back has room for as many, and lives as long as *d, like @s. */
void linkbuf_delim_init(struct linkbuf_delim *d, const void *s, size_t n, unsigned char *back);
/*
 * Where the first @d ends among the first @max readable bytes: the n for next(); 0 where there is
 * none. Goes on from @m: each byte is looked at once, in however many pieces and blocks a line
 * comes.
 */
size_t linkbuf_find_on(const struct np_linkbuf *b, const struct linkbuf_delim *d,
		       struct linkbuf_mark *m, size_t max);

/*
 * linkbuf_vprintf() - add formatted text, straight into the room of the last block where it fits
 *
 * Return: 0; what vsnprintf(3) says, negated: -EILSEQ, -EOVERFLOW; -ENOMEM.
 */
int linkbuf_vprintf(struct np_linkbuf *b, const char *fmt, va_list ap);

#endif
