/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf_read: the verbs that look at readable bytes and consume them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "buffer/chain.h"

static const void *nothing = "";

/*
 * The bytes before @last, @n in all, go into the room that was left before its own. Costs what
 * arrived before @last, however much is in it, and no memory. Only where nobody shares @last: once
 * it has been the first of another buffer, slices may show what was consumed there.
 */
static struct block *linkbuf_pull_into_lead(struct block *e, struct block *last, size_t n)
{
	unsigned char *to = last->r - n;

	last->r = to;
	for (; e != last; e = e->next) {
		memcpy(to, e->r, block_left(e));
		to += block_left(e);
		e->r = e->w;
	}
	block_copied(n);
	return last;
}

/* Takes @n bytes out of @e and those behind it. */
static void linkbuf_pull_out(struct block *e, unsigned char *to, size_t n)
{
	block_copied(n);
	for (;; e = e->next) {
		size_t k = block_left(e) < n ? block_left(e) : n;

		memcpy(to, e->r, k);
		e->r += k;
		e->flags &= ~BLOCK_LEAD;
		to += k;
		n -= k;
		if (!n)
			return;
	}
}

static struct block *linkbuf_pull_into_new(struct np_linkbuf *b, struct block *first,
					   struct block *before_last, size_t n)
{
	size_t room = n;
	struct block *e;

	/* The second time for these bytes: make it the last, if what they may grow into is here. */
	if (first->flags & BLOCK_PULLED)
		room = 4 * n > b->len ? 4 * n : b->len;
	e = block_class(room) < BLOCK_CLASSES ? block_data(block_class(room)) :
						block_get_loose(room);
	if (!e)
		return NULL;
	linkbuf_pull_out(first, e->w, n);
	e->w += n;
	e->flags = BLOCK_PULLED;
	e->next = before_last->next;
	before_last->next = e;
	return e;
}

/*
 * linkbuf_gather() - make the next @n bytes, which are there, contiguous
 *
 * Never moves a byte that a pointer may lead to: copied bytes are marked consumed where they were
 * and stay until release(). Repeated for more and more bytes it fills the room of the block it made
 * last, which grows fourfold and to all that is here: bytes gathered in a thousand steps are copied
 * twice, or 2 1/3 times if they arrived between them.
 */
static struct block *linkbuf_gather(struct np_linkbuf *b, size_t n)
{
	struct block *e = b->read, *last, *before_last = NULL;
	size_t before = 0;

	while (e->r == e->w)
		e = e->next;
	b->read = e;
	for (last = e; before + block_left(last) < n; last = last->next) {
		before += block_left(last);
		before_last = last;
	}
	if (last == e)
		return e;
	if (last->flags & BLOCK_LEAD && block_alone(last) &&
	    (size_t)(last->r - last->base) >= before) {
		e = linkbuf_pull_into_lead(e, last, before);
	} else if (block_room(e) >= n - block_left(e)) {
		/* e is not the tail: nobody will write into its room any more. */
		size_t more = n - block_left(e);

		linkbuf_pull_out(e->next, e->w, more);
		e->w += more;
	} else {
		e = linkbuf_pull_into_new(b, e, before_last, n);
	}
	if (e)
		b->read = e;
	return e;
}

/* next() and peek() where the first block with bytes does not have @n. */
static slow_path int linkbuf_next_slow(struct np_linkbuf *b, size_t n, const void **ret_p,
				       size_t consumed)
{
	struct block *e;

	if (n > b->len)
		return -NP_ESHORT;
	if (!n) {
		*ret_p = nothing;
		return 0;
	}
	e = linkbuf_gather(b, n);
	if (!e)
		return -ENOMEM;
	*ret_p = e->r;
	e->r += consumed;
	b->len -= consumed;
	return 0;
}

size_t np_linkbuf_len(const struct np_linkbuf *b)
{
	return b->len;
}

int np_linkbuf_next(struct np_linkbuf *b, size_t n, const void **ret_p)
{
	if (!linkbuf_has(b, n))
		return linkbuf_next_slow(b, n, ret_p, n);
	*ret_p = linkbuf_take(b, n);
	return 0;
}

int np_linkbuf_peek(struct np_linkbuf *b, size_t n, const void **ret_p)
{
	if (!linkbuf_has(b, n))
		return linkbuf_next_slow(b, n, ret_p, 0);
	*ret_p = b->read->r;
	return 0;
}

void chain_consume(struct np_linkbuf *b, size_t n)
{
	struct block *e = b->read;

	b->len -= n;
	for (; block_left(e) < n; e = e->next) {
		n -= block_left(e);
		e->r = e->w;
	}
	e->r += n;
	b->read = e;
}

int np_linkbuf_skip(struct np_linkbuf *b, size_t n)
{
	if (linkbuf_has(b, n))
		linkbuf_take(b, n);
	else if (n > b->len)
		return -NP_ESHORT;
	else if (n)
		chain_consume(b, n);
	return 0;
}

/* Knuth, Morris and Pratt: back[i] of the first i + 1 bytes are both their beginning and end. */
void linkbuf_delim_init(struct linkbuf_delim *d, const void *s, size_t n, unsigned char *back)
{
	unsigned k = 0;

	*d = (struct linkbuf_delim){ .s = s, .n = (unsigned)n, .back = back };
	back[0] = 0;
	for (unsigned i = 1; i < n; i++) {
		while (k && d->s[i] != d->s[k])
			k = back[k - 1];
		k += d->s[i] == d->s[k];
		back[i] = (unsigned char)k;
	}
}

