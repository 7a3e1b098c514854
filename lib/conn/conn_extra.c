/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_extra: what few connections have: settings of their own, close callbacks, a handler. */
#include <errno.h>
#include <stdlib.h>

#include "conn/conn.h"
#include "poll/baton.h"

struct conn_callback {
	struct conn_callback *next;
	void (*fn)(struct np_conn *, void *);
	void *arg;
};

int conn_extra(struct np_conn *c, struct conn_extra **ret)
{
	struct conn_extra *x;

	if (conn_life(c) == CONN_GONE)
		return -NP_ECLOSED; /* conn_gone() was here: nobody would free it */
	if (!(c->flags & CONN_EXTRA)) {
		x = calloc(1, sizeof *x);
		if (!x)
			return -ENOMEM;
		x->settings = *c->set;
		c->set = &x->settings;
		c->flags |= CONN_EXTRA;
	}
	*ret = conn_extra_of(c);
	return 0;
}

int np_conn_add_close_callback(struct np_conn *c, void (*fn)(struct np_conn *, void *), void *arg)
{
	NP_GATE(np_conn_add_close_callback(c, fn, arg));

	struct conn_callback *cb;
	struct conn_extra *x;
	int r;

	if (!fn)
		return -EINVAL;
	if (conn_life(c) > CONN_OPEN)
		return -NP_ECLOSED;
	r = conn_extra(c, &x);
	if (r < 0)
		return r;
	cb = malloc(sizeof *cb);
	if (!cb)
		return -ENOMEM;
	*cb = (struct conn_callback){ .next = x->callbacks, .fn = fn, .arg = arg };
	x->callbacks = cb;
	return 0;
}

static struct conn_callback *extra_pop_callback(struct np_conn *c)
{
	struct conn_extra *x = conn_extra_of(c);
	struct conn_callback *cb = x ? x->callbacks : NULL;

	if (cb)
		x->callbacks = cb->next;
	return cb;
}

void conn_callbacks_run(struct np_conn *c)
{
	struct conn_callback *cb;

	while ((cb = extra_pop_callback(c))) {
		conn_note_handler(c, cb->fn);
		cb->fn(c, cb->arg);
		free(cb);
	}
}

void conn_extra_free(struct np_conn *c)
{
	struct conn_extra *x = conn_extra_of(c);

	c->set = &c->group->settings;
	c->flags &= (uint16_t)~CONN_EXTRA;
	if (x)
		free(x->proxied);
	free(x);
}

void conn_extra_drop(struct np_conn *c)
{
	struct conn_extra *x = conn_extra_of(c);
	struct conn_callback *cb;

	while ((cb = extra_pop_callback(c)))
		free(cb);
	if (x)
		conn_filter_free(x);
	if (!x || !x->home)
		conn_extra_free(c);
}
