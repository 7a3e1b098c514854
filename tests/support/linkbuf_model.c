/* SPDX-License-Identifier: BSD-2-Clause */
/* linkbuf_model: the verbs, and the flat arrays that say what each must have done. */
#include "support/linkbuf_model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "netpoll/block.h"
#include "netpoll/linkbuf.h"

#define BUFFERS   4
#define POINTERS  24           /* looked at, of those given since the last release */
#define REFS      512          /* in one program */
#define BYTES_MAX (768u << 10) /* in one buffer */
#define LOOK_MAX  4096         /* bytes of a pointer that are looked at until it ends */

struct pointer {
	const uint8_t *p;
	uint8_t *should;
	size_t n;
};

struct ref {
	uint8_t *mem, *should;
	size_t n;
	int done;
	bool accepted, touched;
};

/* bytes[0 .. len) can be read, bytes[len .. len + pending) are unflushed. */
struct flat {
	struct np_linkbuf *b;
	uint8_t *bytes;
	size_t len, pending, cap;
	struct pointer given[POINTERS];
	int ngiven;
};

struct model {
	const uint8_t *at, *end;
	struct flat flat[BUFFERS];
	struct ref refs[REFS];
	int nrefs;
	uint32_t noise; /* what is written */
	struct model_result result;
};

