/* SPDX-License-Identifier: BSD-2-Clause */
/* block: the memory behind buffers: caches of threads and their ends, bounds, counts, the
 * allocator, finding mistakes. */
#include "netpoll/block.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "buffer/block.h"
#include "netpoll/linkbuf.h"
#include "support/test.h"

static struct np_block_stats stats(void)
{
	struct np_block_stats s;

	np_block_stats_init(&s);
	ck_assert_int_eq(np_block_stats(&s), 0);
	return s;
}

static void nothing_in_use(void)
{
	struct np_block_stats s = stats();

	ck_assert_uint_eq(s.blocks_in_use, 0);
	ck_assert_uint_eq(s.bytes_in_use, 0);
	ck_assert_uint_eq(s.cells_in_use, 0);
}

/* A readable buffer of @n bytes, each of them @c. */
static struct np_linkbuf *given(size_t n, int c)
{
	struct np_linkbuf *b;
	void *p;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(np_linkbuf_reserve(b, n, &p), 0);
	memset(p, c, n);
	np_linkbuf_flush(b);
	return b;
}

static void all_are(struct np_linkbuf *b, size_t n, int c)
{
	const unsigned char *p;
	const void *v;

	ck_assert_int_eq(np_linkbuf_next(b, n, &v), 0);
	p = v;
	for (size_t i = 0; i < n; i++)
		if (p[i] != c) /* an assertion for each byte takes seconds */
			ck_abort_msg("byte %zu of %zu is %u, not %d", i, n, p[i], c);
}

static void on_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, fn, arg), 0);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
}

/* Caching is what these are about; ASan's build has it off until told otherwise. */
static void with_caches(void)
{
	ck_assert_int_eq(np_block_debug(0), 0);
}

/* ------------------------------------------------------------------ threads */

static void *fill_64(void *arg)
{
	struct np_linkbuf **b = arg;

	for (int i = 0; i < 64; i++)
		b[i] = given(5000, i);
	return NULL;
}

static void *free_64(void *arg)
{
	struct np_linkbuf **b = arg;

	for (int i = 0; i < 64; i++) {
		all_are(b[i], 5000, i);
		np_linkbuf_free(&b[i]);
	}
	return NULL;
}

START_TEST(a_thread_may_end_with_blocks_outstanding)
{
	struct np_linkbuf *b[64];

	with_caches();
	on_thread(fill_64, b);
	ck_assert_uint_eq(stats().blocks_in_use, 64);

	free_64(b);

	nothing_in_use();
	np_block_trim();
	ck_assert_uint_eq(stats().bytes_mapped, 0);
}
END_TEST

START_TEST(what_another_thread_freed_is_used_again)
{
	struct np_linkbuf *b[64];
	size_t allocs;

	with_caches();
	fill_64(b);
	allocs = stats().allocs;
	for (int i = 0; i < 100; i++) {
		on_thread(free_64, b);
		nothing_in_use();
		fill_64(b);
	}

	/* The other threads needed nothing either: they read, and freed what is not theirs. */
	ck_assert_uint_eq(stats().allocs, allocs);
	free_64(b);
}
END_TEST

static void *free_one(void *arg)
{
	struct np_linkbuf *b = arg;

	np_linkbuf_free(&b);
	return NULL;
}

START_TEST(what_another_thread_freed_is_bounded_while_its_owner_sleeps)
{
	struct np_linkbuf *b[64];

	with_caches();
	for (int i = 0; i < 64; i++)
		b[i] = given(1 << 20, i);
	for (int i = 0; i < 64; i++)
		on_thread(free_one, b[i]);

	nothing_in_use();
	ck_assert_uint_le(stats().bytes_cached, 4 << 20);
	np_block_trim();
	ck_assert_uint_eq(stats().bytes_mapped, 0);
}
END_TEST

static void *use_a_few(void *arg)
{
	struct np_linkbuf *b[64];

	fill_64(b);
	free_64(b);
	return NULL;
}

