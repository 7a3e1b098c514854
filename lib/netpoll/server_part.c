/* SPDX-License-Identifier: BSD-2-Clause */
/* server_part: listeners open, connections begin, and both end, on the poller's own thread. */
#include "netpoll/server_part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netpoll/server_private.h"
#include "poll/handler_count.h"
#include "poll/meter.h"
#include "poll/park.h"
#include "sys/ack.h"
#include "sys/probe.h"

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
	poller_log(p, NP_LOG_WARNING,
		   "poller %d: %u connections, its share of max_conns: new ones wait",
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

static bool server_part_has_its_share(const struct conn_group *g)
{
	const struct server_part *part = container_of(g, struct server_part, group);

	return part->limit && g->n >= part->limit;
}

static void server_part_look_at_share(struct conn_group *g)
{
	struct server_part *part = container_of(g, struct server_part, group);

	if (!part->full && server_part_has_its_share(g))
		server_part_fill(part);
}

/* Of an accept one of some is asked how long it has been in the queue. */
static void server_part_meter(struct server_part *part, int fd)
{
	struct meter *m = poller_meter(part->group.poller);
	unsigned every = meter_accepts_every(m);

	if (every && ++part->accepts_unmetered >= every) {
		part->accepts_unmetered = 0;
		meter_note(m, METER_ACCEPT, sys_tcp_waited_ms(fd) * 1000u, every);
	}
}

static void server_part_begin(struct server_part *part, int *fd, bool inet)
{
	int r;

	PROBE2(accept, *fd, part->index);
	if (inet && unlikely(netpoll_steer_semaphore))
		probe_steer(*fd, part->index);
	if (inet)
		server_part_meter(part, *fd);
	r = conn_start(&part->group, fd, inet ? TRANSPORT_TCP : TRANSPORT_UNIX, NULL);
	if (r < 0)
		poller_log(part->group.poller, NP_LOG_WARNING, "a new connection was dropped: %s",
			   np_strerror(r));
	server_part_look_at_share(&part->group);
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

static uint64_t server_part_conns(const struct server_part *part)
{
	return __atomic_load_n(&part->group.load->conns, __ATOMIC_RELAXED);
}

static bool server_part_is_near_limit(const struct server_part *part)
{
	return part->limit && server_part_conns(part) + HANDOFFS >= part->limit;
}

/* Where a new connection of a shared listener should go; NULL: it stays. */
static struct server_part *server_part_with_less(struct server_part *part)
{
	const struct np_server *s = part->server;
	struct server_part *best = part;
	uint64_t mine = part->group.n, least = mine;

	for (unsigned i = 0; i < s->n_parts; i++) {
		uint64_t n = server_part_conns(s->parts[i]);

		if (n < least) {
			least = n;
			best = s->parts[i];
		}
	}
	/* One more than the least is no imbalance: moving costs a wake-up of another CPU. */
	return best != part && mine > least + 1 ? best : NULL;
}

/*
 * The poller that wakes for a shared socket keeps the connection, unless it is over its share:
 * epoll wakes the same one again and again under light load. It is a descriptor that is handed
 * over, never a connection.
 */
static bool server_part_hand_over(struct server_part *part, int *fd, bool inet)
{
	struct server_part *to = server_part_with_less(part);
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

	listener_slot_accepted(slot, *fd);
	if (slot->shared && server_part_hand_over(slot->part, fd, slot->inet))
		return;
	server_part_begin(slot->part, fd, slot->inet);
}

/* A listener that waits for a descriptor need not wait for its timer. */
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
	latch_arrive(&part->server->step_latch);
}

/* ------------------------------------------------------------------ new and free */

static void server_part_count_handlers(struct stop_report *report, struct handler_count *n)
{
	struct server_part *part = container_of(report, struct server_part, report);

	for (struct list *l = part->group.conns.next; l != &part->group.conns; l = l->next) {
		struct fiber *f = conn_handler(container_of(l, struct np_conn, link));

		if (f)
			handler_count_add(n, f);
	}
}

/* 0 and -1: none. */
static int server_part_ms(int ms)
{
	return ms > 0 ? ms : 0;
}

static struct conn_group *server_part_group_at(struct conn_group *g, struct poller *p)
{
	const struct np_server *s = container_of(g, struct server_part, group)->server;

	return &s->parts[poller_index(p)]->group;
}

static void server_part_init_group(struct server_part *part)
{
	struct np_server *s = part->server;
	const struct np_server_opts *o = &s->opts;

	part->group = (struct conn_group){
		.poller = s->pollers->poller[part->index],
		.arg = s->arg,
		.settings = {
			.limits = o->limits,
			.read_timeout_ms = server_part_ms(o->read_timeout_ms),
			.write_timeout_ms = server_part_ms(o->write_timeout_ms),
			.idle_timeout_ms = server_part_ms(o->idle_timeout_ms),
			.linger_ms = o->linger_ms,
			.min_rate = o->min_rate,
			.request_timeout_ms = server_part_ms(o->request_timeout_ms),
		},
		.filter = (const struct np_filter_maker *)o->tls,
		.half_open = o->half_open,
		.proxy = {
			.mode = o->proxy,
			.from = s->proxy_from,
			.header_ms = server_part_ms(o->proxy_header_ms),
		},
		.load = &part->own_load,
		.at = server_part_group_at,
		.is_full = server_part_has_its_share,
		.on_joined = server_part_look_at_share,
		.on_closed = server_part_on_closed,
		.on_empty = server_part_on_empty,
	};
	conn_group_handle(&part->group, &s->handlers);
	list_init(&part->group.conns);
	conn_memory_init(&part->group, o->memory_max / s->n_parts);
}

struct server_part *server_part_of_conn(const struct np_conn *c)
{
	struct conn_group *g = c->group;

	return g->on_empty == server_part_on_empty ? container_of(g, struct server_part, group) :
						     NULL;
}

struct server_part *server_part_new(struct np_server *s, unsigned index)
{
	int max = s->opts.max_conns;
	struct server_part *part = aligned_alloc(64, (sizeof *part + 63) & ~(size_t)63);

	if (!part)
		return NULL;
	memset(part, 0, sizeof *part);
	part->server = s;
	part->index = index;
	server_part_init_group(part);
	if (max > 0)
		part->limit = (unsigned)max / s->n_parts + (index < (unsigned)max % s->n_parts);
	stop_report_init(&part->report, part->group.poller, server_part_count_handlers);
	if (!s->opts.rebalance)
		return part;
	part->balancer = balancer_new(part, s->n_parts, s->opts.rebalance);
	if (part->balancer)
		return part;
	server_part_free(part);
	return NULL;
}

void server_part_free(struct server_part *part)
{
	if (!part)
		return;
	balancer_free(part->balancer);
	free(part->slots);
	free(part);
}

int server_part_add_listeners(struct server_part *part)
{
	const struct np_server *s = part->server;

	free(part->slots); /* of a start that failed */
	part->n_slots = 0;
	part->slots = calloc(s->n_addresses, sizeof *part->slots);
	if (!part->slots)
		return -ENOMEM;
	for (unsigned i = 0; i < s->n_addresses; i++)
		listener_slot_init(&part->slots[part->n_slots++], part, i, server_part_on_accept);
	return 0;
}

/* ------------------------------------------------------------------ steps */

/* As far as the first listener that cannot be. */
static void server_part_watch(struct server_part *part)
{
	part->accepts = true;
	for (unsigned i = 0; i < part->n_slots && part->result == 0; i++)
		part->result = listener_slot_open(&part->slots[i]);
}

static void server_part_unwatch(struct server_part *part)
{
	part->accepts = false;
	part->result = 0;
	for (unsigned i = 0; i < part->n_slots; i++)
		listener_slot_close(&part->slots[i]);
}

void server_part_open(struct mail *m)
{
	struct server_part *part = server_part_of(m);

	part->result = 0;
	/* The part's own line is read by none while it runs: then there is nothing to publish at
	 * each dispatch. */
	if (part->group.load != &part->own_load)
		part->result = poller_add_load(part->group.poller, part->group.load);
	server_part_watch(part);
	if (part->balancer)
		balancer_start(part->balancer);
	latch_arrive(&part->server->step_latch);
}

/* It is asked again from here on: what is wanted is read behind that. */
static void server_part_accept(struct mail *m)
{
	struct server_part *part = container_of(m, struct server_part, accept_mail);
	bool accepts;

	part->accept_asked = false;
	accepts = part->server->accepts;
	if (accepts && !part->accepts)
		server_part_watch(part);
	else if (!accepts && part->accepts)
		server_part_unwatch(part);
	latch_arrive(&part->server->accept_latch);
}

void server_part_post_accept(struct server_part *part)
{
	if (atomic_exchange(&part->accept_asked, true))
		return;
	latch_add(&part->server->accept_latch);
	part->accept_mail.fn = server_part_accept;
	poller_post(part->group.poller, &part->accept_mail);
}

void server_part_shut(struct mail *m)
{
	struct server_part *part = server_part_of(m);
	bool done = true;

	for (unsigned i = 0; i < part->n_slots; i++)
		done &= listener_slot_drain(&part->slots[i]);
	if (done)
		latch_arrive(&part->server->step_latch);
	else
		/* in the next turn: connections have theirs in between */
		server_part_post(part, server_part_shut);
}

/* @fn may end the connection, and others begin meanwhile. */
static void server_part_each(struct server_part *part, void (*fn)(struct np_conn *c))
{
	struct list all, *l;

	list_move_all(&part->group.conns, &all);
	while ((l = list_pop(&all))) {
		list_append(&part->group.conns, l);
		fn(container_of(l, struct np_conn, link));
	}
}

static void server_part_drain(struct mail *m)
{
	struct server_part *part = container_of(m, struct server_part, drain_mail);

	part->group.draining = true;
	part->group.drain_since_ms = poller_turn_ms(part->group.poller);
	server_part_each(part, conn_drain);
}

void server_part_post_drain(struct server_part *part)
{
	part->drain_mail.fn = server_part_drain;
	poller_post(part->group.poller, &part->drain_mail);
}

/* A quarter of the time that the stop has is left for the closes. */
static uint64_t server_part_closes_by(const struct server_part *part, uint64_t now_ms)
{
	uint64_t until_ns = part->server->until_ns, until_ms = until_ns / 1000000u;

	if (!until_ns)
		return UINT64_MAX;
	return until_ms > now_ms ? until_ms - (until_ms - now_ms) / 4 : now_ms;
}

static uint64_t server_part_patience(uint64_t since_ms, int ms, uint64_t by_ms)
{
	uint64_t until_ms = ms < 0 ? UINT64_MAX : since_ms + (uint64_t)ms;

	return until_ms < by_ms ? until_ms : by_ms;
}

static void server_part_set_patience(struct server_part *part)
{
	const struct np_server *s = part->server;
	struct conn_group *g = &part->group;
	uint64_t now = poller_now_ms(g->poller), by = server_part_closes_by(part, now);

	g->fresh_until_ms = server_part_patience(now, s->opts.fresh_ms, by);
	g->idle_until_ms = server_part_patience(s->drain_since_ms, s->opts.drain_ms, by);
	g->spread_ms = 0;
	if (g->idle_until_ms > now && g->idle_until_ms != UINT64_MAX)
		g->spread_ms = (g->idle_until_ms - now) / 4;
}

void server_part_retire(struct mail *m)
{
	struct server_part *part = server_part_of(m);

	part->group.retiring = true;
	if (part->balancer)
		balancer_stop(part->balancer);
	server_part_set_patience(part);
	if (!part->group.n) {
		latch_arrive(&part->server->step_latch);
		return;
	}
	part->retiring_counted = true;
	server_part_each(part, conn_retire);
}

static void server_part_hurry(struct mail *m)
{
	struct server_part *part = container_of(m, struct server_part, hurry_mail);

	if (!part->group.retiring)
		return; /* its retiring is yet to come, and will see what the time is */
	server_part_set_patience(part);
	server_part_each(part, conn_retire);
}

void server_part_post_hurry(struct server_part *part)
{
	part->hurry_mail.fn = server_part_hurry;
	poller_post(part->group.poller, &part->hurry_mail);
}

static void server_part_abort(struct np_conn *c)
{
	struct fiber *f = conn_handler(c);

	container_of(c->group, struct server_part, group)->forced++;
	np_conn_abort(c); /* first: its verbs say that it has ended */
	if (f)
		park_cancel_fiber(f);
}

static void server_part_force(struct mail *m)
{
	struct server_part *part = container_of(m, struct server_part, force_mail);

	part->group.forced = true;
	server_part_each(part, server_part_abort);
	latch_arrive(&part->server->force_latch);
}

/*
 * A poller that comes to it late, since a handler kept it or the whole process was stopped, has
 * input in front of it that came in time: the next turn asks the kernel, and handles that first.
 */
static void server_part_force_later(struct mail *m)
{
	struct server_part *part = container_of(m, struct server_part, force_mail);

	if (part->force_comes)
		m->fn = server_part_force;
	part->force_comes = true;
	poller_post(part->group.poller, m);
}

/* The deadline has passed: the connections that are left are reset. server_part_on_empty() still
 * owes the latch its arrival. */
void server_part_post_force(struct server_part *part)
{
	part->force_mail.fn = server_part_force_later;
	poller_post(part->group.poller, &part->force_mail);
}

void server_part_leave(struct mail *m)
{
	struct server_part *part = server_part_of(m);

	poller_del_load(part->group.poller, part->group.load);
	conn_memory_fini(&part->group);
	latch_arrive(&part->server->step_latch);
}
