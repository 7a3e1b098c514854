/* SPDX-License-Identifier: BSD-2-Clause */
/* roll: what poller_note_handler() had said when each parked. */
#include "poll/roll.h"

#include "poll/park.h"
#include "poll/poller.h"
#include "sys/symbol.h"

#define ERROR 2

void roll_add(struct roll *r, const struct fiber *f)
{
	const void *handler = park_handler(f);
	unsigned i = 0;

	r->fibers++;
	while (i < r->n && r->of[i].handler != handler)
		i++;
	if (i == ROLL_NAMES)
		i--;
	if (i == r->n)
		r->of[r->n++].handler = handler;
	r->of[i].fibers++;
}

static void add(void *arg, struct fiber *f)
{
	roll_add(arg, f);
}

void roll_add_all(struct roll *r, struct poller *p)
{
	fiber_pool_each(poller_fibers(p), add, r);
}

void roll_say(const struct roll *r, struct poller *p)
{
	char name[160];

	for (unsigned i = 0; i < r->n; i++)
		poller_log(p, ERROR, "poller %d: %u of handler %s%s did not return",
			   poller_index(p), r->of[i].fibers,
			   sys_symbol(r->of[i].handler, name, sizeof name),
			   i == ROLL_NAMES - 1 ? " and others" : "");
}
