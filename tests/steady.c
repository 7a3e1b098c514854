/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steady: a million requests and their replies take nothing from any allocator
 *
 * Counted three times: by the hook of np_set_allocator(), by the library's own statistics, and by
 * this program's malloc(3) and mmap(2), which come before libc's. A sanitizer has its own; there
 * the last is skipped.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "netpoll/block.h"
#include "netpoll/linkbuf.h"
#include "support/sanitizer.h"
#include "support/test.h"

#define WARM_UP 1000

/* ------------------------------------------------------------------ who is called */

/* of malloc and friends, and of mmap; the compiler thinks that they change nothing */
static volatile unsigned long system_calls;

#ifndef OTHERS_MALLOC
#pragma GCC visibility push(default) /* libc's own calls, too */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t m);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static void count(void)
{
	__atomic_fetch_add(&system_calls, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t n)
{
	count();
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t m)
{
	count();
	return __libc_calloc(n, m);
}

void *realloc(void *p, size_t n)
{
	count();
	return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	count();
	return __libc_memalign(align, n);
}

int posix_memalign(void **ret, size_t align, size_t n)
{
	count();
	*ret = __libc_memalign(align, n);
	return *ret ? 0 : ENOMEM;
}

void free(void *p)
{
	if (p)
		count();
	__libc_free(p);
}

void *mmap(void *p, size_t n, int prot, int flags, int fd, off_t at)
{
	count();
	return (void *)syscall(SYS_mmap, p, n, prot, flags, fd, at);
}

int munmap(void *p, size_t n)
{
	count();
	return (int)syscall(SYS_munmap, p, n);
}

int madvise(void *p, size_t n, int advice)
{
	count();
	return (int)syscall(SYS_madvise, p, n, advice);
}
#pragma GCC visibility pop
#endif

static unsigned long hook_calls;

static void *hook_alloc(size_t n, size_t align, void *arg)
{
	void *p;

	hook_calls++;
	return posix_memalign(&p, align, n) ? NULL : p;
}

static void hook_free(void *p, size_t n, void *arg)
{
	hook_calls++;
	free(p);
}

static struct np_block_stats stats(void)
{
	struct np_block_stats s;

	np_block_stats_init(&s);
	if (np_block_stats(&s))
		abort();
	return s;
}

/* ------------------------------------------------------------------ a request and its reply */

/* Check's assertions cost more than a cycle, and allocate. */
#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

struct header {
	unsigned len, id;
};

static char page[4096];
static unsigned long dones;

static void page_done(void *arg)
{
	dones++;
}

/* As a socket would: the length first, then that many bytes. In two reads where it is long. */
static void arrive(struct np_linkbuf *in, unsigned id, unsigned len)
{
	struct header h = { len, id };
	struct iovec iov[2];
	size_t left = sizeof h + len, k;
	int n;

	n = np_linkbuf_space(in, left > 3000 ? 3000 : left, iov, 2);
	MUST(n > 0 && iov[0].iov_len >= sizeof h);
	memcpy(iov[0].iov_base, &h, sizeof h);
	k = iov[0].iov_len + (n > 1 ? iov[1].iov_len : 0);
	MUST(!np_linkbuf_commit(in, k));
	for (left -= k; left; left -= k) {
		n = np_linkbuf_space(in, left, iov, 2);
		MUST(n > 0);
		k = iov[0].iov_len + (n > 1 ? iov[1].iov_len : 0);
		MUST(!np_linkbuf_commit(in, k));
	}
}

/* The body goes back between a header of its own and a page that is nobody's. */
static void handle(struct np_linkbuf *in, struct np_linkbuf *out)
{
	const struct header *h;
	struct np_linkbuf *body;
	const void *p;
	void *reply;

	MUST(!np_linkbuf_peek(in, sizeof *h, &p));
	MUST(!np_linkbuf_next(in, sizeof *h, &p));
	h = p;
	MUST(!np_linkbuf_slice(in, h->len, &body));
	MUST(!np_linkbuf_reserve(out, 64, &reply));
	memcpy(reply, h, sizeof *h);
	MUST(!np_linkbuf_trim(out, sizeof *h));
	MUST(!np_linkbuf_append(out, &body));
	MUST(!np_linkbuf_write_ref(out, page, sizeof page, page_done, NULL));
	np_linkbuf_flush(out);
	np_linkbuf_release(in);
}

/* As writev() of everything. */
static void leave(struct np_linkbuf *out)
{
	struct iovec iov[8];
	size_t n = 0;

	while (np_linkbuf_len(out)) {
		n = 0;
		for (int i = np_linkbuf_iov(out, iov, 8); i; i--)
			n += iov[i - 1].iov_len;
		MUST(n && !np_linkbuf_skip(out, n));
		np_linkbuf_release(out);
	}
}

static void cycles(unsigned long n)
{
	static const unsigned lengths[] = { 16, 64, 512, 4000, 100, 16000, 1, 64 };
	struct np_linkbuf *in, *out;

	MUST(!np_linkbuf_new(0, &in) && !np_linkbuf_new(0, &out));
	for (unsigned long i = 0; i < n; i++) {
		arrive(in, (unsigned)i, lengths[i % 8]);
		handle(in, out);
		leave(out);
	}
	np_linkbuf_free(&in);
	np_linkbuf_free(&out);
}

static unsigned long many(void)
{
	return under_tsan() || under_asan() || under_valgrind() ? 20000 : 1000000;
}

START_TEST(a_million_requests_call_no_allocator_and_copy_nothing)
{
	struct np_block_stats before, after;
	unsigned long calls;

	if (under_asan())
		ck_assert_int_eq(np_block_debug(0), 0); /* its build has no caches */
	cycles(WARM_UP);
	before = stats();
	calls = system_calls;
	cycles(many());
	calls = system_calls - calls;
	after = stats();

	ck_assert_uint_eq(calls, 0);
	ck_assert_uint_eq(after.allocs, before.allocs);
	ck_assert_uint_eq(after.frees, before.frees);
	ck_assert_uint_eq(after.bytes_copied, 0);
	ck_assert_uint_eq(dones, WARM_UP + many());
	ck_assert_uint_eq(after.blocks_in_use + after.cells_in_use, 0);
}
END_TEST

/* So that the test above is not one that counts nothing. */
START_TEST(the_counters_of_this_program_count)
{
	struct np_linkbuf *b;
	unsigned long calls;
	void *volatile p;

	if (under_tsan() || under_asan())
		SKIP("the sanitizer has its own malloc");
	calls = system_calls;
	p = malloc(10);
	free(p);
	ck_assert_uint_eq(system_calls - calls, 2);
	calls = system_calls;
	ck_assert_int_eq(np_linkbuf_new(0, &b), 0);
	np_linkbuf_free(&b);
	np_block_trim();
	ck_assert_uint_ge(system_calls - calls, 2);
}
END_TEST

START_TEST(a_million_requests_do_not_call_the_hook)
{
	struct np_allocator a;
	unsigned long calls;

	if (under_asan())
		ck_assert_int_eq(np_block_debug(0), 0);
	np_allocator_init(&a);
	a.alloc = hook_alloc;
	a.free = hook_free;
	ck_assert_int_eq(np_set_allocator(&a), 0);
	cycles(WARM_UP);
	calls = hook_calls;
	ck_assert_uint_gt(calls, 0);

	cycles(many());

	ck_assert_uint_eq(hook_calls, calls);
	np_block_trim();
	ck_assert_uint_gt(hook_calls, calls);
}
END_TEST

/* ------------------------------------------------------------ replies that another thread frees */

#define HANDED 32 /* at most that many at a time */

struct hands {
	struct np_linkbuf *ring[HANDED];
	sem_t full, empty;
	unsigned long n;
};

static void *free_replies(void *arg)
{
	struct hands *h = arg;

	for (unsigned long i = 0; i < h->n; i++) {
		while (sem_wait(&h->full))
			;
		leave(h->ring[i % HANDED]);
		np_linkbuf_free(&h->ring[i % HANDED]);
		sem_post(&h->empty);
	}
	return NULL;
}

static void hand_over(struct hands *h, unsigned long from, unsigned long to, struct np_linkbuf *in)
{
	struct np_linkbuf *out;

	for (unsigned long i = from; i < to; i++) {
		MUST(!np_linkbuf_new(0, &out));
		arrive(in, (unsigned)i, i % 3 ? 64 : 4000);
		handle(in, out);
		while (sem_wait(&h->empty))
			;
		h->ring[i % HANDED] = out;
		sem_post(&h->full);
	}
}

START_TEST(what_another_thread_frees_is_no_reason_to_allocate)
{
	struct hands h = { .n = many() / 5 };
	struct np_block_stats before, after;
	struct np_linkbuf *in;
	pthread_t t;

	if (under_asan())
		ck_assert_int_eq(np_block_debug(0), 0);
	sem_init(&h.full, 0, 0);
	sem_init(&h.empty, 0, HANDED);
	MUST(!np_linkbuf_new(0, &in));
	ck_assert_int_eq(pthread_create(&t, NULL, free_replies, &h), 0);
	hand_over(&h, 0, WARM_UP, in);
	before = stats();
	hand_over(&h, WARM_UP, h.n, in);
	after = stats();
	ck_assert_int_eq(pthread_join(t, NULL), 0);

	/* as many in flight as at no time before */
	ck_assert_uint_le(after.allocs - before.allocs, 4);
	ck_assert_uint_eq(after.frees, before.frees);
	np_linkbuf_free(&in);
	ck_assert_uint_eq(stats().blocks_in_use + stats().cells_in_use, 0);
}
END_TEST

void add_cases(Suite *s)
{
	TCase *t = add_case(s, "steady");

	tcase_add_test(t, a_million_requests_call_no_allocator_and_copy_nothing);
	tcase_add_test(t, the_counters_of_this_program_count);
	tcase_add_test(t, a_million_requests_do_not_call_the_hook);
	tcase_add_test(t, what_another_thread_frees_is_no_reason_to_allocate);
	tcase_set_timeout(t, 120);
}
