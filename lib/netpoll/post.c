/* SPDX-License-Identifier: BSD-2-Clause */
/* post: a short function on a chosen poller's own stack, in the order its sender asked for. */
#include <errno.h>
#include <stdlib.h>

#include "netpoll/pollers.h"
#include "netpoll/pollers_private.h"
#include "poll/baton.h"

struct post {
	struct mail mail;
	void (*fn)(void *);
	void *arg;
};

static void post_arrive(struct mail *m)
{
	struct post o = *container_of(m, struct post, mail);
	struct poller_slot *s = poller_slot_self();

	free(container_of(m, struct post, mail));
	s->posts++;
	s->posted = o.fn;
	poller_note_handler(poller_self(), o.fn, -1);
	o.fn(o.arg);
}

int np_post(struct np_pollers *p, int poller, void (*fn)(void *), void *arg)
{
	NP_GATE(np_post(p, poller, fn, arg));

	struct post *o;
	int r = fn ? pollers_pick(&p, poller) : -EINVAL;

	if (r < 0)
		return r;
	o = malloc(sizeof *o);
	if (!o)
		return -ENOMEM;
	*o = (struct post){ .mail.fn = post_arrive, .fn = fn, .arg = arg };
	r = pollers_post(p, (unsigned)r, &o->mail);
	if (r < 0)
		free(o);
	return r;
}
