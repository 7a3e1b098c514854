/* SPDX-License-Identifier: BSD-2-Clause */
/* own_group: the group of one connection, and the list of them at each poller. */
#include "netpoll/own_group.h"

#include <errno.h>
#include <stdlib.h>

#include "conn/conn_export.h"
#include "netpoll/client.h"
#include "netpoll/pollers_private.h"
#include "poll/baton.h"
#include "poll/park.h"
#include "sys/io.h"
#include "sys/opts.h"

struct own_group {
	struct conn_group group;
	struct np_handlers handlers;
	struct poller_load load;
	struct list link; /* in slot->own_groups until the descriptor is closed */
	void *note;
	bool idle;
};

static struct own_group *own_group_of(struct conn_group *g)
{
	return container_of(g, struct own_group, group);
}

static bool own_group_has_handlers(const struct own_group *own)
{
	return own->handlers.on_connect || own->handlers.on_request || own->handlers.on_frame;
}

static void own_group_leave(struct conn_group *g)
{
	list_remove(&own_group_of(g)->link);
	poller_unhold(g->poller);
}

static void own_group_stay_at(struct own_group *own, struct poller_slot *s)
{
	own->group.poller = s->poller;
	list_append(&s->own_groups, &own->link);
	poller_hold(s->poller);
}

/* One that belongs to a pool stays at its part. */
static struct conn_group *own_group_at(struct conn_group *g, struct poller *p)
{
	return own_group_of(g)->note ? NULL : g;
}

static void own_group_travel(struct conn_group *g, struct poller *p)
{
	if (p)
		own_group_stay_at(own_group_of(g), poller_slot_self());
	else
		own_group_leave(g);
}

static void own_group_forget(struct conn_group *g)
{
	free(own_group_of(g));
}

static int own_group_make(struct poller_slot *s, const struct np_dial_opts *o,
			  struct own_group **ret)
{
	struct own_group *own = calloc(1, sizeof *own);
	int r = 0;

	if (!own)
		return -ENOMEM;
	own->group = (struct conn_group){
		.poller = s->poller,
		.arg = o->arg,
		.settings = CONN_DEFAULT_SETTINGS,
		.filter = (const struct np_filter_maker *)o->tls,
		.filter_host = o->tls_host,
		.load = &own->load,
		.at = own_group_at,
		.on_travel = own_group_travel,
		.on_empty = own_group_leave,
	};
	own->group.settings.limits = o->limits;
	list_init(&own->group.conns);
	list_init(&own->link);
	if (o->handlers)
		r = pollers_take_handlers(&own->handlers, o->handlers);
	conn_group_handle(&own->group, &own->handlers);
	own->group.in_hand = !own_group_has_handlers(own);
	if (r == 0)
		r = conn_limits_init(&own->group.settings.limits, NULL);
	if (r < 0)
		free(own);
	else
		*ret = own;
	return r;
}

static int own_group_start(struct poller_slot *s, struct own_group *own, int *fd,
			   enum transport_kind kind, struct np_conn **ret)
{
	int r;

	own_group_stay_at(own, s);
	r = conn_start(&own->group, fd, kind, ret);
	if (r == 0) {
		/* it goes with the connection, now that there is one */
		own->group.on_freed = own_group_forget;
		return 0;
	}
	own_group_leave(&own->group);
	free(own);
	return r == 1 ? -ECANCELED : r;
}

int own_group_new(struct poller_slot *s, int *fd, enum transport_kind kind,
		  const struct np_dial_opts *o, struct np_conn **ret)
{
	struct own_group *own;
	int r = poller_cancelled(s->poller) ? -ECANCELED : own_group_make(s, o, &own);

	if (r == 0)
		return own_group_start(s, own, fd, kind, ret);
	sys_close(fd);
	return r;
}

int np_conn_import_mate(struct np_conn *c, const struct np_handlers *h, void *arg,
			struct np_conn **ret)
{
	NP_GATE(np_conn_import_mate(c, h, arg, ret));

	const struct np_dial_opts o = { .sz = sizeof o, .handlers = h, .arg = arg };
	struct poller_slot *s = poller_slot_self();
	struct own_group *own;
	int r = poller_cancelled(s->poller) ? -ECANCELED : own_group_make(s, &o, &own);

	if (r < 0)
		return r;
	own->group.on_freed = own_group_forget;
	return conn_import_mate(c, &own->group, ret);
}

void **own_group_note(struct np_conn *c)
{
	return c->group->on_empty == own_group_leave ? &own_group_of(c->group)->note : NULL;
}

void own_group_set_idle(struct np_conn *c, bool idle)
{
	own_group_of(c->group)->idle = idle;
	c->group->in_hand = !idle;
}

/* Its one connection. */
static struct np_conn *own_group_conn(struct own_group *own)
{
	return container_of(own->group.conns.next, struct np_conn, link);
}

void own_groups_retire(struct poller_slot *s)
{
	struct list *next;

	for (struct list *l = s->own_groups.next; l != &s->own_groups; l = next) {
		struct own_group *own = container_of(l, struct own_group, link);

		next = l->next;
		if ((!own_group_has_handlers(own) && !own->idle) || list_empty(&own->group.conns))
			continue;
		own->group.retiring = true;
		conn_retire(own_group_conn(own));
	}
}

void own_groups_end(struct poller_slot *s)
{
	struct list *next;

	for (struct list *l = s->own_groups.next; l != &s->own_groups; l = next) {
		struct own_group *own = container_of(l, struct own_group, link);

		next = l->next;
		if (!list_empty(&own->group.conns))
			np_conn_abort(own_group_conn(own));
	}
}
