/* SPDX-License-Identifier: BSD-2-Clause */
/* station: doors open, connections begin, and all of it ends, on the poller's own thread. */
#include "netpoll/station.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "netpoll/server_private.h"
#include "poll/handler_count.h"
#include "poll/park.h"
#include "sys/addr.h"
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

#define SAY_FULL_MS 60000u

/* New clients wait in the kernel's queue, or go to those that have room. */
static void station_fill(struct station *st)
{
	struct poller *p = st->group.poller;
	uint64_t now = poller_now_ms(p);

	st->full = true;
	__atomic_store_n(&st->at_limit, st->at_limit + 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < st->n_doors; i++)
		listener_hold(&st->doors[i].listener);
	server_say_full(st->server, st->index, true);
	if (st->said_full_ms && now - st->said_full_ms < SAY_FULL_MS)
		return;
	st->said_full_ms = now;
	poller_log(p, 1, "poller %d: %u connections, its share of max_conns: new ones wait",
		   poller_index(p), st->limit);
}

/* Not at each connection that closes: steering would be told twice for each. */
static void station_make_room(struct station *st)
{
	unsigned slack = st->limit / 16 ? st->limit / 16 : 1;

	if (!st->full || st->group.retiring || st->group.n > st->limit - slack)
		return;
	st->full = false;
	server_say_full(st->server, st->index, false);
	for (unsigned i = 0; i < st->n_doors; i++)
		if (!st->doors[i].draining)
			listener_release(&st->doors[i].listener, st->group.poller);
}

