/* SPDX-License-Identifier: BSD-2-Clause */
/* roll_call: one mail to the poller, and a wait that ends. */
#include "netpoll/roll_call.h"

#include "netpoll/pollers.h"
#include "poll/list.h"
#include "poll/poller.h"
#include "poll/roll.h"
#include "sys/symbol.h"

/* How long a poller whose thread is free takes at most to say who is left on it. */
#define ANSWER_MS 500

void roll_call_init(struct roll_call *c, struct poller *p,
		    void (*fill)(struct roll_call *, struct roll *))
{
	*c = (struct roll_call){ .poller = p, .fill = fill };
	event_init(&c->answered);
}

static void answer(struct mail *m)
{
	struct roll_call *c = container_of(m, struct roll_call, mail);
	struct roll r = { 0 };

	c->fill(c, &r);
	roll_say(&r, c->poller);
	c->handlers = r.fibers;
	event_set(&c->answered);
}

void roll_call_ask(struct roll_call *c)
{
	if (c->asked)
		return;
	c->asked = true;
	c->mail.fn = answer;
	poller_post(c->poller, &c->mail);
}

int roll_call_wait(struct roll_call *c)
{
	int r = event_wait(&c->answered, ANSWER_MS);

	if (r < 0)
		return r;
	c->asked = false;
	return (int)c->handlers;
}

void roll_call_settle(struct roll_call *c)
{
	if (c->asked)
		event_wait(&c->answered, 0);
	c->asked = false;
}

int roll_call_stuck(struct roll_call *c)
{
	char name[160];

	poller_log(c->poller, NP_LOG_ERROR,
		   "poller %d: handler %s does not return, and keeps the thread",
		   poller_index(c->poller),
		   sys_symbol(poller_handler(c->poller), name, sizeof name));
	return 1;
}