START_TEST(a_thousand_threads_one_after_another_take_what_one_takes)
{
	struct np_block_stats one, all;

	with_caches();
	on_thread(use_a_few, NULL);
	one = stats();
	ck_assert_uint_eq(one.bytes_mapped, 0);
	for (int i = 0; i < (under_valgrind() ? 50 : 1000); i++)
		on_thread(use_a_few, NULL);

	all = stats();
	ck_assert_uint_eq(all.bytes_mapped, 0);
	ck_assert_uint_eq(all.bytes_high, one.bytes_high); /* one cache, handed on */
}
END_TEST

/* Slices of one buffer, read and freed by eight threads at once while its owner goes on. */
#define SLICERS 8
#define SLICES  500

struct slicer {
	pthread_t thread;
	struct np_linkbuf *slices[SLICES];
	int first;
};

static void *read_and_free(void *arg)
{
	struct slicer *t = arg;
	struct np_linkbuf *part;
	const void *p;

	for (int i = 0; i < SLICES; i++) {
		size_t n = np_linkbuf_len(t->slices[i]);

		ck_assert_int_eq(np_linkbuf_slice(t->slices[i], n / 2, &part), 0);
		ck_assert_int_eq(np_linkbuf_next(part, n / 2, &p), 0);
		ck_assert_int_eq(((const unsigned char *)p)[n / 2 - 1], (t->first + i) & 0xff);
		np_linkbuf_free(&t->slices[i]);
		np_linkbuf_free(&part);
	}
	return NULL;
}

static atomic_int dones;
static void count_done(void *arg)
{
	atomic_fetch_add(&dones, 1);
}

START_TEST(eight_threads_free_slices_of_the_same_blocks)
{
	static struct slicer t[SLICERS];
	static char mine[64];
	struct np_linkbuf *b;
	void *p;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	for (int i = 0; i < SLICERS; i++)
		t[i].first = i * 31;
	/* Neighbours in a block go to different threads. */
	for (int k = 0; k < SLICES; k++) {
		for (int i = 0; i < SLICERS; i++) {
			ck_assert_int_eq(np_linkbuf_reserve(b, 90, &p), 0);
			memset(p, t[i].first + k, 90);
			memset(mine, 0, sizeof mine);
			if (k % 10 == 0)
				ck_assert_int_eq(
					np_linkbuf_write_ref(b, mine, 10, count_done, NULL), 0);
			np_linkbuf_flush(b);
			ck_assert_int_eq(np_linkbuf_slice(b, np_linkbuf_len(b), &t[i].slices[k]),
					 0);
		}
		np_linkbuf_release(b);
	}
	for (int i = 0; i < SLICERS; i++)
		ck_assert_int_eq(pthread_create(&t[i].thread, NULL, read_and_free, &t[i]), 0);
	np_linkbuf_free(&b);
	for (int k = 0; k < 1000; k++) {
		b = given(90, k);
		all_are(b, 90, k & 0xff);
		np_linkbuf_free(&b);
	}
	for (int i = 0; i < SLICERS; i++)
		ck_assert_int_eq(pthread_join(t[i].thread, NULL), 0);

	nothing_in_use();
	ck_assert_int_eq(dones, SLICERS * SLICES / 10);
}
END_TEST

/* Written in pieces of 70, read in pieces of 7: two threads with a buffer each and a third one
 * between them. */
struct pipe {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct np_linkbuf *between;
	bool end;
};

#define PIECES 20000

static void *write_pieces(void *arg)
{
	struct pipe *t = arg;
	unsigned char piece[70], c = 0;
	struct np_linkbuf *b;

	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	for (int i = 1; i <= PIECES; i++) {
		for (size_t k = 0; k < sizeof piece; k++)
			piece[k] = c++;
		ck_assert_int_eq(np_linkbuf_write(b, piece, sizeof piece), 0);
		if (i % 13 && i != PIECES)
			continue;
		pthread_mutex_lock(&t->lock);
		ck_assert_int_eq(np_linkbuf_append(t->between, &b), 0);
		np_linkbuf_flush(t->between);
		t->end = i == PIECES;
		pthread_cond_signal(&t->filled);
		pthread_mutex_unlock(&t->lock);
		ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	}
	np_linkbuf_free(&b);
	return NULL;
}

