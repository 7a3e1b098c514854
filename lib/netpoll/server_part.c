/* SPDX-License-Identifier: BSD-2-Clause */
/* server_part: listeners open, connections begin, and all of it ends, on the poller's own thread. */
#include "netpoll/server_part.h"

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

static struct server_part *server_part_of(struct mail *m)
{
	return container_of(m, struct server_part, mail);
}

void server_part_post(struct server_part *part, void (*step)(struct mail *))
{
	part->mail.fn = step;
	poller_post(part->group.poller, &part->mail);
}

/* ------------------------------------------------------------------ connections */

#define SAY_FULL_MS 60000u

/* New clients wait in the kernel's queue, or go to those that have room. */
static void server_part_fill(struct server_part *part)
{
	struct poller *p = part->group.poller;
	uint64_t now = poller_now_ms(p);

	part->full = true;
	__atomic_store_n(&part->at_limit, part->at_limit + 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < part->n_slots; i++)
		listener_hold(&part->slots[i].listener);
	server_say_full(part->server, part->index, true);
	if (part->said_full_ms && now - part->said_full_ms < SAY_FULL_MS)
		return;
	part->said_full_ms = now;
	poller_log(p, 1, "poller %d: %u connections, its share of max_conns: new ones wait",
		   poller_index(p), part->limit);
}

/* Not at each connection that closes: steering would be told twice for each. */
static void server_part_make_room(struct server_part *part)
{
	unsigned slack = part->limit / 16 ? part->limit / 16 : 1;

	if (!part->full || part->group.retiring || part->group.n > part->limit - slack)
		return;
	part->full = false;
	server_say_full(part->server, part->index, false);
	for (unsigned i = 0; i < part->n_slots; i++)
		if (!part->slots[i].draining)
			listener_release(&part->slots[i].listener, part->group.poller);
}

static void server_part_begin(struct server_part *part, int *fd, bool inet)
{
	int r = conn_start(&part->group, fd, CONN_SOCKET | (inet ? CONN_INET : 0), NULL);

	if (r < 0)
		poller_log(part->group.poller, 1, "a new connection was dropped: %s",
			   np_strerror(r));
	if (part->limit && !part->full && part->group.n >= part->limit)
		server_part_fill(part);
}

/* A descriptor on its way to the poller that has fewer connections. */
struct handoff {
	struct mail mail;
	struct server_part *to;
	int fd;
	bool inet;
};

static void server_part_handed_over(struct mail *m)
{
	struct handoff *h = container_of(m, struct handoff, mail);

	server_part_begin(h->to, &h->fd, h->inet);
	free(h);
}

/* Several pollers may hand over at once, before one of these is counted. */
#define HANDOFFS 64u

static bool server_part_is_near_limit(const struct server_part *part)
{
	return part->limit &&
	       __atomic_load_n(&part->group.load->conns, __ATOMIC_RELAXED) + HANDOFFS >=
		       part->limit;
}

/*
 * Who wakes for a shared socket keeps the connection, unless it is over its share: epoll wakes
 * the same poller again and again under light load. Nothing is handed over once it is a connection.
 */
static bool server_part_hand_over(struct server_part *part, int *fd, bool inet)
{
	struct server_part *to = server_least_loaded(part->server, part);
	struct handoff *h;

	if (!to || server_part_is_near_limit(to))
		return false;
	h = malloc(sizeof *h);
	if (!h)
		return false;
	*h = (struct handoff){
		.mail.fn = server_part_handed_over, .to = to, .fd = *fd, .inet = inet
	};
	*fd = -1;
	poller_post(to->group.poller, &h->mail);
	return true;
}

