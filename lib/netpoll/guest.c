/* SPDX-License-Identifier: BSD-2-Clause */
/* guest: the group of one connection, and the list of them at each poller. */
#include "netpoll/guest.h"

#include <errno.h>
#include <stdlib.h>

#include "conn/conn.h"
#include "netpoll/pollers_private.h"
#include "poll/park.h"
#include "sys/io.h"
#include "sys/opts.h"

struct guest {
	struct conn_group group;
	struct np_handlers handlers;
	struct poller_load load;
	struct list link; /* in slot->guests until the descriptor is closed */
	void *note;
	bool idle;
};

static struct guest *guest_of(struct conn_group *g)
{
	return container_of(g, struct guest, group);
}

static void leave(struct conn_group *g)
{
	list_remove(&guest_of(g)->link);
	poller_unhold(g->poller);
}

static void forget(struct conn_group *g)
{
	free(guest_of(g));
}

static struct guest *guest_make(struct poller_slot *s, void *arg)
{
	struct guest *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->group = (struct conn_group){
		.poller = s->poller,
		.handlers = &t->handlers,
		.arg = arg,
		.limits = CONN_DEFAULT_LIMITS,
		.rules = CONN_DEFAULT_RULES,
		.load = &t->load,
		.on_empty = leave,
	};
	list_init(&t->group.conns);
	list_init(&t->link);
	return t;
}

static int start(struct poller_slot *s, struct guest *t, int *fd, unsigned flags,
		 struct np_conn **ret)
{
	int r;

	list_append(&s->guests, &t->link);
	poller_hold(s->poller);
	r = conn_start(&t->group, fd, flags, ret);
	if (r == 0) {
		t->group.on_freed = forget; /* t goes with the connection, now that there is one */
		return 0;
	}
	leave(&t->group);
	free(t);
	return r == 1 ? -ECANCELED : r;
}

int guest_new(struct poller_slot *s, int *fd, unsigned flags, const struct np_handlers *h,
	      void *arg, struct np_conn **ret)
{
	struct guest *t;
	int r = 0;

	if (poller_cancelled(s->poller)) {
		sys_close(fd);
		return -ECANCELED;
	}
	t = guest_make(s, arg);
	if (t && h)
		r = sys_opts_take(&t->handlers, sizeof t->handlers, h);
	if (t && r == 0)
		return start(s, t, fd, flags, ret);
	free(t);
	sys_close(fd);
	return r < 0 ? r : -ENOMEM;
}

void **guest_note(struct np_conn *c)
{
	return c->group->on_empty == leave ? &guest_of(c->group)->note : NULL;
}

void guest_set_idle(struct np_conn *c, bool idle)
{
	guest_of(c->group)->idle = idle;
}

static bool has_handlers(const struct guest *t)
{
	return t->handlers.on_connect || t->handlers.on_request;
}

/* The one connection of a guest. */
static struct np_conn *conn_of(struct guest *t)
{
	return container_of(t->group.conns.next, struct np_conn, link);
}

void guests_retire(struct poller_slot *s)
{
	struct list *next;

	for (struct list *l = s->guests.next; l != &s->guests; l = next) {
		struct guest *t = container_of(l, struct guest, link);

		next = l->next;
		if ((!has_handlers(t) && !t->idle) || list_empty(&t->group.conns))
			continue;
		t->group.retiring = true;
		conn_retire(conn_of(t));
	}
}

void guests_end(struct poller_slot *s)
{
	struct list *next;

	for (struct list *l = s->guests.next; l != &s->guests; l = next) {
		struct guest *t = container_of(l, struct guest, link);

		next = l->next;
		if (!list_empty(&t->group.conns))
			np_conn_abort(conn_of(t));
	}
}