START_TEST(two_threads_hand_on_what_one_writes_and_the_other_reads)
{
	struct pipe t = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, false };
	struct np_linkbuf *b;
	unsigned char c = 0;
	size_t all = 0;
	const void *p;
	pthread_t w;
	bool end;

	ck_assert_int_eq(np_linkbuf_new(0, &t.between), 0);
	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	ck_assert_int_eq(pthread_create(&w, NULL, write_pieces, &t), 0);
	do {
		pthread_mutex_lock(&t.lock);
		while (!np_linkbuf_len(t.between) && !t.end)
			pthread_cond_wait(&t.filled, &t.lock);
		ck_assert_int_eq(np_linkbuf_append(b, &t.between), 0);
		ck_assert_int_eq(np_linkbuf_new(0, &t.between), 0);
		end = t.end;
		pthread_mutex_unlock(&t.lock);
		np_linkbuf_flush(b);
		while (np_linkbuf_next(b, 7, &p) == 0) {
			for (int i = 0; i < 7; i++)
				if (((const unsigned char *)p)[i] != c++)
					ck_abort_msg("byte %zu is wrong", all + (size_t)i);
			all += 7;
		}
		np_linkbuf_release(b);
	} while (!end);
	ck_assert_int_eq(pthread_join(w, NULL), 0);

	ck_assert_uint_eq(all, 70 * PIECES);
	np_linkbuf_free(&t.between);
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

/* ------------------------------------------------------------------ bounds and counts */

START_TEST(what_a_burst_took_is_not_kept)
{
	struct np_linkbuf *b[2048];

	with_caches();
	for (int i = 0; i < 2048; i++)
		b[i] = given(60000, i);
	ck_assert_uint_ge(stats().bytes_in_use, 2048u * 60000);
	for (int i = 0; i < 2048; i++)
		np_linkbuf_free(&b[i]);

	nothing_in_use();
	ck_assert_uint_le(stats().bytes_cached, 9 << 20);
	block_decay();
	ck_assert_uint_eq(block_decay(), 0);
	ck_assert_uint_eq(stats().bytes_mapped, 0);
	ck_assert_uint_eq(stats().bytes_cached, 0);
}
END_TEST

static void decays(void)
{
}

/* As in a poller, which has a timer for it. */
START_TEST(a_working_set_of_a_thread_with_a_clock_is_kept_until_it_decays)
{
	struct np_linkbuf *b[2048];
	size_t allocs = 0;

	with_caches();
	block_grew = decays;
	for (int swing = 0; swing < 3; swing++) {
		for (int i = 0; i < 2048; i++)
			b[i] = given(60000, i);
		for (int i = 0; i < 2048; i++)
			np_linkbuf_free(&b[i]);
		if (swing)
			ck_assert_uint_eq(stats().allocs, allocs);
		allocs = stats().allocs;
	}
	ck_assert_uint_ge(stats().bytes_cached, 2048u * 60000);
	block_decay();
	ck_assert_uint_eq(block_decay(), 0);
	ck_assert_uint_eq(stats().bytes_mapped, 0);
	block_grew = NULL;
}
END_TEST

static void *free_it(void *arg)
{
	struct np_linkbuf *b = arg;

	np_linkbuf_free(&b);
	return NULL;
}

START_TEST(what_the_blocks_of_a_thread_take_is_known)
{
	struct np_linkbuf *small = NULL, *large;
	pthread_t t;
	size_t before;

	with_caches();
	before = block_taken();
	small = given(60000, 'a');
	large = given(8 << 20, 'b'); /* one of its blocks is in no cache */
	ck_assert_uint_ge(block_taken(), before + 60000 + (8 << 20));

	/* it is this thread's until it comes back, whichever thread frees it */
	ck_assert_int_eq(pthread_create(&t, NULL, free_it, large), 0);
	pthread_join(t, NULL);
	np_linkbuf_free(&small);
	block_decay();
	block_decay();
	ck_assert_uint_eq(block_taken(), before);
}
END_TEST

