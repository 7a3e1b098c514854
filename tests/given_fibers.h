/* SPDX-License-Identifier: BSD-2-Clause */
/* given_fibers: a pool of fibers, what it says of its stacks, and fibers that leave a trace. */
#ifndef TESTS_GIVEN_FIBERS_H
#define TESTS_GIVEN_FIBERS_H

#include <string.h>

#include "fiber/fiber.h"
#include "support/test.h"

static inline struct fiber_pool *given_pool(size_t stack_size, unsigned max, unsigned keep)
{
	struct fiber_pool_opts o = { .stack_size = stack_size, .max = max, .keep = keep };
	struct fiber_pool *fp;

	ck_assert_int_eq(fiber_pool_new(&o, &fp), 0);
	return fp;
}

static inline struct fiber_pool_stats stats(const struct fiber_pool *fp)
{
	struct fiber_pool_stats st;

	fiber_pool_stats(fp, &st);
	return st;
}

static inline void append(char *log, char c)
{
	size_t n = strlen(log);

	log[n] = c;
	log[n + 1] = '\0';
}

static inline void says_a(void *log)
{
	append(log, 'a');
}

struct walk {
	char log[16];
	struct fiber *f;
};

static inline void parks_twice(void *arg)
{
	struct walk *w = arg;

	w->f = fiber_self();
	append(w->log, '1');
	fiber_park();
	append(w->log, '2');
	fiber_park();
	append(w->log, '3');
}

#endif