/* From @p to @end. Return: behind the last byte of the delimiter; NULL: *matched of it are here. */
static const unsigned char *linkbuf_match(const unsigned char *p, const unsigned char *end,
					  const struct linkbuf_delim *d, unsigned *matched)
{
	unsigned k = *matched;

	for (; p < end; p++) {
		if (!k) {
			p = memchr(p, d->s[0], (size_t)(end - p));
			if (!p)
				break;
		}
		while (k && *p != d->s[k])
			k = d->back[k - 1];
		k += *p == d->s[k];
		if (k == d->n)
			return p + 1;
	}
	*matched = k;
	return NULL;
}

size_t linkbuf_find_on(const struct np_linkbuf *b, const struct linkbuf_delim *d,
		       struct linkbuf_mark *m, size_t max)
{
	size_t at = m->before, end = b->len < max ? b->len : max;

	for (const struct block *e = m->block ? m->block : b->read; at < end; e = e->next) {
		size_t k = end - at < block_left(e) ? end - at : block_left(e);
		const unsigned char *start = e->r + (m->seen > at ? m->seen - at : 0), *found;

		m->block = e; /* it may grow: the next search begins in it */
		m->before = at;
		if (start < e->r + k) {
			found = linkbuf_match(start, e->r + k, d, &m->matched);
			if (found)
				return at + (size_t)(found - e->r);
		}
		at += k;
	}
	if (m->seen < end)
		m->seen = end;
	return 0;
}

/* The first @seen bytes have been looked at. */
static slow_path int linkbuf_until_slow(struct np_linkbuf *b, char delim, size_t seen, size_t max,
					const void **ret_p, size_t *ret_n)
{
	const unsigned char c = (unsigned char)delim;
	struct linkbuf_mark m = { .seen = seen };
	size_t n = linkbuf_find_on(b, &(struct linkbuf_delim){ .s = &c, .n = 1 }, &m, max);
	int r;

	if (!max)
		return -EINVAL;
	if (!n)
		return b->len < max ? -NP_ESHORT : -NP_ETOOLONG;
	r = np_linkbuf_next(b, n, ret_p);
	if (r < 0)
		return r;
	*ret_n = n;
	return 0;
}

int np_linkbuf_until(struct np_linkbuf *b, char delim, size_t max, const void **ret_p,
		     size_t *ret_n)
{
	const unsigned char *end = NULL;
	struct block *e = b->read;
	size_t k = b->len < max ? b->len : max;

	if (k) {
		k = k < block_left(e) ? k : block_left(e);
		end = memchr(e->r, delim, k);
	}
	if (!end)
		return linkbuf_until_slow(b, delim, k, max, ret_p, ret_n);
	*ret_n = (size_t)(end - e->r) + 1;
	*ret_p = linkbuf_take(b, *ret_n);
	return 0;
}

static void linkbuf_copy_out(struct np_linkbuf *b, unsigned char *to, size_t n)
{
	size_t left = n, k;

	for (struct block *e = b->read; left; e = e->next) {
		k = left < block_left(e) ? left : block_left(e);
		memcpy(to, e->r, k);
		to += k;
		left -= k;
	}
	block_copied(n);
	chain_consume(b, n);
}

int np_linkbuf_copy(struct np_linkbuf *b, void *dst, size_t n)
{
	if (unlikely(n - 1 >= b->len))
		return n ? -NP_ESHORT : 0;
	linkbuf_copy_out(b, dst, n);
	return 0;
}

int np_linkbuf_dup(struct np_linkbuf *b, size_t n, char **ret_s)
{
	char *s;

	if (n > b->len)
		return -NP_ESHORT;
	s = malloc(n + 1);
	if (!s)
		return -ENOMEM;
	if (n)
		linkbuf_copy_out(b, (unsigned char *)s, n);
	s[n] = '\0';
	*ret_s = s;
	return 0;
}

int np_linkbuf_byte(struct np_linkbuf *b, unsigned char *ret)
{
	const void *p;
	int r = np_linkbuf_next(b, 1, &p);

	if (r < 0)
		return r;
	*ret = *(const unsigned char *)p;
	return 0;
}

int np_linkbuf_slice(struct np_linkbuf *b, size_t n, struct np_linkbuf **ret)
{
	struct np_linkbuf *s;
	struct block *v;
	size_t k;
	int r;

	if (n > b->len)
		return -NP_ESHORT;
	r = np_linkbuf_new(0, &s);
	if (r < 0)
		return r;
	for (struct block *e = b->read; s->len < n; e = e->next) {
		k = n - s->len < block_left(e) ? n - s->len : block_left(e);
		if (!k)
			continue;
		v = block_view(e->mem, e->r, k);
		if (!v) {
			np_linkbuf_free(&s);
			return -ENOMEM;
		}
		chain_add(s, v);
		s->len += k;
	}
	if (n)
		chain_consume(b, n);
	*ret = s;
	return 0;
}

int np_linkbuf_iov(const struct np_linkbuf *b, struct iovec *iov, int max)
{
	size_t left = b->len;
	int i = 0;

	if (max < 0)
		return -EINVAL;
	for (struct block *e = b->read; left && i < max; e = e->next) {
		size_t k = left < block_left(e) ? left : block_left(e);

		if (!k)
			continue;
		iov[i++] = (struct iovec){ e->r, k };
		left -= k;
	}
	return i;
}
