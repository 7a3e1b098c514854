/* SPDX-License-Identifier: BSD-2-Clause */
/* samples: shared pages, taken up from the front. */
#include "support/samples.h"

#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

struct samples {
	uint32_t cap;
	_Atomic(uint32_t) n;
	uint64_t ns[];
};

static size_t samples_size(uint32_t cap)
{
	return sizeof(struct samples) + cap * sizeof(uint64_t);
}

struct samples *samples_new(uint32_t cap)
{
	struct samples *s = mmap(NULL, samples_size(cap), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(s, MAP_FAILED);
	s->cap = cap;
	return s;
}

void samples_free(struct samples **s)
{
	munmap(*s, samples_size((*s)->cap));
	*s = NULL;
}

void samples_add(struct samples *s, uint64_t ns)
{
	uint32_t i = s->n < s->cap ? atomic_fetch_add(&s->n, 1) : s->cap;

	if (i < s->cap)
		s->ns[i] = ns;
}

uint32_t samples_n(const struct samples *s)
{
	return s->n < s->cap ? s->n : s->cap;
}

static int samples_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

double samples_ms(struct samples *s, double share)
{
	uint32_t n = samples_n(s), i = (uint32_t)(share * n);

	if (!n)
		return 0;
	qsort(s->ns, n, sizeof *s->ns, samples_compare);
	return (double)s->ns[i < n ? i : n - 1] / 1e6;
}
