/* SPDX-License-Identifier: BSD-2-Clause */
/* balancer: samples in, loads out, and what rebalance_choose() says is asked for. */
#include "netpoll/balancer.h"

#include <stdlib.h>

#include "conn/conn.h"
#include "netpoll/server_part.h"
#include "netpoll/server_private.h"
#include "sys/clock.h"
#include "sys/io.h"

#define TICK_MS          100
#define STAY_MS          5000u /* where it has come to; or where it could not leave from */
#define LEAVE_MS         1000u /* it has not been quiet for so long: another one */
#define IDLE             (REBALANCE_CPU / 200) /* of a poller: more than these ticks take */
#define NO_LOAD          (REBALANCE_CPU / 10000)
#define SMOOTH(old, now) ((old) - (old) / 4 + (now) / 4)

/* ------------------------------------------------------------------ its connections */

static void balancer_forget(struct balancer_conn *e)
{
	if (e->conn)
		np_conn_unref(e->conn);
	*e = (struct balancer_conn){ 0 };
}

/* The set stands for both: which one is asked makes no difference. */
static struct np_conn *balancer_speaker(struct np_conn *c)
{
	struct np_conn *mate = conn_mate(c);

	if (!mate || !server_part_of_conn(mate))
		return c;
	return !server_part_of_conn(c) || mate < c ? mate : c;
}

static uint64_t balancer_weight(const struct balancer_conn *e)
{
	return e->conn ? e->ns + (uint64_t)e->load * (TICK_MS * 1000000u / REBALANCE_CPU) : 0;
}

/* Its entry; where there is none left, that of the lightest, if @ns is more than that has. */
static struct balancer_conn *balancer_entry(struct balancer *b, struct np_conn *c, uint64_t ns)
{
	struct balancer_conn *least = &b->conns[0];

	for (unsigned i = 0; i < BALANCER_CONNS; i++) {
		struct balancer_conn *e = &b->conns[i];

		if (e->conn == c)
			return e;
		if (balancer_weight(e) < balancer_weight(least))
			least = e;
	}
	if (balancer_weight(least) > ns)
		return NULL;
	balancer_forget(least);
	least->conn = np_conn_ref(c);
	if (c->flags & CONN_EXTRA)
		least->stays_until_ms = conn_extra_of(c)->stays_until_ms;
	return least;
}

static void balancer_note(struct balancer *b, struct np_conn *c, uint64_t ns)
{
	struct balancer_conn *e = balancer_entry(b, c, ns);

	if (e)
		e->ns += ns;
	if (!timer_armed(&b->tick))
		timer_arm(b->part->group.poller, &b->tick,
			  poller_after_ms(b->part->group.poller, TICK_MS));
}

static void *balancer_begins(const void *fn, void *arg)
{
	struct np_conn *c = conn_of_dispatch(fn, arg);

	return c ? np_conn_ref(c) : NULL;
}

static void balancer_ends(void *what, uint64_t ns)
{
	struct np_conn *c = what, *speaker;
	struct server_part *part;

	if (conn_is_here(c) && conn_life(c) == CONN_OPEN) {
		speaker = balancer_speaker(c);
		part = server_part_of_conn(speaker);
		if (part && part->balancer && part->balancer->on)
			balancer_note(part->balancer, speaker, ns);
	}
	np_conn_unref(c);
}

/* ------------------------------------------------------------------ a tick */

static uint32_t balancer_share(uint64_t ns, uint64_t of_ns)
{
	return of_ns ? (uint32_t)(ns * REBALANCE_CPU / of_ns) : 0;
}

static bool balancer_is_here(const struct balancer_conn *e)
{
	return conn_is_here(e->conn) && conn_life(e->conn) == CONN_OPEN;
}

static void balancer_measure_conns(struct balancer *b, uint64_t ns)
{
	for (unsigned i = 0; i < BALANCER_CONNS; i++) {
		struct balancer_conn *e = &b->conns[i];

		if (!e->conn)
			continue;
		e->load = SMOOTH(e->load, balancer_share(e->ns, ns));
		e->ns = 0;
		if (!balancer_is_here(e) || e->load < NO_LOAD)
			balancer_forget(e);
	}
}

static void balancer_look(struct balancer *b)
{
	b->at_ns = sys_clock_ns();
	poller_spent(b->part->group.poller, &b->busy_ns, &b->waited_ns);
}

static void balancer_say(uint32_t *word, uint32_t share)
{
	__atomic_store_n(word, share < IDLE ? 0 : share, __ATOMIC_RELAXED);
}

static void balancer_measure(struct balancer *b)
{
	uint64_t at = b->at_ns, busy = b->busy_ns, waited = b->waited_ns, ns;
	uint32_t load, wait;

	balancer_look(b);
	ns = b->at_ns - at;
	load = balancer_share(b->busy_ns - busy, ns);
	wait = balancer_share(b->waited_ns - waited, ns);
	balancer_say(&b->demand, SMOOTH(b->demand, load + wait));
	balancer_say(&b->load, SMOOTH(b->load, load));
	balancer_measure_conns(b, ns);
}