START_TEST(decay_keeps_what_is_used)
{
	struct np_linkbuf *b[64];
	size_t kept = 0, allocs;

	with_caches();
	fill_64(b);
	free_64(b);
	kept = block_decay();
	allocs = stats().allocs;
	for (int i = 0; i < 10; i++) {
		fill_64(b);
		free_64(b);
		ck_assert_uint_eq(block_decay(), kept);
	}
	ck_assert_uint_eq(stats().allocs, allocs);
}
END_TEST

/*
 * A span with one block in use stays, and so do the addresses of its others; their pages need not.
 */
START_TEST(what_went_back_to_a_span_is_taken_again)
{
	struct np_linkbuf *b[64], *last;
	size_t mapped, allocs;

	with_caches();
	fill_64(b);
	last = given(5000, 'l');
	free_64(b);
	np_block_trim();
	mapped = stats().bytes_mapped;
	ck_assert_uint_gt(mapped, 0);
	ck_assert_uint_eq(stats().bytes_cached, 0);
	allocs = stats().allocs;

	for (int i = 0; i < 32; i++)
		b[i] = given(5000, i);
	ck_assert_uint_eq(stats().bytes_mapped, mapped);
	ck_assert_uint_eq(stats().allocs, allocs);
	for (int i = 0; i < 32; i++) {
		all_are(b[i], 5000, i);
		np_linkbuf_free(&b[i]);
	}
	all_are(last, 5000, 'l');
	np_linkbuf_free(&last);
	np_block_trim();
	ck_assert_uint_eq(stats().bytes_mapped, 0);
}
END_TEST

START_TEST(the_counts_say_what_is_held)
{
	struct np_block_stats s = stats();
	struct np_linkbuf *a, *b;

	ck_assert_uint_eq(s.bytes_mapped, 0);
	with_caches();
	a = given(5000, 1);
	ck_assert_int_eq(np_linkbuf_slice(a, 100, &b), 0);
	s = stats();
	ck_assert_uint_eq(s.blocks_in_use, 1);
	ck_assert_uint_eq(s.bytes_in_use, 8192);
	ck_assert_uint_eq(s.cells_in_use, 3); /* two buffers and what shows the slice's bytes */
	np_linkbuf_free(&b);
	np_linkbuf_free(&a);
	s = stats();
	ck_assert_uint_eq(s.blocks_in_use, 0);
	ck_assert_uint_eq(s.blocks_cached, 1);
	ck_assert_uint_eq(s.bytes_cached, 8192);
	ck_assert_uint_eq(s.bytes_high, 8192);
	ck_assert_uint_gt(s.bytes_mapped, 8192);
	ck_assert_uint_eq(s.allocs - s.frees, 2);

	ck_assert_int_eq(np_block_stats(&(struct np_block_stats){ 0 }), -EINVAL);
}
END_TEST

/* More than any class has: an allocation of its own, in no cache. */
START_TEST(a_block_larger_than_any_class_goes_straight_back)
{
	struct np_linkbuf *b;

	with_caches();
	b = given(9 << 20, 7);
	ck_assert_uint_eq(stats().bytes_in_use, 9 << 20);
	all_are(b, 9 << 20, 7);
	np_linkbuf_free(&b);
	np_block_trim();
	ck_assert_uint_eq(stats().bytes_mapped, 0);
}
END_TEST

/* ------------------------------------------------------------------ the allocator */

static size_t theirs_out;
static bool none_left;

static void *their_alloc(size_t n, size_t align, void *arg)
{
	void *p;

	ck_assert_ptr_eq(arg, &theirs_out);
	ck_assert_uint_eq(align & (align - 1), 0);
	if (none_left || posix_memalign(&p, align, n))
		return NULL;
	theirs_out += n;
	return p;
}

static void their_free(void *p, size_t n, void *arg)
{
	ck_assert_ptr_eq(arg, &theirs_out);
	theirs_out -= n;
	free(p);
}

static void with_theirs(void)
{
	struct np_allocator a = { sizeof a, their_alloc, their_free, &theirs_out };

	ck_assert_int_eq(np_set_allocator(&a), 0);
	memset(&a, 0, sizeof a); /* copied */
}

