/* SPDX-License-Identifier: BSD-2-Clause */
/* roll: fibers counted by what poller_note_fiber() said of them. */
#include "poll/roll.h"

#include "poll/poller.h"
#include "sys/symbol.h"

#define NAMES 16
#define ERROR 2

struct roll {
	unsigned total, n;
	struct {
		const void *handler;
		unsigned fibers;
	} of[NAMES];
};

/* Handlers beyond the last name are counted with it. */
static void answer(void *arg, struct fiber *f)
{
	struct roll *r = arg;
	unsigned i = 0;

	r->total++;
	while (i < r->n && r->of[i].handler != fiber_owner(f))
		i++;
	if (i == NAMES)
		i--;
	if (i == r->n)
		r->of[r->n++].handler = fiber_owner(f);
	r->of[i].fibers++;
}

unsigned roll_call(struct poller *p)
{
	struct roll r = { 0 };
	char name[160];

	fiber_pool_each(poller_fibers(p), answer, &r);
	for (unsigned i = 0; i < r.n; i++)
		poller_log(p, ERROR, "poller %d: %u of handler %s%s did not return", poller_index(p), r.of[i].fibers,
			   sys_symbol(r.of[i].handler, name, sizeof name), i == NAMES - 1 ? " and others" : "");
	return r.total;
}
