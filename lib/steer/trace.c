/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * trace: decisions of the program, read out of np_trace by any number of readers
 *
 *   np_config        moved by
 *   trace            the largest share that a reader asks for; 0 by the last reader to end, and by
 *                    the program once trace_until_ns is past
 *   trace_until_ns   each reader, LEASE_NS on, several times in that
 *   trace_readers    +1 and -1 by each reader; one that is killed leaves it too high, and the
 *                    lease ends
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "steer/decision.h"
#include "steer/ring.h"
#include "steer/steer.h"
#include "sys/clock.h"

#define ALL_FLOWS 65536u
#define LEASE_NS  1000000000ull
#define RENEW_MS  100

struct reader {
	struct np_steer *s;
	struct ring ring;
	unsigned of_65536;
	uint64_t lost;  /* trace_lost as it was last told of */
	uint64_t until; /* when to end */
	int (*fn)(void *arg, const struct np_steer_decision *d);
	void *arg;
};

static bool trace_expired(const struct np_config *c, uint64_t now)
{
	return now >= __atomic_load_n(&c->trace_until_ns, __ATOMIC_RELAXED);
}

/* The word again each time: the program, or a reader that ended, may just have set it to 0. */
static void trace_renew(const struct reader *r)
{
	struct np_config *c = r->s->maps.config;
	uint32_t was = __atomic_load_n(&c->trace, __ATOMIC_RELAXED);
	bool alone = __atomic_load_n(&c->trace_readers, __ATOMIC_RELAXED) == 1;

	__atomic_store_n(&c->trace_until_ns, steer_kernel_coarse_ns(r->s) + LEASE_NS,
			 __ATOMIC_RELAXED);
	if (was < r->of_65536 || (alone && was != r->of_65536))
		__atomic_store_n(&c->trace, r->of_65536, __ATOMIC_RELAXED);
}

static void trace_begin(const struct reader *r)
{
	struct np_config *c = r->s->maps.config;

	if (trace_expired(c, steer_kernel_coarse_ns(r->s)))
		__atomic_store_n(&c->trace_readers, 1, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(&c->trace_readers, 1, __ATOMIC_RELAXED);
	trace_renew(r);
}

static void trace_end(const struct reader *r)
{
	struct np_config *c = r->s->maps.config;

	if (__atomic_sub_fetch(&c->trace_readers, 1, __ATOMIC_RELAXED) == 0)
		__atomic_store_n(&c->trace, 0, __ATOMIC_RELAXED);
}

void trace_sweep(struct np_steer *s)
{
	struct np_config *c = s->maps.config;

	if (c && trace_expired(c, steer_kernel_coarse_ns(s)))
		__atomic_store_n(&c->trace, 0, __ATOMIC_RELAXED);
}

/*
 * Decisions that did not fit for want of room, and those that others' reading has made room over.
 */
static uint64_t trace_take_lost(struct reader *r)
{
	uint64_t now = __atomic_load_n(&r->s->maps.service->trace_lost, __ATOMIC_RELAXED);
	uint64_t n = now - r->lost + ring_take_lost(&r->ring, sizeof(struct np_decision));

	r->lost = now;
	return n;
}

/* Nonzero: what fn returned. */
static int trace_tell(struct reader *r, const struct np_decision *record, size_t size)
{
	struct np_steer_decision d;

	if (decision_read(record, size, &d) < 0 || record->draw >= r->of_65536)
		return 0;
	d.lost = trace_take_lost(r);
	return r->fn(r->arg, &d);
}

/* Everything that is there. */
static int trace_drain(struct reader *r)
{
	struct np_decision record;
	size_t size;
	int e = 0;

	while (e == 0 && ring_next(&r->ring, &record, sizeof record, &size))
		e = trace_tell(r, &record, size);
	return e;
}

static int trace_run(struct reader *r)
{
	uint64_t now;
	int e = 0;

	while (e == 0 && (now = sys_clock_ns()) < r->until) {
		uint64_t left = (r->until - now + 999999u) / 1000000u;

		trace_renew(r);
		e = ring_wait(&r->ring, left < RENEW_MS ? (int)left : RENEW_MS);
		if (e == 0)
			e = trace_drain(r);
	}
	return e ? e : trace_drain(r); /* what came while the time ran out */
}

int np_steer_trace(struct np_steer *s, unsigned of_65536, int ms,
		   int (*fn)(void *arg, const struct np_steer_decision *d), void *arg)
{
	struct reader r = { .s = s, .of_65536 = of_65536, .fn = fn, .arg = arg };
	int e;

	if (ms < -1)
		return steer_fail(s, -EINVAL, "%d is no time to trace for", ms);
	e = steer_needs_l3(s, "decisions are told");
	if (e < 0)
		return e;
	if (of_65536 < 1 || of_65536 > ALL_FLOWS)
		return steer_fail(s, -EINVAL, "%u of 65536 flows cannot be traced", of_65536);
	if (!s->maps.config)
		return steer_fail(s, -EPERM,
				  "%s/np_config may only be read by this user: run it as root",
				  s->dir);
	e = ring_open(&r.ring, s->maps.fd[MAP_np_trace], NP_TRACE_BYTES);
	if (e < 0)
		return steer_fail(s, e, "%s/np_trace cannot be read: %s", s->dir, strerror(-e));
	r.lost = __atomic_load_n(&s->maps.service->trace_lost, __ATOMIC_RELAXED);
	r.until = ms <= 0 ? UINT64_MAX : sys_clock_ns() + (uint64_t)ms * 1000000u;
	trace_begin(&r);
	e = trace_run(&r);
	trace_end(&r);
	ring_close(&r.ring);
	return e;
}
