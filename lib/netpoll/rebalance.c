/* SPDX-License-Identifier: BSD-2-Clause */
/* rebalance: the gap, and the connection that halves it best. */
#include "netpoll/rebalance.h"

static uint32_t rebalance_less(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t rebalance_over(uint32_t a, uint32_t b)
{
	return a > b ? a - b : 0;
}

static bool rebalance_is_busiest(const struct rebalance_poller *p, unsigned n, unsigned me)
{
	for (unsigned i = 0; i < n; i++)
		if (p[i].load > p[me].load || (p[i].load == p[me].load && i < me))
			return false;
	return true;
}

static uint32_t rebalance_gap(const struct rebalance_poller *from,
			      const struct rebalance_poller *to)
{
	return rebalance_less(rebalance_over(from->load, to->load),
			      rebalance_over(from->demand, to->demand));
}

static unsigned rebalance_idlest(const struct rebalance_poller *p, unsigned n, unsigned me)
{
	unsigned best = me;

	for (unsigned i = 0; i < n; i++)
		if (rebalance_gap(&p[me], &p[i]) > rebalance_gap(&p[me], &p[best]))
			best = i;
	return best;
}

/* By how much the busier of the two has less to do behind it. */
static uint32_t rebalance_gain(const struct rebalance_conn *c, uint32_t gap)
{
	return c->stays ? 0 : rebalance_less(c->load, rebalance_over(gap, c->load));
}

static uint32_t rebalance_best(const struct rebalance_conn *c, unsigned n, uint32_t gap,
			       unsigned *ret)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < n; i++) {
		uint32_t gain = rebalance_gain(&c[i], gap);

		if (gain > most) {
			most = gain;
			*ret = i;
		}
	}
	return most;
}

static bool rebalance_even(struct rebalance *s)
{
	s->streak = 0;
	s->uneven = false;
	return false;
}

bool rebalance_choose(struct rebalance *s, const struct rebalance_poller *p, unsigned n,
		      unsigned me, const struct rebalance_conn *c, unsigned n_conns,
		      struct rebalance_choice *ret)
{
	unsigned to, best = 0;
	uint32_t gap;

	if (!rebalance_is_busiest(p, n, me))
		return rebalance_even(s);
	to = rebalance_idlest(p, n, me);
	gap = rebalance_gap(&p[me], &p[to]);
	if (gap < (s->uneven ? REBALANCE_GAP / 2 : REBALANCE_GAP) ||
	    rebalance_best(c, n_conns, gap, &best) < REBALANCE_GAIN)
		return rebalance_even(s);
	if (!s->uneven && ++s->streak < REBALANCE_STREAK)
		return false;
	s->uneven = true;
	*ret = (struct rebalance_choice){ .conn = best, .poller = to, .gap = gap };
	return true;
}
