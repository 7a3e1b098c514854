/* SPDX-License-Identifier: BSD-2-Clause */
/* meter: the countdown, and how often it is begun. */
#include "poll/meter.h"

#include <errno.h>
#include <stdlib.h>

#define METER_ROW 64u /* so many, each looked at, say how fast they come */

int meter_init(struct meter *m, bool on)
{
	*m = (struct meter){ .left = INT64_MAX, .behind = INT64_MAX, .every = 1, .chance = 1 };
	if (!on)
		return 0;
	m->of = calloc(METER_KINDS, sizeof *m->of);
	if (!m->of)
		return -ENOMEM;
	m->left = m->behind = 0; /* the first one is due */
	return 0;
}

void meter_fini(struct meter *m)
{
	free(m->of);
	m->of = NULL;
}

static void meter_adapt(struct meter *m, uint64_t now_ns)
{
	m->in_row += (uint64_t)(m->interval - m->left);
	if (m->in_row < METER_ROW)
		return;
	m->every = now_ns - m->since_ns < m->in_row * 1000000000u / METER_MANY ? METER_EVERY : 1;
	m->in_row = 0;
	m->since_ns = now_ns;
}

/* A row of requests that repeats itself must not be looked at in the same place each time. */
static int64_t meter_interval(struct meter *m)
{
	m->chance = m->chance * 1664525u + 1013904223u;
	return 1 + (int64_t)((m->chance >> 8) % (2u * m->every - 1u));
}

uint64_t meter_take(struct meter *m, uint64_t now_ns)
{
	uint64_t weight = (uint64_t)(m->interval - m->left);

	if (!m->of) { /* 2^63 requests later */
		meter_init(m, false);
		return 0;
	}
	meter_adapt(m, now_ns);
	m->interval = meter_interval(m);
	__atomic_store_n(&m->behind, m->behind + m->interval - m->left, __ATOMIC_RELAXED);
	__atomic_store_n(&m->left, m->interval, __ATOMIC_RELAXED);
	return weight ? weight : 1;
}

void meter_note(struct meter *m, enum meter_kind kind, uint64_t us, uint64_t weight)
{
	histogram_note(&m->of[kind], us, weight);
}

/* A reader may see one of the two before the other: it is off by an interval for a moment. */
uint64_t meter_requests(const struct meter *m)
{
	int64_t left = __atomic_load_n(&m->left, __ATOMIC_RELAXED);
	int64_t n = __atomic_load_n(&m->behind, __ATOMIC_RELAXED) - left;

	return n > 0 ? (uint64_t)n : 0;
}