/* Says what is wrong and ends it; the words are for printf. */
static void wrong(const struct model *m, const char *cond, const char *words, ...)
{
	va_list ap;

	fprintf(stderr, "linkbuf_model: step %lu: not %s: ", m->result.steps, cond);
	va_start(ap, words);
	vfprintf(stderr, words, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

#define MUST(cond, ...)                                  \
	do {                                             \
		if (!(cond))                             \
			wrong(m, #cond, "" __VA_ARGS__); \
	} while (0)

/* ------------------------------------------------------------------ the program */

static unsigned take(struct model *m)
{
	return m->at < m->end ? *m->at++ : 0;
}

/* Mostly small, often at a block's edge, sometimes large. */
static size_t take_size(struct model *m)
{
	unsigned a = take(m), b = take(m);

	switch (a & 7) {
	case 0:
	case 1:
		return b & 31;
	case 2:
	case 3:
		return (a >> 3) * 8u + b;
	case 4:
		return ((size_t)b << 4) + (a >> 3);
	case 5:
		return ((size_t)512 << (b & 7)) + (a >> 3) - 16;
	case 6:
		return (size_t)b * 97 + (a >> 3);
	default:
		return b < 8 ? (size_t)b << 15 : (size_t)b << 6;
	}
}

/* Up to and with @most, or a little more than it. */
static size_t take_upto(struct model *m, size_t most)
{
	unsigned a = take(m);

	if (a >= 0xf8)
		return most + (a & 7);
	if (a >= 0xe0 || !most)
		return most;
	return (((size_t)a << 8 | take(m)) * 2654435761u) % (most + 1);
}

static struct flat *take_flat(struct model *m)
{
	return &m->flat[take(m) % BUFFERS];
}

static void fill(struct model *m, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		m->noise = m->noise * 1664525u + 1013904223u;
		p[i] = (uint8_t)(m->noise >> 24);
	}
}

/* ------------------------------------------------------------------ the flat side */

static void *must_alloc(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint8_t *flat_insert(struct flat *f, size_t at, size_t n)
{
	size_t have = f->len + f->pending;

	if (have + n > f->cap) {
		f->cap = (have + n) * 2;
		f->bytes = must_alloc(realloc(f->bytes, f->cap));
	}
	if (n)
		memmove(f->bytes + at + n, f->bytes + at, have - at);
	return f->bytes ? f->bytes + at : NULL;
}

static void flat_add(struct flat *f, const uint8_t *p, size_t n)
{
	uint8_t *to = flat_insert(f, f->len + f->pending, n);

	if (n)
		memcpy(to, p, n);
	f->pending += n;
}

static void flat_consume(struct flat *f, size_t n)
{
	f->len -= n;
	if (n)
		memmove(f->bytes, f->bytes + n, f->len + f->pending);
}

static void pointers_hold(struct model *m, struct flat *f)
{
	for (int i = 0; i < f->ngiven; i++) {
		struct pointer *g = &f->given[i];

		MUST(!memcmp(g->p, g->should, g->n), "a pointer to %zu bytes does not hold", g->n);
	}
}

static void pointers_end(struct model *m, struct flat *f)
{
	pointers_hold(m, f);
	while (f->ngiven)
		free(f->given[--f->ngiven].should);
}

static void look_until_release(struct flat *f, const uint8_t *p, size_t n)
{
	struct pointer *g;

	if (f->ngiven == POINTERS || !n)
		return;
	g = &f->given[f->ngiven++];
	g->p = p;
	g->n = n < LOOK_MAX ? n : LOOK_MAX;
	g->should = must_alloc(malloc(g->n));
	memcpy(g->should, p, g->n);
}

/* Every byte and both counts. */
static void holds(struct model *m, struct flat *f)
{
	struct iovec iov[16];
	size_t at = 0;
	int n, i;

	MUST(np_linkbuf_len(f->b) == f->len, "%zu, not %zu", np_linkbuf_len(f->b), f->len);
	MUST(np_linkbuf_pending(f->b) == f->pending, "%zu, not %zu", np_linkbuf_pending(f->b),
	     f->pending);
	n = np_linkbuf_iov(f->b, iov, 16);
	for (i = 0; i < n; i++) {
		MUST(iov[i].iov_len && iov[i].iov_len <= f->len - at);
		MUST(!memcmp(iov[i].iov_base, f->bytes + at, iov[i].iov_len), "from byte %zu", at);
		at += iov[i].iov_len;
	}
	MUST(n == 16 || at == f->len, "iov has %zu bytes of %zu", at, f->len);
}

/* A call that found no memory. */
static bool refused(struct model *m, struct flat *f, int r)
{
	if (r != -ENOMEM)
		return false;
	m->result.refused++;
	holds(m, f);
	pointers_hold(m, f);
	return true;
}

/* ------------------------------------------------------------------ verbs that write */

static bool full(const struct flat *f, size_t n)
{
	return f->len + f->pending + n > BYTES_MAX;
}

static void do_reserve(struct model *m, struct flat *f)
{
	size_t n = take_size(m);
	void *p;
	int r;

	if (full(f, n))
		return;
	r = np_linkbuf_reserve(f->b, n, &p);
	if (refused(m, f, r))
		return;
	MUST(!r);
	fill(m, p, n);
	flat_add(f, p, n);
}

static void do_write(struct model *m, struct flat *f)
{
	size_t n = take_size(m);
	uint8_t *p = must_alloc(malloc(n + 1));
	int r;

	fill(m, p, n);
	if (!full(f, n)) {
		r = np_linkbuf_write(f->b, p, n);
		if (!refused(m, f, r)) {
			MUST(!r);
			flat_add(f, p, n);
		}
	}
	free(p);
}

static void do_write_byte(struct model *m, struct flat *f)
{
	uint8_t c = (uint8_t)take(m);
	int r = np_linkbuf_write_byte(f->b, c);

	if (refused(m, f, r))
		return;
	MUST(!r);
	flat_add(f, &c, 1);
}

static void ref_free(struct ref *r)
{
	free(r->mem);
	free(r->should);
	r->mem = r->should = NULL;
}

static void ref_done(void *arg)
{
	struct ref *r = arg;

	r->done++;
	r->touched = memcmp(r->mem, r->should, r->n);
	ref_free(r);
}

static struct ref *new_ref(struct model *m, size_t n)
{
	struct ref *r;

	if (m->nrefs == REFS)
		return NULL;
	r = &m->refs[m->nrefs++];
	r->n = n;
	r->mem = must_alloc(malloc(n + 1));
	r->should = must_alloc(malloc(n + 1));
	fill(m, r->mem, n);
	memcpy(r->should, r->mem, n);
	return r;
}

static void ref_refused(struct model *m, struct ref *r)
{
	MUST(!r->done, "done() of a write_ref that was refused");
	ref_free(r);
}

static void do_write_ref(struct model *m, struct flat *f)
{
	size_t n = take_size(m);
	struct ref *ref = full(f, n) ? NULL : new_ref(m, n);
	int r;

	if (!ref)
		return;
	flat_add(f, ref->mem, n); /* before: with n == 0 done() may have run afterwards */
	r = np_linkbuf_write_ref(f->b, ref->mem, n, ref_done, ref);
	if (r)
		f->pending -= n;
	if (refused(m, f, r)) {
		ref_refused(m, ref);
		return;
	}
	MUST(!r);
	ref->accepted = true;
}

static void insert_direct(struct model *m, struct flat *f, size_t remain)
{
	size_t n = take_size(m) & 0xfff;
	struct ref *ref = full(f, n) ? NULL : new_ref(m, n);
	uint8_t *to;
	int r;

	if (!ref)
		return;
	r = np_linkbuf_write_direct(f->b, ref->mem, n, remain, ref_done, ref);
	if (r == -EINVAL) {
		MUST(remain > f->pending);
		ref_refused(m, ref);
	} else if (refused(m, f, r)) {
		ref_refused(m, ref);
	} else {
		MUST(!r && remain <= f->pending);
		ref->accepted = true;
		to = flat_insert(f, f->len + f->pending - remain, n);
		if (n)
			memcpy(to, ref->mem, n);
		f->pending += n;
	}
}

static void do_write_direct(struct model *m, struct flat *f)
{
	insert_direct(m, f, take_upto(m, f->pending));
}

/* A frame that is reserved in one, with payloads put into it, and filled last. */
static void do_frame(struct model *m, struct flat *f)
{
	size_t n = take_size(m), remain, least = n;
	uint8_t *p, *at;
	void *v;
	int r;

	if (full(f, n) || !n)
		return;
	r = np_linkbuf_reserve(f->b, n, &v);
	if (refused(m, f, r))
		return;
	MUST(!r);
	p = v;
	fill(m, p, n);
	flat_add(f, p, n);
	for (int i = take(m) & 3; i; i--) {
		remain = take_upto(m, least);
		insert_direct(m, f, remain);
		if (remain < least)
			least = remain;
	}
	/* The reserved bytes are still writable where they were: the last ones are the frame's
	 * last. */
	at = f->bytes + f->len + f->pending - n;
	for (size_t i = n - least; i < n; i++)
		at[i] = p[i] ^= 0xff;
}

static void do_trim(struct model *m, struct flat *f)
{
	size_t n = take_upto(m, f->pending);
	int r = np_linkbuf_trim(f->b, n);

	if (n > f->pending) {
		MUST(r == -EINVAL);
		return;
	}
	MUST(!r);
	f->pending = n;
}

static void do_flush(struct model *m, struct flat *f)
{
	MUST(!np_linkbuf_flush(f->b));
	f->len += f->pending;
	f->pending = 0;
}

static void renew(struct model *m, struct flat *f)
{
	while (np_linkbuf_new(take_size(m), &f->b) == -ENOMEM)
		m->result.refused++;
	f->len = f->pending = 0;
}

static void do_append(struct model *m, struct flat *f)
{
	struct flat *o = take_flat(m);

	if (o == f) {
		MUST(np_linkbuf_append(f->b, &f->b) == -EINVAL);
		return;
	}
	if (full(f, o->len + o->pending))
		return;
	pointers_end(m, o);
	flat_add(f, o->bytes, o->len + o->pending);
	MUST(!np_linkbuf_append(f->b, &o->b) && !o->b);
	renew(m, o);
}

/* ------------------------------------------------------------------ verbs that read */

static bool is_short(struct model *m, struct flat *f, size_t n, int r)
{
	if (n <= f->len)
		return false;
	MUST(r == -NP_ESHORT, "%d for %zu of %zu", r, n, f->len);
	return true;
}

static void do_next(struct model *m, struct flat *f, bool advance)
{
	size_t n = take_upto(m, f->len);
	const void *p = NULL;
	int r = advance ? np_linkbuf_next(f->b, n, &p) : np_linkbuf_peek(f->b, n, &p);

	if (is_short(m, f, n, r) || refused(m, f, r))
		return;
	MUST(!r);
	MUST(!n || !memcmp(p, f->bytes, n), "%zu bytes", n);
	look_until_release(f, p, n);
	if (advance)
		flat_consume(f, n);
}

static void do_skip(struct model *m, struct flat *f)
{
	size_t n = take_upto(m, f->len);
	int r = np_linkbuf_skip(f->b, n);

	if (is_short(m, f, n, r))
		return;
	MUST(!r);
	flat_consume(f, n);
}

static void do_until(struct model *m, struct flat *f)
{
	uint8_t delim = (uint8_t)take(m);
	size_t max = take_upto(m, f->len), n = 0, end = max < f->len ? max : f->len;
	const uint8_t *found = end ? memchr(f->bytes, delim, end) : NULL;
	const void *p;
	int r = np_linkbuf_until(f->b, (char)delim, max, &p, &n);

	if (!max) {
		MUST(r == -EINVAL);
	} else if (!found) {
		MUST(r == (f->len < max ? -NP_ESHORT : -NP_ETOOLONG), "%d", r);
	} else if (!refused(m, f, r)) {
		MUST(!r && n == (size_t)(found - f->bytes) + 1);
		MUST(!memcmp(p, f->bytes, n));
		look_until_release(f, p, n);
		flat_consume(f, n);
	}
}

static void do_copy(struct model *m, struct flat *f)
{
	size_t n = take_upto(m, f->len);
	uint8_t *p = must_alloc(malloc(n + 1));
	int r = np_linkbuf_copy(f->b, p, n);

	if (!is_short(m, f, n, r)) {
		MUST(!r);
		MUST(!n || !memcmp(p, f->bytes, n));
		flat_consume(f, n);
	}
	free(p);
}

static void do_dup(struct model *m, struct flat *f)
{
	size_t n = take_upto(m, f->len);
	char *s;
	int r = np_linkbuf_dup(f->b, n, &s);

	if (is_short(m, f, n, r))
		return;
	MUST(!r && !s[n]);
	MUST(!n || !memcmp(s, f->bytes, n));
	free(s);
	flat_consume(f, n);
}

static void do_byte(struct model *m, struct flat *f)
{
	uint8_t c;
	int r = np_linkbuf_byte(f->b, &c);

	if (is_short(m, f, 1, r))
		return;
	MUST(!r && c == f->bytes[0]);
	flat_consume(f, 1);
}

static void do_slice(struct model *m, struct flat *f)
{
	struct flat *o = take_flat(m);
	size_t n = take_upto(m, f->len);
	struct np_linkbuf *s = NULL;
	int r;

	if (o == f)
		return;
	r = np_linkbuf_slice(f->b, n, &s);
	if (is_short(m, f, n, r) || refused(m, f, r)) {
		MUST(!s);
		return;
	}
	MUST(!r);
	pointers_end(m, o);
	np_linkbuf_free(&o->b);
	o->b = s;
	o->len = o->pending = 0;
	flat_add(o, f->bytes, n);
	o->len = n;
	o->pending = 0;
	flat_consume(f, n);
}

static void do_release(struct model *m, struct flat *f)
{
	pointers_end(m, f);
	np_linkbuf_release(f->b);
}

static void do_free(struct model *m, struct flat *f)
{
	pointers_end(m, f);
	np_linkbuf_free(&f->b);
	renew(m, f);
}

/* ------------------------------------------------------------------ space and commit */

/* What a reader may do while the kernel fills the space. */
static void read_on(struct model *m, struct flat *f)
{
	unsigned how = take(m);

	if (how & 1)
		do_next(m, f, how & 2);
	if (how & 4)
		do_skip(m, f);
	if (how & 8)
		do_release(m, f);
}

static void do_space(struct model *m, struct flat *f)
{
	size_t want = take_size(m), given = 0, n, left, k;
	int max = 1 + (int)(take(m) & 1);
	struct iovec iov[2];
	int r;

	if (full(f, want))
		return;
	r = np_linkbuf_space(f->b, want, iov, max);
	if (refused(m, f, r))
		return;
	if (f->pending) {
		MUST(r == -EBUSY);
		return;
	}
	MUST(r >= 1 && r <= max);
	for (int i = 0; i < r; i++)
		given += iov[i].iov_len;
	MUST(given && (!want || given <= want), "%zu of %zu", given, want);
	read_on(m, f);
	n = take_upto(m, given);
	left = n < given ? n : given;
	for (int i = 0; i < r; i++) {
		k = left < iov[i].iov_len ? left : iov[i].iov_len;
		fill(m, iov[i].iov_base, k);
		flat_add(f, iov[i].iov_base, k);
		left -= k;
	}
	if (n > given) {
		f->pending = 0;
		MUST(np_linkbuf_commit(f->b, n) == -EINVAL);
		if (take(m) & 1)
			return; /* left open: the next verb has to cope */
		n = 0;
	}
	MUST(!np_linkbuf_commit(f->b, n));
	MUST(np_linkbuf_commit(f->b, 1) == -EINVAL);
	f->len += n;
	f->pending = 0;
}

/* ------------------------------------------------------------------ one program */

static void step(struct model *m)
{
	unsigned verb = take(m) % 24;
	struct flat *f = take_flat(m);

	switch (verb) {
	case 0:
		do_reserve(m, f);
		break;
	case 1:
	case 2:
		do_write(m, f);
		break;
	case 3:
		do_write_byte(m, f);
		break;
	case 4:
		do_write_ref(m, f);
		break;
	case 5:
		do_write_direct(m, f);
		break;
	case 6:
		do_frame(m, f);
		break;
	case 7:
		do_trim(m, f);
		break;
	case 8:
	case 9:
		do_flush(m, f);
		break;
	case 10:
		do_append(m, f);
		break;
	case 11:
	case 12:
		do_next(m, f, true);
		break;
	case 13:
		do_next(m, f, false);
		break;
	case 14:
		do_skip(m, f);
		break;
	case 15:
		do_until(m, f);
		break;
	case 16:
		do_copy(m, f);
		break;
	case 17:
		do_dup(m, f);
		break;
	case 18:
		do_byte(m, f);
		break;
	case 19:
		do_slice(m, f);
		break;
	case 20:
		do_release(m, f);
		break;
	case 21:
		do_free(m, f);
		break;
	default:
		do_space(m, f);
		break;
	}
	m->result.steps++;
	holds(m, f);
	if (m->result.steps % 8 == 0)
		pointers_hold(m, f);
}

struct model_result model_run(const uint8_t *program, size_t n)
{
	struct model *m = must_alloc(calloc(1, sizeof *m));
	struct np_block_stats s;
	struct model_result result;

	m->at = program;
	m->end = program + n;
	for (int i = 0; i < BUFFERS; i++)
		renew(m, &m->flat[i]);
	while (m->at < m->end)
		step(m);
	for (int i = 0; i < BUFFERS; i++) {
		pointers_end(m, &m->flat[i]);
		np_linkbuf_free(&m->flat[i].b);
		free(m->flat[i].bytes);
	}
	for (int i = 0; i < m->nrefs; i++) {
		MUST(m->refs[i].done == m->refs[i].accepted, "done() of reference %d ran %d times",
		     i, m->refs[i].done);
		MUST(!m->refs[i].touched, "reference %d was written to", i);
	}
	np_block_stats_init(&s);
	MUST(!np_block_stats(&s) && !s.blocks_in_use && !s.cells_in_use,
	     "%zu blocks, %zu cells are left", s.blocks_in_use, s.cells_in_use);
	result = m->result;
	free(m);
	return result;
}

/* ------------------------------------------------------------------ an allocator that fails */

static unsigned fail_one_in;
static unsigned long fail_nth, allocations;

static void *failing_alloc(size_t n, size_t align, void *arg)
{
	void *p;

	allocations++;
	if (allocations == fail_nth || (fail_one_in && allocations % fail_one_in == 0))
		return NULL;
	return posix_memalign(&p, align, n) ? NULL : p;
}

static void failing_free(void *p, size_t n, void *arg)
{
	free(p);
}

void model_cached(void)
{
	np_block_trim();
	if (np_block_debug(0) || np_set_allocator(NULL))
		abort();
}

static void apart(unsigned one_in, unsigned long nth)
{
	struct np_allocator a;

	np_allocator_init(&a);
	a.alloc = failing_alloc;
	a.free = failing_free;
	np_block_trim();
	if (np_block_debug(NP_BLOCK_APART | NP_BLOCK_POISON) || np_set_allocator(&a))
		abort();
	fail_one_in = one_in;
	fail_nth = nth;
	allocations = 0;
}

void model_apart(void)
{
	apart(0, 0);
}

void model_apart_failing(unsigned one_in)
{
	apart(one_in, 0);
}

void model_apart_failing_once(unsigned long nth)
{
	apart(0, nth);
}

unsigned long model_allocations(void)
{
	return allocations;
}

void model_run_input(const uint8_t *input, size_t n)
{
	if (!n)
		return;
	if (input[0] < 0x60)
		model_cached();
	else if (input[0] < 0xc0)
		model_apart();
	else
		model_apart_failing(2 + (input[0] & 0x3f));
	model_run(input + 1, n - 1);
}