static void server_part_on_accept(struct listener *l, int *fd)
{
	struct listener_slot *slot = container_of(l, struct listener_slot, listener);

	slot->again_ms = 0;
	slot->told = false;
	if (slot->delays)
		/* without it the connection is slower, no more */
		sys_setsockopt_int(*fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (slot->shared && server_part_hand_over(slot->part, fd, slot->inet))
		return;
	server_part_begin(slot->part, fd, slot->inet);
}

/* ------------------------------------------------------------------ a listener that was shut */

#define AGAIN_MIN_MS 10
#define AGAIN_MAX_MS 1000

static void listener_slot_tell(struct listener_slot *slot, int err)
{
	struct server_part *part = slot->part;
	const struct address *a = &part->server->addresses[slot - part->slots];
	struct poller *p = part->group.poller;
	char at[128], holder[80];

	if (slot->told)
		return;
	slot->told = true;
	addr_format(&a->ss, a->len, at, sizeof at);
	if (!slot->steered)
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
			poller_index(p), at,
			server_lock_holder(part->server, holder, sizeof holder));
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
static int listener_slot_reopen(struct listener_slot *slot)
{
	struct server_part *part = slot->part;
	int r = slot->steered ? server_relisten(part->server, part->index, slot->fd) : 0;

	return r < 0 ? r : listener_open(&slot->listener, part->group.poller, slot->fd);
}

static void listener_slot_pause(struct listener_slot *slot)
{
	struct poller *p = slot->part->group.poller;

	slot->again_ms = slot->again_ms ? slot->again_ms * 2 : AGAIN_MIN_MS;
	if (slot->again_ms > AGAIN_MAX_MS)
		slot->again_ms = AGAIN_MAX_MS;
	timer_arm(p, &slot->again, poller_after_ms(p, slot->again_ms));
}

/* Whatever is in the way passes, but for the end of the service. New clients go to the siblings
 * meanwhile. */
static void listener_slot_try(struct listener_slot *slot)
{
	struct poller *p = slot->part->group.poller;
	int r = listener_slot_reopen(slot);

	if (r < 0 && r != -ESHUTDOWN) {
		/* a sibling that does the same at this moment is nothing to tell */
		if (slot->again_ms)
			listener_slot_tell(slot, r);
		listener_slot_pause(slot);
	} else if (r == 0 && slot->steered && slot->told) {
		slot->told = false;
		poller_log(p, 0, "poller %d: its listener listens again", poller_index(p));
	}
}

static void listener_slot_again(struct timer *t)
{
	listener_slot_try(container_of(t, struct listener_slot, again));
}

/*
 * A shut socket says EINVAL. The first time it is tried at once; where that helps nothing it would
 * say so in each turn. Any other error is that of a descriptor which is no longer this socket's.
 */
static void listener_slot_on_error(struct listener *l, int err)
{
	struct listener_slot *slot = container_of(l, struct listener_slot, listener);
	struct poller *p = slot->part->group.poller;

	if (err != -EINVAL) {
		poller_log(
			p, 2,
			"poller %d: descriptor %d is no listener any more, and is left alone: accept: %s",
			poller_index(p), slot->fd, np_strerror(err));
		return;
	}
	if (!slot->steered)
		listener_slot_tell(slot, err);
	if (slot->steered && !slot->again_ms)
		listener_slot_try(slot);
	else
		listener_slot_pause(slot);
}

static void listener_slot_init(struct listener_slot *slot)
{
	listener_init(&slot->listener);
	slot->listener.on_accept = server_part_on_accept;
	slot->listener.on_error = listener_slot_on_error;
	slot->listener.sheds = &slot->part->shed;
	timer_init(&slot->again, listener_slot_again);
}

/* What waits for a descriptor need not wait for the timer. */
static void server_part_on_closed(struct conn_group *g)
{
	struct server_part *part = container_of(g, struct server_part, group);

	server_part_make_room(part);
	for (unsigned i = 0; i < part->n_slots; i++)
		listener_nudge(&part->slots[i].listener);
}

static void server_part_on_empty(struct conn_group *g)
{
	struct server_part *part = container_of(g, struct server_part, group);

	if (!part->retiring_counted)
		return;
	part->retiring_counted = false;
	latch_arrive(&part->server->latch);
}

/* ------------------------------------------------------------------ steps */

void server_part_open(struct mail *m)
{
	struct server_part *part = server_part_of(m);

	part->group.on_closed = server_part_on_closed;
	part->group.on_empty = server_part_on_empty;
	/* Nobody reads the part's own line while it runs: then there is nothing to publish at
	 * each dispatch. */
	for (unsigned i = 0; i < part->n_slots; i++)
		listener_slot_init(&part->slots[i]);
	part->result = 0;
	if (part->group.load != &part->own_load)
		part->result = poller_add_load(part->group.poller, part->group.load);
	for (unsigned i = 0; i < part->n_slots && part->result == 0; i++) {
		struct listener_slot *slot = &part->slots[i];

		part->result = listener_open(&slot->listener, part->group.poller, slot->fd);
	}
	latch_arrive(&part->server->latch);
}

/*
 * How many connections the stop owes this listener. Not "until the queue is empty": others may fill it
 * as fast. A unix listener of ours refuses connect(2) by now; how much an inherited one holds the
 * kernel does not tell.
 */
static unsigned listener_slot_queued(const struct listener_slot *slot)
{
	unsigned n;

	if (slot->inet && sys_accept_queue(slot->fd, &n) == 0)
		return n;
	return slot->own ? UINT_MAX : sys_somaxconn() + 1;
}

/* Whoever still waits in its queue is reset by that, and counted. */
static void listener_slot_shut(struct listener_slot *slot)
{
	uint64_t *shed = &slot->part->shed;
	unsigned n;

	if (slot->inet && sys_accept_queue(slot->fd, &n) == 0)
		__atomic_store_n(shed, *shed + n, __ATOMIC_RELAXED);
	sys_shutdown(slot->fd, SHUT_RDWR);
}

/*
 * shutdown(2), not close(2) alone: a child that was forked without exec holds the listener too, and
 * the kernel would go on taking connections that nobody accepts. Return: whether it is done.
 */
static bool listener_slot_drain(struct listener_slot *slot)
{
	struct listener *l = &slot->listener;
	int r;

	timer_disarm(&slot->again);
	if (l->fd < 0)
		return true;
	if (!slot->draining) {
		slot->draining = true;
		slot->left = listener_slot_queued(slot);
		listener_drain_begin(l);
	}
	r = slot->part->full ? 0 : listener_drain(l, &slot->left);
	if (r > 0)
		return false;
	if (r < 0 && !(r == -EINVAL && slot->steered)) /* EINVAL: as in listener_slot_on_error() */
		poller_log(slot->part->group.poller, 1,
			   "accept: %s: connections that were queued at the stop are reset",
			   np_strerror(r));
	if (slot->own)
		listener_slot_shut(slot);
	listener_close(l);
	return true;
}

void server_part_shut(struct mail *m)
{
	struct server_part *part = server_part_of(m);
	bool done = true;

	for (unsigned i = 0; i < part->n_slots; i++)
		done &= listener_slot_drain(&part->slots[i]);
	if (done)
		latch_arrive(&part->server->latch);
	else
		/* in the next turn: connections have theirs in between */
		server_part_post(part, server_part_shut);
}

void server_part_retire(struct mail *m)
{
	struct server_part *part = server_part_of(m);
	struct list all, *l;

	part->group.retiring = true;
	if (!part->group.n) {
		latch_arrive(&part->server->latch);
		return;
	}
	part->retiring_counted = true;
	list_move_all(&part->group.conns, &all);
	while ((l = list_pop(&all))) {
		list_append(&part->group.conns, l);
		conn_retire(container_of(l, struct np_conn, link));
	}
}

static void server_part_force(struct mail *m)
{
	struct server_part *part = container_of(m, struct server_part, force_mail);
	struct list all, *l;

	list_move_all(&part->group.conns, &all);
	while ((l = list_pop(&all))) {
		struct np_conn *c = container_of(l, struct np_conn, link);
		struct fiber *f = conn_handler(c);

		list_append(&part->group.conns, l);
		part->forced++;
		np_conn_abort(c); /* first: its verbs say that it has ended */
		if (f)
			park_cancel_fiber(f);
	}
	latch_arrive(&part->server->forced);
}

/* The deadline has passed: everything left is reset. server_part_on_empty() still owes the latch its arrival. */
void server_part_post_force(struct server_part *part)
{
	part->force_mail.fn = server_part_force;
	poller_post(part->group.poller, &part->force_mail);
}

void server_part_leave(struct mail *m)
{
	struct server_part *part = server_part_of(m);

	poller_del_load(part->group.poller, part->group.load);
	conn_memory_fini(&part->group);
	latch_arrive(&part->server->latch);
}

void server_part_count_handlers(struct stop_report *report, struct handler_count *n)
{
	struct server_part *part = container_of(report, struct server_part, report);

	for (struct list *l = part->group.conns.next; l != &part->group.conns; l = l->next) {
		struct fiber *f = conn_handler(container_of(l, struct np_conn, link));

		if (f)
			handler_count_add(n, f);
	}
}
