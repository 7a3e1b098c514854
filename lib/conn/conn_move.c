/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_move: a connection, or a set of two, goes to another poller of its server
 *
 * The object stays where it was born: its address is what users' tables and references hold. What
 * moves is the ownership, with what only a busy connection has. Its group here counts it until the
 * group there has: so neither is empty meanwhile, and no stop is through.
 *
 *   step       thread   leaves it by
 *   asked for  here     conn_settle() finds it quiet -> off;  it ends, or the server stops -> stays
 *   off        none     its parcel's mail -> there;  that part closes, is full, or has no memory
 *                       for it -> back
 *   there      there    the source is told, and lets go
 *   back       here     as if it had not been asked for; what a stop wants is done
 *
 * A group of one connection (own_group.c) goes along with it, always in a set with a connection
 * of a server: so no stop of the pollers, which would miss it on its way, begins before it is in.
 *
 * Quiet: no handler runs or is due, no fiber waits in a verb, no call of another thread waits for
 * its turn, no end is in sight. Handlers that wait where it may go are sent home for it, and it is
 * looked at once more at the end of the next turn (conn_part.c). Doorbells of other threads that
 * ring meanwhile follow c->at, and wait there until it has arrived (post_goes_on()).
 */
#include <errno.h>
#include <stdlib.h>

#include "conn/conn_pack.h"
#include "sys/probe.h"

struct parcel {
	struct mail mail;
	struct poller *from, *to;
	unsigned n;
	struct move {
		struct np_conn *c; /* a reference, until it has arrived */
		struct conn_group *from, *to;
		struct conn_pack pack;
	} move[];
};

static int move_may(const struct np_conn *c)
{
	int r = conn_not_open(c);

	if (r < 0)
		return r;
	return c->group->retiring ? -ECANCELED : 0;
}

static int move_ask(struct np_conn *c, struct poller *to)
{
	struct conn_extra *x;
	int r = conn_extra(c, &x);

	if (r < 0)
		return r;
	x->move_to = to;
	c->flags |= CONN_MOVES;
	conn_later(c);
	return 0;
}

/* One that ends is never quiet. Only the first has yet to get its extra: of a set both have one. */
static int move_ask_all(struct np_conn *c, struct np_conn *mate, struct poller *to)
{
	int r = conn_why(c);

	if (r == 0 && mate)
		r = conn_why(mate);
	if (r == 0)
		r = move_ask(c, to);
	return mate && r == 0 ? move_ask(mate, to) : r;
}

static void move_take_back(struct np_conn *c)
{
	c->flags &= (uint16_t)~CONN_MOVES;
}

int conn_move(struct np_conn *c, struct poller *to)
{
	struct np_conn *mate = conn_mate(c);
	int r = move_may(c);

	if (r == 0 && mate)
		r = move_may(mate);
	if (r < 0)
		return r;
	if (to != conn_poller(c))
		return move_ask_all(c, mate, to);
	move_take_back(c);
	if (mate)
		move_take_back(mate);
	return 0;
}

/* Nothing is in the way but handlers. Before on_connect there is nothing for on_move to move. */
static bool move_is_idle(const struct np_conn *c)
{
	return conn_life(c) == CONN_OPEN && c->out == CONN_OUT_OPEN && !conn_in_is_over(c) &&
	       (c->flags & (CONN_CONNECTED | CONN_LEFT | CONN_LATER)) == CONN_CONNECTED &&
	       !c->group->retiring && !c->calls;
}

static bool move_is_quiet(const struct np_conn *c)
{
	return move_is_idle(c) && !c->inside && !conn_is_served(c) &&
	       (!c->io || !conn_has_request(c, c->io));
}

static void move_tell(struct np_conn *c, bool arrived)
{
	conn_note_handler(c, c->group->handlers->on_move);
	c->group->handlers->on_move(c, c->group->arg, arrived);
}

/* ------------------------------------------------------------------ there, or back */

/*
 * A thread that sees the new poller sees all that was done before. A connection on its way is at
 * home nowhere: so doorbells wait for it, back here too.
 */
