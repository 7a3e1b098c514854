/* SPDX-License-Identifier: BSD-2-Clause */
/* given_hung: a worker that hangs, by its own words. Its thread is the test's, and does not. */
#ifndef TESTS_GIVEN_HUNG_H
#define TESTS_GIVEN_HUNG_H

#include "steer/steer.h"
#include "support/steer.h"

/*
 * As if the worker had been handling one event since the machine started, which may not be long
 * ago.
 */
static inline void given_hung_worker(struct np_steer_worker *w)
{
	__atomic_store_n(&steer_worker_line(w)->busy_since_ns, 1, __ATOMIC_RELAXED);
}

static inline void given_hung(struct rig *r, unsigned i)
{
	given_hung_worker(r->w[i]);
}

#endif