static void begin(struct station *st, int *fd, bool inet)
{
	int r = conn_start(&st->group, fd, CONN_SOCKET | (inet ? CONN_INET : 0), NULL);

	if (r < 0)
		poller_log(st->group.poller, 1, "a new connection was dropped: %s", np_strerror(r));
	if (st->limit && !st->full && st->group.n >= st->limit)
		station_fill(st);
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

/* Several pollers may hand over at once, before one of these is counted. */
#define HANDOFFS 64u

static bool station_is_near_limit(const struct station *st)
{
	return st->limit &&
	       __atomic_load_n(&st->group.load->conns, __ATOMIC_RELAXED) + HANDOFFS >= st->limit;
}

/*
 * Who wakes for a shared socket keeps the connection, unless it is over its share: epoll wakes
 * the same poller again and again under light load. Nothing is handed over once it is a connection.
 */
static bool hand_over(struct station *st, int *fd, bool inet)
{
	struct station *to = server_least_loaded(st->server, st);
	struct handoff *h;

	if (!to || station_is_near_limit(to))
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

	d->again_ms = 0;
	d->told = false;
	if (d->delays)
		/* without it the connection is slower, no more */
		sys_setsockopt_int(*fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (d->shared && hand_over(d->station, fd, d->inet))
		return;
	begin(d->station, fd, d->inet);
}

/* ------------------------------------------------------------------ a listener that was shut */

#define AGAIN_MIN_MS 10
#define AGAIN_MAX_MS 1000

static void door_tell(struct door *d, int err)
{
	struct station *st = d->station;
	const struct address *a = &st->server->addresses[d - st->doors];
	struct poller *p = st->group.poller;
	char at[128], holder[80];

	if (d->told)
		return;
	d->told = true;
	addr_format(&a->ss, a->len, at, sizeof at);
	if (!d->steered)
		poller_log(
			p, 1,
			"poller %d: accept on %s: %s: a process that shares the socket has shut it;"
			" tried again until it listens",
			poller_index(p), at, np_strerror(err));
	else if (err == -EBUSY)
		poller_log(
			p, 1,
			"poller %d: its listener on %s was shut while it hung, and cannot listen yet:"
			" %s holds the lock of the service; tried again until it does",
			poller_index(p), at, server_lock_holder(st->server, holder, sizeof holder));
	else
		poller_log(
			p, 1,
			"poller %d: its listener on %s was shut while it hung, and cannot listen yet:"
			" %s; tried again until it does",
			poller_index(p), at, np_strerror(err));
}

/*
 * The listener was shut because this poller hung, and what was queued is its siblings' now
 * (np_steer_relisten()). One that is not steered listens again when a process that shares it makes
 * it.
 */
static int door_reopen(struct door *d)
{
	struct station *st = d->station;
	int r = d->steered ? server_relisten(st->server, st->index, d->fd) : 0;

	return r < 0 ? r : listener_open(&d->listener, st->group.poller, d->fd);
}

static void door_pause(struct door *d)
{
	struct poller *p = d->station->group.poller;

	d->again_ms = d->again_ms ? d->again_ms * 2 : AGAIN_MIN_MS;
	if (d->again_ms > AGAIN_MAX_MS)
		d->again_ms = AGAIN_MAX_MS;
	timer_arm(p, &d->again, poller_after_ms(p, d->again_ms));
}

/* Whatever is in the way passes, but for the end of the service. New clients go to the siblings
 * meanwhile. */
static void door_try(struct door *d)
{
	struct poller *p = d->station->group.poller;
	int r = door_reopen(d);

	if (r < 0 && r != -ESHUTDOWN) {
		/* a sibling that does the same at this moment is nothing to tell */
		if (d->again_ms)
			door_tell(d, r);
		door_pause(d);
	} else if (r == 0 && d->steered && d->told) {
		d->told = false;
		poller_log(p, 0, "poller %d: its listener listens again", poller_index(p));
	}
}

static void door_again(struct timer *t)
{
	door_try(container_of(t, struct door, again));
}

/*
 * A shut socket says EINVAL. The first time it is tried at once; where that helps nothing it would
 * say so in each turn. Any other error is that of a descriptor which is no longer this socket's.
 */
static void on_error(struct listener *l, int err)
{
	struct door *d = container_of(l, struct door, listener);
	struct poller *p = d->station->group.poller;

	if (err != -EINVAL) {
		poller_log(
			p, 2,
			"poller %d: descriptor %d is no listener any more, and is left alone: accept: %s",
			poller_index(p), d->fd, np_strerror(err));
		return;
	}
	if (!d->steered)
		door_tell(d, err);
	if (d->steered && !d->again_ms)
		door_try(d);
	else
		door_pause(d);
}

static void door_init(struct door *d)
{
	listener_init(&d->listener);
	d->listener.on_accept = on_accept;
	d->listener.on_error = on_error;
	d->listener.sheds = &d->station->shed;
	timer_init(&d->again, door_again);
}

/* What waits for a descriptor need not wait for the timer. */
static void on_closed(struct conn_group *g)
{
	struct station *st = container_of(g, struct station, group);

	station_make_room(st);
	for (unsigned i = 0; i < st->n_doors; i++)
		listener_nudge(&st->doors[i].listener);
}

static void on_empty(struct conn_group *g)
{
	struct station *st = container_of(g, struct station, group);

	if (!st->retiring_counted)
		return;
	st->retiring_counted = false;
	latch_arrive(&st->server->latch);
}

/* ------------------------------------------------------------------ steps */

void station_open(struct mail *m)
{
	struct station *st = station_of(m);

	st->group.on_closed = on_closed;
	st->group.on_empty = on_empty;
	/* Nobody reads the station's own line while it runs: then there is nothing to publish at
	 * each dispatch. */
	for (unsigned i = 0; i < st->n_doors; i++)
		door_init(&st->doors[i]);
	st->result = 0;
	if (st->group.load != &st->own_load)
		st->result = poller_add_load(st->group.poller, st->group.load);
	for (unsigned i = 0; i < st->n_doors && st->result == 0; i++) {
		struct door *d = &st->doors[i];

		st->result = listener_open(&d->listener, st->group.poller, d->fd);
	}
	latch_arrive(&st->server->latch);
}

/*
 * How many connections the stop owes this door. Not "until the queue is empty": others may fill it
 * as fast. A unix listener of ours refuses connect(2) by now; how much an inherited one holds the
 * kernel does not tell.
 */
static unsigned station_queued(const struct door *d)
{
	unsigned n;

	if (d->inet && sys_accept_queue(d->fd, &n) == 0)
		return n;
	return d->own ? UINT_MAX : sys_somaxconn() + 1;
}

/* Whoever still waits in its queue is reset by that, and counted. */
static void station_shut(struct door *d)
{
	uint64_t *shed = &d->station->shed;
	unsigned n;

	if (d->inet && sys_accept_queue(d->fd, &n) == 0)
		__atomic_store_n(shed, *shed + n, __ATOMIC_RELAXED);
	sys_shutdown(d->fd, SHUT_RDWR);
}

/*
 * shutdown(2), not close(2) alone: a child that was forked without exec holds the listener too, and
 * the kernel would go on taking connections that nobody accepts. Return: whether it is done.
 */
static bool station_shut_door(struct door *d)
{
	struct listener *l = &d->listener;
	int r;

	timer_disarm(&d->again);
	if (l->fd < 0)
		return true;
	if (!d->draining) {
		d->draining = true;
		d->left = station_queued(d);
		listener_drain_begin(l);
	}
	r = d->station->full ? 0 : listener_drain(l, &d->left);
	if (r > 0)
		return false;
	if (r < 0 && !(r == -EINVAL && d->steered)) /* EINVAL: as in on_error() */
		poller_log(d->station->group.poller, 1,
			   "accept: %s: connections that were queued at the stop are reset",
			   np_strerror(r));
	if (d->own)
		station_shut(d);
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
		latch_arrive(&st->server->latch);
	else
		/* in the next turn: connections have theirs in between */
		station_post(st, station_shut_doors);
}

void station_retire(struct mail *m)
{
	struct station *st = station_of(m);
	struct list all, *l;

	st->group.retiring = true;
	if (!st->group.n) {
		latch_arrive(&st->server->latch);
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
	latch_arrive(&st->server->forced);
}

/* The deadline has passed: everything left is reset. on_empty() still owes the latch its arrival. */
void station_post_force(struct station *st)
{
	st->force_mail.fn = force;
	poller_post(st->group.poller, &st->force_mail);
}

void station_leave(struct mail *m)
{
	struct station *st = station_of(m);

	poller_del_load(st->group.poller, st->group.load);
	conn_memory_fini(&st->group);
	latch_arrive(&st->server->latch);
}

void station_count_handlers(struct stop_report *report, struct handler_count *n)
{
	struct station *st = container_of(report, struct station, report);

	for (struct list *l = st->group.conns.next; l != &st->group.conns; l = l->next) {
		struct fiber *f = conn_handler(container_of(l, struct np_conn, link));

		if (f)
			handler_count_add(n, f);
	}
}