START_TEST(all_memory_comes_from_the_allocator_that_was_set)
{
	struct np_linkbuf *b[64];

	with_theirs();
	fill_64(b);
	ck_assert_uint_eq(theirs_out, stats().bytes_mapped);
	ck_assert_uint_gt(theirs_out, 64 * 5000);
	free_64(b);
	np_block_trim();
	ck_assert_uint_eq(theirs_out, 0);
}
END_TEST

START_TEST(the_allocator_changes_only_while_nothing_is_held)
{
	struct np_allocator a = { sizeof a, their_alloc, NULL, NULL };
	struct {
		struct np_allocator a;
		size_t newer;
	} future = { { sizeof future, their_alloc, their_free, NULL }, 1 };
	struct np_linkbuf *b;

	ck_assert_int_eq(np_set_allocator(&a), -EINVAL);
	ck_assert_int_eq(np_set_allocator(&(struct np_allocator){ 0 }), -EINVAL);
	ck_assert_int_eq(np_set_allocator(&future.a), -E2BIG);
	with_theirs();
	b = given(10, 1);
	ck_assert_int_eq(np_set_allocator(NULL), -EBUSY);
	ck_assert_int_eq(np_block_debug(0), -EBUSY);
	np_linkbuf_free(&b);
	np_block_trim();
	ck_assert_int_eq(np_set_allocator(NULL), 0);
	b = given(10, 1);
	ck_assert_uint_eq(theirs_out, 0);
	np_linkbuf_free(&b);
}
END_TEST

START_TEST(no_memory_is_an_error_of_every_verb_and_changes_nothing)
{
	struct np_linkbuf *b, *o = NULL, *gathered;
	struct iovec iov[2];
	const void *cp;
	void *p;
	size_t n;

	with_theirs();
	ck_assert_int_eq(np_block_debug(NP_BLOCK_APART), 0);
	b = given(2048, 'a');
	gathered = given(2048, 'x');
	ck_assert_int_eq(np_linkbuf_reserve(gathered, 4000, &p), 0);
	memset(p, 'y', 4000);
	np_linkbuf_flush(gathered);
	none_left = true;

	ck_assert_int_eq(np_linkbuf_new(0, &o), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_slice(b, 1, &o), -ENOMEM);
	ck_assert_ptr_null(o);
	ck_assert_int_eq(np_linkbuf_reserve(b, 1, &p), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_reserve(b, (size_t)-1, &p), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_write(b, "x", 1), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_write_byte(b, 'x'), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_write_ref(b, "x", 1, count_done, NULL), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_write_direct(b, "x", 1, 0, count_done, NULL), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_space(b, 100, iov, 2), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_next(gathered, 2500, &cp), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_peek(gathered, 2500, &cp), -ENOMEM);
	ck_assert_int_eq(np_linkbuf_until(gathered, 'z', 2500, &cp, &n), -NP_ETOOLONG);
	ck_assert_int_eq(np_linkbuf_until(gathered, 'y', 2500, &cp, &n), -ENOMEM);

	ck_assert_int_eq(dones, 0);
	ck_assert_uint_eq(np_linkbuf_pending(b), 0);
	all_are(b, 2048, 'a');
	all_are(gathered, 2048, 'x');
	all_are(gathered, 4000, 'y');
	np_linkbuf_free(&b);
	np_linkbuf_free(&gathered);
	nothing_in_use();
	ck_assert_uint_eq(theirs_out, 0);
}
END_TEST

/* ------------------------------------------------------------------ finding mistakes */

START_TEST(released_bytes_are_poisoned_where_asked_for)
{
	const unsigned char *first, *second;
	struct np_linkbuf *b;
	const void *p;

	ck_assert_int_eq(np_block_debug(NP_BLOCK_POISON << 8), -EINVAL);
	ck_assert_int_eq(np_block_debug(NP_BLOCK_POISON), 0);
	b = given(100, 'a');
	ck_assert_int_eq(np_linkbuf_next(b, 10, &p), 0);
	first = p;
	ck_assert_int_eq(np_linkbuf_next(b, 10, &p), 0);
	second = p;
	ck_assert_int_eq(first[9], 'a');
	np_linkbuf_release(b);
	ck_assert_int_eq(first[0], NP_BLOCK_POISONED);
	ck_assert_int_eq(second[9], NP_BLOCK_POISONED);
	all_are(b, 80, 'a');
	np_linkbuf_free(&b);
	nothing_in_use();
}
END_TEST

