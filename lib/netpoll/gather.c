/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gather: a mail to each poller, and what it does there
 *
 * A poller with many connections is not kept by it: some are looked at in each turn, by their place
 * in the table of its watches. One that comes or goes meanwhile may be met or not.
 */
#include "netpoll/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn.h"
#include "netpoll/observe.h"
#include "netpoll/pollers_private.h"
#include "netpoll/server_part.h"
#include "netpoll/server_private.h"
#include "sys/clock.h"
#include "sys/cond.h"

#define GATHER_SLOTS 128u /* of a poller's watches, in one turn: each may be two system calls */
#define GATHER_BEGIN_NS \
	500000000u /* a poller that does not look into its mailbox for so long is stuck */
#define GATHER_END_NS  5000000000u
#define GATHER_LOOK_NS 10000000u /* whether its thread has ended: no message tells of that */

/* Room for one more of @size bytes. NULL: no memory, which is noted. */
static void *gather_grow(struct gather_part *part, void *all, size_t n, size_t *cap, size_t size)
{
	size_t more = *cap ? 2 * *cap : 64;
	void *grown;

	if (n < *cap)
		return all;
	grown = realloc(all, more * size);
	if (grown)
		*cap = more;
	else
		part->short_of_memory = true;
	return grown;
}

static void gather_unref(struct gather *g)
{
	if (atomic_fetch_sub(&g->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < g->n; i++) {
		free(g->part[i].conns);
		free(g->part[i].fibers);
	}
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

void gather_free(struct gather *g)
{
	atomic_store(&g->over, true);
	gather_unref(g);
}

enum gather_state gather_state(const struct gather_part *part)
{
	return atomic_load_explicit(&part->state, memory_order_acquire);
}

/* ------------------------------------------------------------------ on the poller */

static void gather_become(struct gather_part *part, enum gather_state state)
{
	struct gather *g = part->of;

	pthread_mutex_lock(&g->lock);
	atomic_store_explicit(&part->state, state, memory_order_release);
	pthread_cond_signal(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static void gather_add_conn(struct gather_part *part, struct np_conn *c)
{
	const struct server_part *of = server_part_of_conn(c);
	struct gather_conn *k, *grown;

	grown = gather_grow(part, part->conns, part->n_conns, &part->cap_conns, sizeof *grown);
	if (!grown)
		return;
	part->conns = grown;
	k = &grown[part->n_conns++];
	conn_look(c, &k->look);
	memset(k->server, 0, sizeof k->server);
	if (of)
		memcpy(k->server, of->server->name, sizeof k->server);
}

static void gather_watch(void *arg, struct watch *w)
{
	struct gather_part *part = arg;
	struct np_conn *c = conn_of_watch(w);

	if (!c)
		return;
	part->live_conns++;
	if (part->of->parts & NP_DUMP_CONNS)
		gather_add_conn(part, c);
}

static void gather_fiber(void *arg, struct fiber *f)
{
	struct gather_part *part = arg;
	struct gather_fiber *k, *grown;

	grown = gather_grow(part, part->fibers, part->n_fibers, &part->cap_fibers, sizeof *grown);
	if (!grown)
		return;
	part->fibers = grown;
	k = &grown[part->n_fibers++];
	*k = (struct gather_fiber){ .id = f };
	k->parked = f != fiber_self() && park_look(f, &k->park);
}

static void gather_begin(struct gather_part *part)
{
	struct poller *p = part->slot->poller;

	part->begun_ns = sys_clock_ns();
	part->now_ms = poller_turn_ms(p);
	poller_get_stats(p, &part->stats);
	fiber_pool_stats(poller_fibers(p), &part->fibers_stats);
	part->timers = poller_timers(p);
	part->memory = conn_home_bytes(p);
	for (const struct mail *m = part->mail.next; m; m = m->next)
		part->mails_waiting++;
	if (part->of->parts & NP_DUMP_FIBERS)
		fiber_pool_each(poller_fibers(p), gather_fiber, part);
	gather_become(part, GATHER_BEGUN);
}

/* The last use of @part on this thread. */
static void gather_end(struct gather_part *part)
{
	struct gather *g = part->of;

	gather_become(part, GATHER_ANSWERED);
	gather_unref(g);
}

/* Posted once more while there is more. */
static void gather_mail(struct mail *m)
{
	struct gather_part *part = container_of(m, struct gather_part, mail);
	struct poller *p = part->slot->poller;

	if (atomic_load(&part->of->over)) {
		gather_end(part);
		return;
	}
	if (gather_state(part) == GATHER_ASKED)
		gather_begin(part);
	part->at = watch_each(p, part->at, GATHER_SLOTS, gather_watch, part);
	if (part->at)
		poller_post(p, m);
	else
		gather_end(part);
}

/* On the thread of the poller itself, which does nothing else meanwhile. */
static void gather_here(struct gather_part *part)
{
	gather_begin(part);
	watch_each(part->slot->poller, 0, UINT32_MAX, gather_watch, part);
	gather_end(part);
}

/* ------------------------------------------------------------------ the asker */

/*
 * Until when the asker waits for what it has not heard yet; 0: it has heard all. A thread that has
 * ended meanwhile looks into no mailbox.
 */
static uint64_t gather_until(const struct gather *g, const struct np_pollers *p, uint64_t since_ns)
{
	bool ended = atomic_load(&p->phase) == POLLERS_ENDED;
	uint64_t until = 0;

	for (unsigned i = 0; i < g->n; i++) {
		enum gather_state s = gather_state(&g->part[i]);

		if (s == GATHER_BEGUN)
			return since_ns + GATHER_END_NS;
		if (s == GATHER_ASKED && !ended)
			until = since_ns + GATHER_BEGIN_NS;
	}
	return until;
}

static void gather_wait(struct gather *g, const struct np_pollers *p, uint64_t since_ns)
{
	uint64_t now = since_ns;

	pthread_mutex_lock(&g->lock);
	while (now < gather_until(g, p, since_ns)) {
		sys_cond_wait(&g->changed, &g->lock, now + GATHER_LOOK_NS);
		now = sys_clock_ns();
	}
	pthread_mutex_unlock(&g->lock);
}

static void gather_post(struct gather_part *part)
{
	atomic_fetch_add(&part->of->refs, 1);
	part->asked_ns = sys_clock_ns();
	part->mail.fn = gather_mail;
	if (poller_self() == part->slot->poller)
		gather_here(part);
	else
		poller_post(part->slot->poller, &part->mail);
}

int gather_ask(struct np_pollers *p, unsigned parts, struct gather **ret)
{
	struct gather *g = calloc(1, sizeof *g + p->n * sizeof g->part[0]);

	if (!g)
		return -ENOMEM;
	pthread_mutex_init(&g->lock, NULL);
	sys_cond_init(&g->changed);
	g->refs = 1;
	g->parts = parts;
	g->n = p->n;
	for (unsigned i = 0; i < g->n; i++) {
		g->part[i].of = g;
		g->part[i].slot = &p->slots[i];
		gather_post(&g->part[i]);
	}
	gather_wait(g, p, sys_clock_ns());
	*ret = g;
	return 0;
}