static void move_send(struct parcel *p, struct poller *to, void (*fn)(struct mail *))
{
	for (unsigned i = 0; i < p->n; i++) {
		p->move[i].c->watch.poller = NULL;
		atomic_store_explicit(&p->move[i].c->at, to, memory_order_release);
	}
	p->mail.fn = fn;
	poller_post(to, &p->mail);
}

/* Off this poller; its group, where it is of another server or poller, stays. */
static void move_pack(struct move *m)
{
	conn_pack(m->c, &m->pack);
	if (m->c->group->on_travel)
		m->c->group->on_travel(m->c->group, NULL);
}

static int move_enter(struct move *m, struct poller *p)
{
	int r;

	if (m->to->on_travel)
		m->to->on_travel(m->to, p);
	r = conn_enter(m->c, m->to, &m->pack);
	if (r < 0 && m->to->on_travel)
		m->to->on_travel(m->to, NULL);
	return r;
}

/* All, or none. */
static bool move_enter_all(struct parcel *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (move_enter(&p->move[i], p->to) == 0)
			continue;
		while (i--)
			move_pack(&p->move[i]);
		return false;
	}
	return true;
}

static void move_tell_all(struct parcel *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (conn_life(p->move[i].c) == CONN_OPEN)
			move_tell(p->move[i].c, true);
}

static void move_unref_all(struct parcel *p)
{
	for (unsigned i = 0; i < p->n; i++)
		conn_put(p->move[i].c);
}

/* Groups that went along may be freed already. */
static void move_let_go(struct mail *m)
{
	struct parcel *p = container_of(m, struct parcel, mail);

	for (unsigned i = 0; i < p->n; i++)
		if (p->move[i].from != p->move[i].to) {
			p->move[i].from->on_way--;
			conn_group_left(p->move[i].from);
		}
	poller_unhold(p->from);
	free(p);
}

/* What a stop that has come meanwhile, and may have waited for it alone, wants of it. */
static void move_catch_up(struct np_conn *c)
{
	if (c->group->forced)
		conn_abort(c, -NP_ECLOSED);
	else if (c->group->retiring)
		conn_retire(c);
}

/* Its group here has counted it all the time. */
static void move_come_back(struct mail *mail)
{
	struct parcel *p = container_of(mail, struct parcel, mail);

	for (unsigned i = 0; i < p->n; i++) {
		struct move *m = &p->move[i];

		m->from->on_way -= m->from != m->to;
		if (m->from->on_travel)
			m->from->on_travel(m->from, p->from);
		conn_join(m->c, m->from, &m->pack);
	}
	move_tell_all(p);
	for (unsigned i = 0; i < p->n; i++)
		move_catch_up(p->move[i].c);
	move_unref_all(p);
	poller_unhold(p->from);
	free(p);
}

static bool move_is_refused(const struct parcel *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		const struct conn_group *to = p->move[i].to;

		if (to->retiring || (to->is_full && to->is_full(to)))
			return true;
	}
	return false;
}

static void move_arrive(struct mail *m)
{
	struct parcel *p = container_of(m, struct parcel, mail);

	if (move_is_refused(p) || !move_enter_all(p)) {
		move_send(p, p->from, move_come_back);
		return;
	}
	for (unsigned i = 0; i < p->n; i++) {
		if (p->move[i].from != p->move[i].to)
			conn_group_joined(p->move[i].to);
		conn_go_on(p->move[i].c);
	}
	move_tell_all(p);
	move_unref_all(p);
	p->mail.fn = move_let_go;
	poller_post(p->from, &p->mail);
}

/* ------------------------------------------------------------------ off */

/* The last that this thread does to it. */
static void move_out(struct parcel *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		struct move *m = &p->move[i];
		struct conn_extra *x = conn_extra_of(m->c);

		if (!x->home)
			x->home = p->from;
		m->from->on_way += m->from != m->to;
		PROBE4(move, m->c, m->c->watch.fd, p->from, p->to);
		move_take_back(m->c);
		conn_part_end(m->c);
		move_pack(m);
	}
	move_send(p, p->to, move_arrive);
}

