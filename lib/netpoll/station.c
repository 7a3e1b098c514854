/* SPDX-License-Identifier: BSD-2-Clause */
/* station: doors open, connections begin, and all of it ends, on the poller's own thread. */
#include "netpoll/station.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "netpoll/server_private.h"
#include "poll/park.h"
#include "poll/roll.h"
#include "sys/io.h"
#include "sys/sock.h"

static struct station *station_of(struct mail *m)
{
	return container_of(m, struct station, mail);
}

void station_post(struct station *st, void (*step)(struct mail *))
{
	st->mail.fn = step;
	poller_post(st->group.poller, &st->mail);
}

/* ------------------------------------------------------------------ connections */

static void begin(struct station *st, int *fd, bool inet)
{
	int r = conn_start(&st->group, fd, CONN_SOCKET | (inet ? CONN_INET : 0), NULL);

	if (r < 0)
		poller_log(st->group.poller, 1, "a new connection was dropped: %s", np_strerror(r));
}

/* A descriptor on its way to the poller that has fewer connections. */
struct handoff {
	struct mail mail;
	struct station *to;
	int fd;
	bool inet;
};

static void handed_over(struct mail *m)
{
	struct handoff *h = container_of(m, struct handoff, mail);

	begin(h->to, &h->fd, h->inet);
	free(h);
}

/*
 * Who wakes for a shared socket keeps the connection, unless it is over its share: epoll wakes
 * the same poller again and again under light load. Nothing is handed over once it is a connection.
 */
static bool hand_over(struct station *st, int *fd, bool inet)
{
	struct station *to = server_least_loaded(st->server, st);
	struct handoff *h;

	if (!to)
		return false;
	h = malloc(sizeof *h);
	if (!h)
		return false;
	*h = (struct handoff){ .mail.fn = handed_over, .to = to, .fd = *fd, .inet = inet };
	*fd = -1;
	poller_post(to->group.poller, &h->mail);
	return true;
}

static void on_accept(struct listener *l, int *fd)
{
	struct door *d = container_of(l, struct door, listener);

	if (d->shared && hand_over(d->station, fd, d->inet))
		return;
	begin(d->station, fd, d->inet);
}

/*
 * EINVAL: the listener was shut because this poller hung, and what was queued is its siblings' now
 * (np_steer_relisten()). The port and the place among the siblings are taken back.
 */
static bool reopen(struct door *d)
{
	struct station *st = d->station;

	return server_relisten(st->server, st->index, d->fd) == 0 &&
	       listener_open(&d->listener, st->group.poller, d->fd) == 0;
}

static void on_error(struct listener *l, int err)
{
	struct door *d = container_of(l, struct door, listener);

	if (err == -EINVAL && d->steered && reopen(d))
		return;
	poller_log(d->station->group.poller, 2, "a listener was closed: accept: %s", np_strerror(err));
}

/* What waits for a descriptor need not wait for the timer. */
static void on_closed(struct conn_group *g)
{
	struct station *st = container_of(g, struct station, group);

	for (unsigned i = 0; i < st->n_doors; i++)
		listener_nudge(&st->doors[i].listener);
}

static void on_empty(struct conn_group *g)
{
	struct station *st = container_of(g, struct station, group);

	if (!st->retiring_counted)
		return;
	st->retiring_counted = false;
	gate_arrive(&st->server->gate);
}

/* ------------------------------------------------------------------ steps */

void station_open(struct mail *m)
{
	struct station *st = station_of(m);

	st->group.on_closed = on_closed;
	st->group.on_empty = on_empty;
	/* Nobody reads the station's own line while it runs: then there is nothing to publish at each dispatch. */
	st->result = 0;
	if (st->group.load != &st->own_load)
		st->result = poller_add_load(st->group.poller, st->group.load);
	for (unsigned i = 0; i < st->n_doors && st->result == 0; i++) {
		struct door *d = &st->doors[i];

		d->listener.on_accept = on_accept;
		d->listener.on_error = on_error;
		st->result = listener_open(&d->listener, st->group.poller, d->listener.fd);
	}
	gate_arrive(&st->server->gate);
}

/*
 * How many connections the stop owes this door. Not "until the queue is empty": others may fill it as fast. A unix
 * listener of ours refuses connect(2) by now; how much an inherited one holds the kernel does not tell.
 */
static unsigned station_queued(const struct door *d)
{
	unsigned n;

	if (d->inet && sys_accept_queue(d->fd, &n) == 0)
		return n;
	return d->own ? UINT_MAX : sys_somaxconn() + 1;
}

/*
 * shutdown(2), not close(2) alone: a child that was forked without exec holds the listener too, and the kernel would
 * go on taking connections that nobody accepts. Return: whether it is done.
 */
static bool station_shut_door(struct door *d)
{
	struct listener *l = &d->listener;
	int r;

	if (l->fd < 0)
		return true;
	if (!d->draining) {
		d->draining = true;
		d->left = station_queued(d);
		listener_drain_begin(l);
	}
	r = listener_drain(l, &d->left);
	if (r > 0)
		return false;
	if (r < 0 && !(r == -EINVAL && d->steered)) /* EINVAL: as in reopen() */
		poller_log(d->station->group.poller, 1, "accept: %s: connections that were queued at the stop are reset",
			   np_strerror(r));
	if (d->own)
		sys_shutdown(d->fd, SHUT_RDWR);
	listener_close(l);
	return true;
}

void station_shut_doors(struct mail *m)
{
	struct station *st = station_of(m);
	bool done = true;

	for (unsigned i = 0; i < st->n_doors; i++)
		done &= station_shut_door(&st->doors[i]);
	if (done)
		gate_arrive(&st->server->gate);
	else
		station_post(st, station_shut_doors); /* in the next turn: connections have theirs in between */
}

void station_retire(struct mail *m)
{
	struct station *st = station_of(m);
	struct list all, *l;

	st->group.retiring = true;
	if (!st->group.n) {
		gate_arrive(&st->server->gate);
		return;
	}
	st->retiring_counted = true;
	list_move_all(&st->group.conns, &all);
	while ((l = list_pop(&all))) {
		list_append(&st->group.conns, l);
		conn_retire(container_of(l, struct np_conn, link));
	}
}

static void force(struct mail *m)
{
	struct station *st = container_of(m, struct station, force_mail);
	struct list all, *l;

	list_move_all(&st->group.conns, &all);
	while ((l = list_pop(&all))) {
		struct np_conn *c = container_of(l, struct np_conn, link);
		struct fiber *f = conn_handler(c);

		list_append(&st->group.conns, l);
		st->forced++;
		np_conn_abort(c); /* first: its verbs say that it has ended */
		if (f)
			park_cancel_fiber(f);
	}
	gate_arrive(&st->server->forced);
}

/* The deadline has passed: everything left is reset. on_empty() still owes the gate its arrival. */
void station_post_force(struct station *st)
{
	st->force_mail.fn = force;
	poller_post(st->group.poller, &st->force_mail);
}

void station_leave(struct mail *m)
{
	struct station *st = station_of(m);

	poller_del_load(st->group.poller, st->group.load);
	gate_arrive(&st->server->gate);
}

void station_fill_roll(struct roll_call *c, struct roll *r)
{
	struct station *st = container_of(c, struct station, roll);

	for (struct list *l = st->group.conns.next; l != &st->group.conns; l = l->next) {
		struct fiber *f = conn_handler(container_of(l, struct np_conn, link));

		if (f)
			roll_add(r, f);
	}
}
