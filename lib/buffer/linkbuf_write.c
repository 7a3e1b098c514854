/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf_write: the verbs that add bytes, and space and commit for readv(2) and the like. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "buffer/chain.h"

#define WHOLE          256        /* a write this small is not split over two blocks */
#define GIVEN_MAX      (1u << 30) /* more than any one readv(2) brings, and fits in b->given */
#define ARRIVED_FACTOR 16         /* how much space one arrived byte is worth */

static size_t linkbuf_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static unsigned linkbuf_max(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* A block for @n bytes at the end of the chain; those of one chain double, so that large data lies
 * in few. */
static struct block *linkbuf_more(struct np_linkbuf *b, size_t n)
{
	unsigned cls = block_class(n);
	struct block *t = b->tail, *e;

	if (cls == BLOCK_CLASSES)
		return block_get_loose(n);
	cls = linkbuf_max(cls, b->first);
	if (t && t->mem->cls >= cls)
		cls = linkbuf_max(cls, t->mem->cls < BLOCK_GROWN ? t->mem->cls + 1u : BLOCK_GROWN);
	e = block_data(cls);
	return e;
}

static slow_path int linkbuf_reserve_more(struct np_linkbuf *b, size_t n, void **ret_p)
{
	struct block *e;

	if (!n) {
		*ret_p = b; /* something that is not NULL */
		return 0;
	}
	chain_withdraw(b);
	e = linkbuf_more(b, n);
	if (!e)
		return -ENOMEM;
	chain_add(b, e);
	*ret_p = e->w;
	e->w += n;
	b->pending += n;
	return 0;
}

int np_linkbuf_reserve(struct np_linkbuf *b, size_t n, void **ret_p)
{
	struct block *t = b->tail;

	if (!t && n - 1 < block_size(b->first)) /* n == 0 wraps round */
		t = linkbuf_first_block(b, b->first);
	if (unlikely(!t || block_room(t) < n))
		return linkbuf_reserve_more(b, n, ret_p);
	*ret_p = t->w;
	t->w += n;
	b->pending += n;
	return 0;
}

/* Every byte after the first @n unread ones goes. */
static void linkbuf_cut(struct np_linkbuf *b, size_t n)
{
	struct block *e = b->read, *rest;

	for (; block_left(e) < n; e = e->next)
		n -= block_left(e);
	e->w = e->r + n;
	if (e->flags & BLOCK_FIXED)
		e->end = e->w;
	rest = e->next;
	e->next = NULL;
	b->tail = e;
	chain_drop_unused(b);
	chain_drop(rest, NULL);
}

int np_linkbuf_trim(struct np_linkbuf *b, size_t n)
{
	if (n > b->pending)
		return -EINVAL;
	if (n == b->pending)
		return 0;
	b->pending = n;
	linkbuf_cut(b, b->len + n);
	return 0;
}

size_t np_linkbuf_pending(const struct np_linkbuf *b)
{
	return b->pending;
}

static void linkbuf_fill(struct block *t, const void *p, size_t n)
{
	memcpy(t->w, p, n);
	t->w += n;
}

static slow_path int linkbuf_write_more(struct np_linkbuf *b, const void *p, size_t n)
{
	struct block *t, *e;
	size_t k;

	chain_withdraw(b);
	t = b->tail;
	k = t && n > WHOLE ? linkbuf_min(block_room(t), n) : 0;
	e = linkbuf_more(b, n - k);
	if (!e)
		return -ENOMEM;
	if (k)
		linkbuf_fill(t, p, k);
	linkbuf_fill(e, (const char *)p + k, n - k);
	chain_add(b, e);
	return 0;
}

/* A write that does not fit in the tail, or the first of a thread without a cache that counts. */
static slow_path int linkbuf_write_slow(struct np_linkbuf *b, const void *p, size_t n)
{
	struct block *t = b->tail;
	int r = 0;

	if (!n)
		return 0;
	if (t && block_room(t) >= n)
		linkbuf_fill(t, p, n);
	else
		r = linkbuf_write_more(b, p, n);
	if (r < 0)
		return r;
	b->pending += n;
	block_copied(n);
	return 0;
}

/* Into room that is there. memcpy() comes last, so that nothing has to be kept across it. */
static inline int linkbuf_write_here(struct np_linkbuf *b, struct block_cache *c, struct block *t,
				     const void *p, size_t n)
{
	unsigned char *w = t->w;

	t->w = w + n;
	b->pending += n;
	peer_write(c->copied, c->copied + n);
	memcpy(w, p, n);
	return 0;
}

static slow_path int linkbuf_write_first(struct np_linkbuf *b, const void *p, size_t n)
{
	struct block_cache *c = block_cache;
	struct block *t = n - 1 < block_size(b->first) ? block_warm(c, b->first) : NULL;

	if (unlikely(!t))
		return linkbuf_write_slow(b, p, n);
	linkbuf_hold(b, t, n);
	b->pending = n;
	peer_write(c->copied, c->copied + n);
	memcpy(t->r, p, n);
	return 0;
}

int np_linkbuf_write(struct np_linkbuf *b, const void *p, size_t n)
{
	struct block *t = b->tail;
	struct block_cache *c;

	if (!t)
		return linkbuf_write_first(b, p, n);
	c = block_cache;
	if (unlikely(n - 1 >= block_room(t) || !c->id)) /* n == 0 wraps round */
		return linkbuf_write_slow(b, p, n);
	return linkbuf_write_here(b, c, t, p, n);
}

/* Text that does not fit into the last block is formatted once more, into a new one. */
static slow_path int linkbuf_vprintf_long(struct np_linkbuf *b, size_t n, const char *fmt,
					  va_list ap)
{
	void *p;
	int r;

	chain_drop_unused(b);
	r = np_linkbuf_reserve(b, n + 1, &p);
	if (r < 0)
		return r;
	vsnprintf(p, n + 1, fmt, ap);
	b->tail->w--; /* the NUL */
	b->pending--;
	return 0;
}

int linkbuf_vprintf(struct np_linkbuf *b, const char *fmt, va_list ap)
{
	struct block *t = b->tail ? b->tail : linkbuf_first_block(b, b->first);
	size_t room = t ? block_room(t) : 0;
	va_list again;
	int n, r = 0;

	va_copy(again, ap);
	n = vsnprintf(room ? (char *)t->w : NULL, room, fmt, ap);
	if (n < 0) {
		r = -errno;
	} else if ((size_t)n >= room) {
		r = linkbuf_vprintf_long(b, (size_t)n, fmt, again);
	} else {
		t->w += n;
		b->pending += (size_t)n;
	}
	va_end(again);
	if (n <= 0)
		chain_drop_unused(b);
	return r;
}

int np_linkbuf_write_byte(struct np_linkbuf *b, unsigned char c)
{
	return np_linkbuf_write(b, &c, 1);
}

static struct block *linkbuf_reference(const void *p, size_t n, void (*done)(void *arg), void *arg)
{
	struct block *e = n <= PTRDIFF_MAX ? block_get(0) : NULL; /* there is no such memory */

	if (!e)
		return NULL;
	e->next = NULL;
	e->r = (unsigned char *)(uintptr_t)p;
	e->w = e->end = e->r + n;
	e->mem = e;
	e->arg = arg;
	e->done = done;
	e->flags = BLOCK_REF | BLOCK_FIXED;
	atomic_store_explicit(&e->refs, 1, memory_order_relaxed);
	return e;
}

static int linkbuf_done_already(void (*done)(void *arg), void *arg)
{
	if (done)
		done(arg);
	return 0;
}

int np_linkbuf_write_ref(struct np_linkbuf *b, const void *p, size_t n, void (*done)(void *arg),
			 void *arg)
{
	struct block *e;

	if (!n)
		return linkbuf_done_already(done, arg);
	e = linkbuf_reference(p, n, done, arg);
	if (!e)
		return -ENOMEM;
	chain_withdraw(b);
	chain_add(b, e);
	b->pending += n;
	return 0;
}

/* Puts @e and then @rest, a fresh header for the bytes behind, into @at after its first @n unread
 * bytes. */
static void linkbuf_split(struct np_linkbuf *b, struct block *at, size_t n, struct block *e,
			  struct block *rest)
{
	rest->r = at->r + n;
	rest->w = at->w;
	rest->end = at->end;
	rest->mem = at->mem;
	rest->flags = (at->flags & BLOCK_FIXED) | BLOCK_VIEW;
	rest->next = at->next;
	block_ref(at->mem);
	at->w = at->end = at->r + n; /* the memory that follows is another header's */
	at->flags |= BLOCK_SPLIT;
	at->next = e;
	e->next = rest;
	if (b->tail == at)
		b->tail = rest;
}

static int linkbuf_insert(struct np_linkbuf *b, struct block *e, size_t remain)
{
	size_t n = b->len + b->pending - remain;
	struct block *at = b->read, *before = NULL, *rest;

	for (; block_left(at) <= n; at = at->next) {
		n -= block_left(at);
		before = at;
	}
	if (!n && before) {
		e->next = at;
		before->next = e;
		return 0;
	}
	rest = block_get(0);
	if (!rest)
		return -ENOMEM;
	linkbuf_split(b, at, n, e, rest);
	return 0;
}

int np_linkbuf_write_direct(struct np_linkbuf *b, const void *p, size_t n, size_t remain,
			    void (*done)(void *arg), void *arg)
{
	struct block *e;

	if (remain > b->pending)
		return -EINVAL;
	if (!remain || !n)
		return np_linkbuf_write_ref(b, p, n, done, arg);
	e = linkbuf_reference(p, n, done, arg);
	if (!e)
		return -ENOMEM;
	if (linkbuf_insert(b, e, remain) < 0) {
		e->done = NULL; /* refused */
		block_drop(e);
		return -ENOMEM;
	}
	b->pending += n;
	return 0;
}

int np_linkbuf_flush(struct np_linkbuf *b)
{
	b->len += b->pending;
	b->pending = 0;
	return 0;
}

/* ------------------------------------------------------------------ space and commit */

/*
 * A second block for @want bytes behind @lead unread ones, with room for those too: where a frame
 * began before it, only its start is copied, none that arrive here. One that is needed again and
 * again doubles.
 */
static struct block *linkbuf_fresh(const struct np_linkbuf *b, size_t want, size_t lead)
{
	size_t grown = block_size(BLOCK_GROWN);
	size_t limit = b->len > grown / ARRIVED_FACTOR ? b->len * ARRIVED_FACTOR : grown;
	size_t n = linkbuf_min(want <= 2 * limit ? want : limit, BLOCK_MAX), room;
	unsigned cls;
	struct block *e;

	/* So much before so little are many frames that wait, and room for them would be bought for
	 * nothing. */
	if (n <= grown && lead > grown)
		lead = 0;
	cls = linkbuf_max(block_class(linkbuf_min(n + lead, BLOCK_MAX)), b->first);
	if (cls < BLOCK_GROWN && b->tail->mem->cls >= cls)
		cls = b->tail->mem->cls < BLOCK_GROWN ? b->tail->mem->cls + 1u : BLOCK_GROWN;
	e = block_data(cls);
	room = e ? block_room(e) : 0;
	if (lead && (lead + n <= room || lead < room / 4)) {
		e->r = e->w = e->base + lead;
		e->flags = BLOCK_LEAD;
	}
	return e;
}

/*
 * A frame that takes more than a block, of which little is here: read into a block of its own it
 * costs a copy of that little, and in the rest of the tail a copy of all that fits there.
 */
static struct block *linkbuf_block_of_its_own(struct np_linkbuf *b, size_t want)
{
	struct block *t = b->tail, *e;

	if (!b->len || b->len > want / 4 || b->len + want <= block_size(BLOCK_GROWN))
		return NULL;
	e = linkbuf_fresh(b, want, b->len);
	if (e && block_room(t)) {
		t->end = t->w;
		t->flags |= BLOCK_SPLIT;
	}
	return e;
}

static int linkbuf_give(struct np_linkbuf *b, size_t want, struct iovec *iov, int max)
{
	struct block *t = b->tail,
		     *e = block_room(t) < want ? linkbuf_block_of_its_own(b, want) : NULL;
	size_t k = linkbuf_min(block_room(t), want);
	int i = 0;

	if (k)
		iov[i++] = (struct iovec){ t->w, k };
	b->given = (uint32_t)k;
	if (k == want || i == max)
		return i;
	if (!e)
		e = linkbuf_fresh(b, want - k, b->len + k);
	if (!e)
		return i ? i : -ENOMEM;
	t->next = e;
	iov[i] = (struct iovec){ e->w, linkbuf_min(block_room(e), want - k) };
	b->given += (uint32_t)iov[i].iov_len;
	return i + 1;
}

/*
 * One block that is a little large takes less time to fill than two: recv(2) against readv(2).
 * Where the first ones grow no more, what does not fit is as small as it can be.
 */
static struct block *linkbuf_first_for(const struct np_linkbuf *b, size_t want)
{
	size_t most = 4 * block_size(b->first);

	if (want > most && b->first < BLOCK_GROWN)
		return block_data(b->first);
	return block_data(linkbuf_max(block_class(linkbuf_min(want, most)), b->first));
}

int np_linkbuf_space(struct np_linkbuf *b, size_t want, struct iovec *iov, int max)
{
	struct block *e;

	if (max < 1)
		return -EINVAL;
	if (b->pending)
		return -EBUSY;
	chain_withdraw(b);
	want = want ? linkbuf_min(want, GIVEN_MAX) : block_size(b->first);
	if (!b->tail) {
		e = linkbuf_first_for(b, want);
		if (!e)
			return -ENOMEM;
		chain_add(b, e);
	}
	return linkbuf_give(b, want, iov, max);
}

void linkbuf_adapt(struct np_linkbuf *b, size_t n)
{
	uint8_t kind = b->flags & (LINKBUF_HEAP | LINKBUF_OUT);
	unsigned calm = b->flags & LINKBUF_CALM;

	if (n > block_size(b->first)) {
		linkbuf_expect(b, n);
		calm = 0;
	} else if (n > block_size(b->first) / 4 || b->first <= BLOCK_FIRST) {
		calm = 0;
	} else if (n && ++calm == 16) {
		b->first--;
		calm = 0;
	}
	b->flags = kind | (uint8_t)calm;
}

/* Into two blocks, or nothing came. */
static slow_path int linkbuf_commit_slow(struct np_linkbuf *b, size_t n)
{
	struct block *t = b->tail, *e = t ? t->next : NULL;
	size_t k = linkbuf_min(n, t ? block_room(t) : 0);

	if (n > b->given || n - k > (e ? block_room(e) : 0))
		return -EINVAL;
	if (n)
		linkbuf_adapt(b, n);
	b->given = 0;
	b->len += n;
	if (k)
		t->w += k;
	if (e && n > k) {
		e->w += n - k;
		b->tail = e;
	} else if (e) {
		t->next = NULL;
		block_drop(e);
	}
	if (!b->len)
		chain_drop_unused(b);
	return 0;
}

int np_linkbuf_commit(struct np_linkbuf *b, size_t n)
{
	struct block *t = b->tail;

	/* n == 0 wraps round; a second block was given only where the tail had less room */
	if (unlikely(n - 1 >= b->given || block_room(t) < b->given))
		return linkbuf_commit_slow(b, n);
	linkbuf_commit(b, n);
	return 0;
}