struct seen {
	int blocks, buffers;
	size_t bytes;
	int tid;
	bool named;
};

static int see(const struct np_block_holder *h, void *arg)
{
	struct seen *s = arg;

	if (h->data) {
		s->blocks++;
		s->bytes += h->bytes;
		ck_assert_int_eq(*(const char *)h->data, 'a');
	} else {
		s->buffers++;
	}
	s->tid = h->tid;
	s->named = h->depth > 0 && h->stack[0] && strlen(h->where) > 0;
	return s->blocks == 2;
}

START_TEST(who_holds_a_block_is_known_where_asked_for)
{
	struct seen s = { 0 };
	struct np_linkbuf *b[3];

	ck_assert_int_eq(np_block_debug(NP_BLOCK_HOLDERS), 0);
	for (int i = 0; i < 3; i++)
		b[i] = given(100, 'a');
	np_linkbuf_free(&b[1]);
	ck_assert_int_eq(np_block_holders(see, &s), 1);
	ck_assert_int_eq(s.blocks, 2);
	ck_assert_int_eq(s.buffers, 2);
	ck_assert_uint_eq(s.bytes, 2 * 2048);
	ck_assert_int_ne(s.tid, 0);
	ck_assert(s.named);
	np_linkbuf_free(&b[0]);
	np_linkbuf_free(&b[2]);
	memset(&s, 0, sizeof s);
	ck_assert_int_eq(np_block_holders(see, &s), 0);
	ck_assert_int_eq(s.blocks + s.buffers, 0);
}
END_TEST

START_TEST(the_environment_turns_debugging_on)
{
	const unsigned char *p;
	struct np_linkbuf *b;
	const void *v;

	ck_assert_int_eq(setenv("NP_BLOCK_DEBUG", "2", 1), 0);
	b = given(100, 'a');
	ck_assert_int_eq(np_linkbuf_next(b, 50, &v), 0);
	p = v;
	np_linkbuf_release(b);
	ck_assert_int_eq(p[49], NP_BLOCK_POISONED);
	np_linkbuf_free(&b);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "threads");

	tcase_add_test(t, a_thread_may_end_with_blocks_outstanding);
	tcase_add_test(t, what_another_thread_freed_is_used_again);
	tcase_add_test(t, what_another_thread_freed_is_bounded_while_its_owner_sleeps);
	tcase_add_test(t, a_thousand_threads_one_after_another_take_what_one_takes);
	tcase_add_test(t, eight_threads_free_slices_of_the_same_blocks);
	tcase_add_test(t, two_threads_hand_on_what_one_writes_and_the_other_reads);

	t = add_case(s, "bounds");
	tcase_add_test(t, what_a_burst_took_is_not_kept);
	tcase_add_test(t, a_working_set_of_a_thread_with_a_clock_is_kept_until_it_decays);
	tcase_add_test(t, what_the_blocks_of_a_thread_take_is_known);
	tcase_add_test(t, decay_keeps_what_is_used);
	tcase_add_test(t, what_went_back_to_a_span_is_taken_again);
	tcase_add_test(t, the_counts_say_what_is_held);
	tcase_add_test(t, a_block_larger_than_any_class_goes_straight_back);

	t = add_case(s, "allocator");
	tcase_add_test(t, all_memory_comes_from_the_allocator_that_was_set);
	tcase_add_test(t, the_allocator_changes_only_while_nothing_is_held);
	tcase_add_test(t, no_memory_is_an_error_of_every_verb_and_changes_nothing);

	t = add_case(s, "debug");
	tcase_add_test(t, released_bytes_are_poisoned_where_asked_for);
	tcase_add_test(t, who_holds_a_block_is_known_where_asked_for);
	tcase_add_test(t, the_environment_turns_debugging_on);
}
