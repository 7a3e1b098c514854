/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_memory: what is taken, who holds most of it, and their end. */
#include "conn/conn_memory.h"

#include <errno.h>

#include "buffer/block.h"
#include "conn/conn.h"
#include "netpoll/block.h"

/* Sixteenths of the bound. Reading stops below it: one read, and the rest of a handler's output,
 * may follow. */
#define HIGH_16TH 15u
#define LOW_16TH  14u

#define STACK_PARKED  (8u << 10) /* touched by a handler that waits */
/* each is a close(2) and a fiber that returns: others wait for it */
#define RESETS_A_TURN 32u
#define SHORT_READ    4096u
/* its fiber returns in the next turn, its memory in the one after */
#define TURNS_TO_END  2u
#define LOOK_AGAIN_MS 100
#define SAY_EVERY_MS  1000u

static void conn_memory_look(struct timer *t);

void conn_memory_init(struct conn_group *g, size_t max)
{
	g->memory = (struct conn_memory){ .max = max };
	timer_init(&g->memory.look, conn_memory_look);
}

void conn_memory_fini(struct conn_group *g)
{
	timer_disarm(&g->memory.look);
}

/* What is counted on this poller. */
static size_t conn_memory_used(struct poller *p)
{
	struct fiber_pool_stats st;

	fiber_pool_stats(poller_fibers(p), &st);
	return block_taken() + st.touched + conn_home_bytes(p);
}

static size_t conn_memory_high(const struct conn_group *g)
{
	return g->memory.max / 16 * HIGH_16TH;
}

/* Behind this turn's events. */
static void conn_memory_look_soon(struct conn_group *g)
{
	if (!timer_armed(&g->memory.look))
		timer_arm(g->poller, &g->memory.look, 0);
}

size_t conn_memory_budget(struct np_conn *c, size_t budget)
{
	struct conn_group *g = c->group;
	size_t used = conn_memory_used(g->poller);

	if (used < conn_memory_high(g))
		return budget;
	conn_memory_look_soon(g);
	if (g->memory.helpless)
		return budget;
	if (used >= g->memory.max || (c->io && c->io->stream.held)) {
		conn_touch(c); /* it is not the peer that is idle */
		return 0;
	}
	return budget < SHORT_READ ? budget : SHORT_READ;
}

void conn_memory_grew(struct conn_group *g)
{
	if (g->memory.max && conn_memory_used(g->poller) >= conn_memory_high(g))
		conn_memory_look_soon(g);
}

/* Twice each: once for what was not needed of late, once for all that is not in use. */
static void conn_memory_trim(struct poller *p)
{
	np_block_trim();
	fiber_pool_trim(poller_fibers(p));
	fiber_pool_trim(poller_fibers(p));
}

static size_t conn_memory_of_io(const struct conn_io *io)
{
	return io->stream.held + linkbuf_len(&io->stream.sends) + linkbuf_len(&io->stream.out) +
	       (io->reader || io->writer ? STACK_PARKED : 0);
}

/* What its end would give back: input that waits for more, output that is not taken, the stack of a
 * parked verb, what its filter holds. */
static size_t conn_memory_held(const struct np_conn *c)
{
	const struct conn_filter *f = conn_filter_of(c);

	if (conn_life(c) >= CONN_ENDED)
		return 0;
	return (c->io ? conn_memory_of_io(c->io) : 0) + (f ? f->filter.counted : 0);
}

static size_t conn_memory_most(const struct conn_group *g)
{
	size_t most = 0;

	for (struct list *l = g->conns.next; l != &g->conns; l = l->next) {
		size_t n = conn_memory_held(container_of(l, struct np_conn, link));

		most = n > most ? n : most;
	}
	return most;
}

/*
 * The largest, and those that hold half as much: one walk for many. Two walks of the list are the
 * price of an attack; a list in order of size would be everybody's.
 * Return: how many were reset.
 */
static unsigned conn_memory_reset(struct conn_group *g, size_t excess)
{
	size_t from = conn_memory_most(g) / 2;
	unsigned n = 0;

	if (!from)
		return 0;
	for (struct list *l = g->conns.next; l != &g->conns && excess && n < RESETS_A_TURN;
	     l = l->next) {
		struct np_conn *c = container_of(l, struct np_conn, link);
		size_t held = conn_memory_held(c);

		if (held < from)
			continue;
		conn_abort(c, -ENOBUFS);
		excess -= held < excess ? held : excess;
		n++;
	}
	return n;
}

static void conn_memory_say(struct conn_group *g, unsigned n)
{
	struct conn_memory *m = &g->memory;
	uint64_t now = poller_now_ms(g->poller);

	__atomic_store_n(&m->closed, m->closed + n, __ATOMIC_RELAXED);
	m->unsaid += n;
	if (m->said_ms && now - m->said_ms < SAY_EVERY_MS)
		return;
	m->said_ms = now;
	poller_log(
		g->poller, 1,
		"poller %d: memory_max: %zu of %zu KiB in use; %u connections that held most were reset",
		poller_index(g->poller), conn_memory_used(g->poller) >> 10, m->max >> 10,
		m->unsaid);
	m->unsaid = 0;
}

static void conn_memory_look(struct timer *t)
{
	struct conn_group *g = container_of(t, struct conn_group, memory.look);
	struct conn_memory *m = &g->memory;
	size_t low = m->max / 16 * LOW_16TH;
	unsigned n;

	if (m->settling) {
		m->settling--;
		timer_arm(g->poller, t, 0);
		return;
	}
	m->helpless = false;
	conn_memory_trim(g->poller);
	if (conn_memory_used(g->poller) < conn_memory_high(g))
		return;
	n = conn_memory_reset(g, conn_memory_used(g->poller) - low);
	conn_memory_say(g, n);
	m->helpless = !n;
	m->settling = n ? TURNS_TO_END : 0;
	timer_arm(g->poller, t, n ? 0 : poller_after_ms(g->poller, LOOK_AGAIN_MS));
}