static bool move_all_are_quiet(const struct parcel *p)
{
	const struct np_conn *first = p->move[0].c;

	if (p->n > 1 && conn_mate(first) != p->move[1].c)
		return false;
	for (unsigned i = 0; i < p->n; i++)
		if (!(p->move[i].c->flags & CONN_MOVES) || !move_is_quiet(p->move[i].c))
			return false;
	return true;
}

/* They go on here; who has taken the request back need not be told. */
static void move_stay(struct parcel *p, unsigned told)
{
	bool taken_back = !(p->move[told - 1].c->flags & CONN_MOVES);

	for (unsigned i = 0; i < p->n; i++)
		conn_later(p->move[i].c);
	for (unsigned i = 0; i < told - taken_back; i++)
		if (conn_life(p->move[i].c) == CONN_OPEN)
			move_tell(p->move[i].c, true);
}

/* on_move may have chosen another poller. Return: whether each has a group there. */
static bool move_choose(struct parcel *p)
{
	p->to = conn_extra_of(p->move[0].c)->move_to;
	for (unsigned i = 0; i < p->n; i++) {
		struct conn_group *g = p->move[i].from;

		p->move[i].to = g->at(g, p->to);
		if (!p->move[i].to)
			return false;
	}
	return true;
}

/*
 * Tells them, and looks at what on_move has made of it. What that asks for is looked at here, in
 * this turn, or, where one is no longer quiet, in the next: then they have not left.
 */
static bool move_leave(struct parcel *p)
{
	unsigned told = 0;

	for (unsigned i = 0; i < p->n; i++)
		p->move[i].c->flags |= CONN_LATER;
	while (told < p->n && (p->move[told].c->flags & CONN_MOVES))
		move_tell(p->move[told++].c, false);
	for (unsigned i = 0; i < p->n; i++)
		p->move[i].c->flags &= (uint16_t)~CONN_LATER;
	if (move_all_are_quiet(p) && move_choose(p))
		return true;
	move_stay(p, told);
	return false;
}

static void move_add(struct parcel *p, struct np_conn *c)
{
	p->move[p->n++] = (struct move){ .c = np_conn_ref(c), .from = c->group };
}

static struct parcel *move_parcel(struct np_conn *c, struct np_conn *mate)
{
	struct parcel *p = calloc(1, sizeof *p + 2 * sizeof p->move[0]);

	if (!p)
		return NULL;
	p->from = conn_poller(c);
	move_add(p, c);
	if (mate)
		move_add(p, mate);
	return p;
}

/* It is off, or nobody has touched it. */
static bool move_go(struct np_conn *c, struct np_conn *mate)
{
	struct parcel *p = move_parcel(c, mate);

	if (!p)
		return false; /* it stays, until the next turn that ends with it */
	if (!move_leave(p)) {
		move_unref_all(p);
		free(p);
		return false;
	}
	poller_hold(p->from);
	move_out(p);
	return true;
}

/* ------------------------------------------------------------------ handlers in the way */

static bool move_may_send_home(const struct np_conn *c)
{
	return move_is_idle(c) && conn_part_may(c);
}

/* conn_settle() looks at each of them, also where no move is asked for any more by then. */
static int move_send_home(struct np_conn *c)
{
	int r = conn_part_begin(c);

	if (r == 0 && c->io)
		c->io->parting |= CONN_PARTING_MOVES;
	conn_later(c);
	return r;
}

static void move_send_all_home(struct np_conn *c, struct np_conn *mate)
{
	if (!move_may_send_home(c) || (mate && !move_may_send_home(mate)))
		return;
	if (move_send_home(c) < 0 || (mate && move_send_home(mate) < 0))
		conn_stay(c);
}

bool conn_move_off(struct np_conn *c)
{
	struct np_conn *mate = conn_mate(c);
	bool parting = conn_is_parting(c) || (mate && conn_is_parting(mate));

	if (mate && (mate->flags & CONN_LATER))
		return false; /* its turn ends as well, and it is looked at then */
	if (move_is_quiet(c) && (!mate || move_is_quiet(mate))) {
		if (move_go(c, mate))
			return true;
	} else if (!parting) {
		move_send_all_home(c, mate);
		return false;
	}
	conn_stay(c);
	if (mate)
		conn_stay(mate);
	return false;
}
