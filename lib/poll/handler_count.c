/* SPDX-License-Identifier: BSD-2-Clause */
/* handler_count: by the function that poller_note_handler() had named when each fiber parked. */
#include "poll/handler_count.h"

#include "poll/park.h"
#include "poll/poller.h"
#include "sys/symbol.h"

#define ERROR 2

void handler_count_add(struct handler_count *c, const struct fiber *f)
{
	const void *handler = park_handler(f);
	unsigned i = 0;

	c->fibers++;
	while (i < c->n && c->of[i].handler != handler)
		i++;
	if (i == HANDLER_COUNT_NAMES)
		i--;
	if (i == c->n)
		c->of[c->n++].handler = handler;
	c->of[i].fibers++;
}

static void handler_count_add_one(void *arg, struct fiber *f)
{
	handler_count_add(arg, f);
}

void handler_count_add_all(struct handler_count *c, struct poller *p)
{
	fiber_pool_each(poller_fibers(p), handler_count_add_one, c);
}

void handler_count_say(const struct handler_count *c, struct poller *p)
{
	char name[160];

	for (unsigned i = 0; i < c->n; i++)
		poller_log(p, ERROR, "poller %d: %u of handler %s%s did not return",
			   poller_index(p), c->of[i].fibers,
			   sys_symbol(c->of[i].handler, name, sizeof name),
			   i == HANDLER_COUNT_NAMES - 1 ? " and others" : "");
}