/* All parts as they will be when what was given away is seen. */
static void balancer_see_all(struct balancer *b)
{
	const struct np_server *s = b->part->server;
	uint32_t gone = 0;

	for (unsigned i = 0; i < s->n_parts; i++) {
		const struct balancer *o = s->parts[i]->balancer;

		b->given[i] -= b->given[i] / 4;
		gone += b->given[i];
		b->seen[i].load = __atomic_load_n(&o->load, __ATOMIC_RELAXED) + b->given[i];
		b->seen[i].demand = __atomic_load_n(&o->demand, __ATOMIC_RELAXED) + b->given[i];
	}
	b->seen[b->part->index].load -= gone < b->load ? gone : b->load;
	b->seen[b->part->index].demand -= gone < b->demand ? gone : b->demand;
}

static void balancer_candidates(struct balancer *b, uint64_t now, struct rebalance_conn *ret)
{
	for (unsigned i = 0; i < BALANCER_CONNS; i++) {
		struct balancer_conn *e = &b->conns[i];

		if (e->asked_ms && now - e->asked_ms > LEAVE_MS) {
			np_conn_move(e->conn, (int)b->part->index); /* it is never quiet */
			e->asked_ms = 0;
			e->stays_until_ms = now + STAY_MS;
		}
		ret[i].load = e->load;
		ret[i].stays = !e->conn || e->asked_ms || e->stays_until_ms > now;
	}
}

static void balancer_move(struct balancer *b, const struct rebalance_choice *ch, uint64_t now)
{
	struct balancer_conn *e = &b->conns[ch->conn];
	struct poller *p = b->part->group.poller;

	if (np_conn_move(e->conn, (int)ch->poller) < 0) {
		e->stays_until_ms = now + STAY_MS;
		return;
	}
	conn_extra_of(e->conn)->stays_until_ms = now + STAY_MS;
	e->asked_ms = now;
	b->given[ch->poller] += e->load;
	b->may_move_ms = now + (uint64_t)b->every_ms;
	__atomic_store_n(&b->moved, b->moved + 1, __ATOMIC_RELAXED);
	poller_log(
		p, NP_LOG_INFO,
		"poller %d has %u %% of a CPU more to do than poller %u: a connection of %u %% goes there",
		poller_index(p), ch->gap / (REBALANCE_CPU / 100), ch->poller,
		e->load / (REBALANCE_CPU / 100));
}

static void balancer_decide(struct balancer *b)
{
	uint64_t now = poller_now_ms(b->part->group.poller);
	struct rebalance_conn c[BALANCER_CONNS];
	struct rebalance_choice choice;

	balancer_see_all(b);
	balancer_candidates(b, now, c);
	if (rebalance_choose(&b->state, b->seen, b->part->server->n_parts, b->part->index, c,
			     BALANCER_CONNS, &choice) &&
	    now >= b->may_move_ms)
		balancer_move(b, &choice, now);
}

static void balancer_forget_all(struct balancer *b)
{
	for (unsigned i = 0; i < BALANCER_CONNS; i++)
		balancer_forget(&b->conns[i]);
}

/* A poller that has nothing to do is not woken for this: the first sample arms it again. */
static void balancer_tick(struct timer *t)
{
	struct balancer *b = container_of(t, struct balancer, tick);

	balancer_measure(b);
	balancer_decide(b);
	if (b->load || b->demand)
		timer_arm(b->part->group.poller, t,
			  poller_after_ms(b->part->group.poller, TICK_MS));
	else
		balancer_forget_all(b);
}

/* ------------------------------------------------------------------ life */

struct balancer *balancer_new(struct server_part *part, unsigned n_parts, int moves)
{
	struct balancer *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->part = part;
	b->every_ms = moves < 0 ? 0 : 1000 / moves;
	timer_init(&b->tick, balancer_tick);
	b->seen = calloc(n_parts, sizeof *b->seen);
	b->given = calloc(n_parts, sizeof *b->given);
	if (b->seen && b->given)
		return b;
	balancer_free(b);
	return NULL;
}

void balancer_free(struct balancer *b)
{
	if (!b)
		return;
	free(b->seen);
	free(b->given);
	free(b);
}

void balancer_start(struct balancer *b)
{
	static const struct poller_sampler sampler = { .begin = balancer_begins,
						       .end = balancer_ends };

	poller_sample(b->part->group.poller, &sampler);
	balancer_look(b);
	b->on = true;
}

void balancer_stop(struct balancer *b)
{
	if (!b->on)
		return;
	b->on = false;
	poller_sample_no_more(b->part->group.poller);
	timer_disarm(&b->tick);
	balancer_forget_all(b);
	balancer_say(&b->load, 0);
	balancer_say(&b->demand, 0);
}
