/* SPDX-License-Identifier: BSD-2-Clause */
/* spread: how connections lie over the workers of a rig, and what these say that they have */
#ifndef TESTS_SPREAD_H
#define TESTS_SPREAD_H

#include <math.h>
#include <stdint.h>

#include "steer/steer.h"
#include "support/steer.h"
#include "support/test.h"

/* The program says so too: @syns came, and all were steered. */
static inline void expect_counted(const struct rig *r, unsigned syns)
{
	struct np_steer_stats st = rig_stats(r);

	ck_assert_uint_eq(st.syn_total, syns);
	ck_assert_uint_eq(st.steered, syns);
	ck_assert_uint_eq(st.fallback_hash, 0);
	for (unsigned i = 0; i < r->n; i++)
		ck_assert_uint_eq(rig_worker_info(r, i).steered, r->accepted[i]);
}

/*
 * No more uneven than chance makes it: chi-square over the workers against an even spread; what is
 * 5 sigma for its cube root (Wilson, Hilferty) is no accident.
 */
static inline void expect_even(const struct rig *r)
{
	double mean = (double)rig_accepted(r) / r->n, chi2 = 0, df = r->n - 1, v = 2 / (9 * df);

	for (unsigned i = 0; i < r->n; i++)
		chi2 += (r->accepted[i] - mean) * (r->accepted[i] - mean) / mean;
	ck_assert_msg(chi2 < df * pow(1 - v + 5 * sqrt(v), 3), "chi-square %.1f for %u workers",
		      chi2, r->n);
}

static inline void rig_param(struct rig *r, const char *name, const char *value)
{
	ck_assert_msg(np_steer_set_param(r->s, name, value) == 0, "%s", np_steer_error(r->s));
}

/* Worker @i says that it has so many. */
static inline void rig_publish(struct rig *r, unsigned i, uint64_t conns)
{
	__atomic_store_n(&steer_worker_line(r->w[i])->conns, conns, __ATOMIC_RELAXED);
}

/* @n connections that stay; after each one every worker says how many it has, as pollers do. */
static inline void rig_fill(struct rig *r, int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fds[i] = client_connect(r->address);
		ck_assert_int_ge(fds[i], 0);
		AWAIT(rig_accept(r) == 1);
		for (unsigned w = 0; w < r->n; w++)
			rig_publish(r, w, r->accepted[w]);
	}
}

/* They are closed, and nobody has any: a worker that says it has connections is not closed. */
static inline void rig_empty(struct rig *r, int *fds, unsigned n)
{
	clients_close(fds, n);
	for (unsigned w = 0; w < r->n; w++)
		rig_publish(r, w, 0);
}

/* What the worker with the most has accepted. */
static inline unsigned rig_most(const struct rig *r)
{
	unsigned m = 0;

	for (unsigned i = 0; i < r->n; i++)
		m = r->accepted[i] > m ? r->accepted[i] : m;
	return m;
}

#endif
