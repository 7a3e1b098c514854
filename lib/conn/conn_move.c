/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_move: a connection goes to another poller of its server
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
 * Quiet: no handler runs or is due, no fiber waits in a verb, no call of another thread waits for
 * its turn, no end is in sight. Doorbells of other threads that ring meanwhile follow c->at, and
 * wait there until it has arrived (post_goes_on()).
 */
#include <errno.h>
#include <stdlib.h>

#include "conn/conn_pack.h"

struct parcel {
	struct mail mail;
	struct np_conn *c;
	struct conn_group *from, *to;
	struct conn_pack pack;
};

int conn_move(struct np_conn *c, struct conn_group *to)
{
	struct conn_extra *x;
	int r = conn_not_open(c);

	if (r < 0)
		return r;
	if (c->group->retiring)
		return -ECANCELED;
	if (to == c->group) {
		c->flags &= (uint16_t)~CONN_MOVES;
		return 0;
	}
	r = conn_extra(c, &x);
	if (r < 0)
		return r;
	x->move_to = to;
	c->flags |= CONN_MOVES;
	conn_later(c);
	return 0;
}

static bool move_is_quiet(const struct np_conn *c)
{
	return conn_life(c) == CONN_OPEN && c->out == CONN_OUT_OPEN && !conn_in_is_over(c) &&
	       !(c->flags & CONN_LEFT) && !c->group->retiring && !c->inside && !c->calls &&
	       !conn_is_served(c) && (!c->io || !conn_has_request(c));
}

static void move_tell(struct np_conn *c, bool arrived)
{
	conn_note_handler(c, c->group->handlers->on_move);
	c->group->handlers->on_move(c, c->group->arg, arrived);
}

/* ------------------------------------------------------------------ there, or back */

/*
 * Whoever sees the new poller sees all that was done before. While it is on its way it is at home
 * nowhere: so doorbells wait for it, back here too.
 */
static void move_send(struct parcel *p, struct conn_group *to, void (*fn)(struct mail *))
{
	struct np_conn *c = p->c;

	c->watch.poller = NULL;
	atomic_store_explicit(&c->at, to->poller, memory_order_release);
	p->mail.fn = fn;
	poller_post(to->poller, &p->mail);
}

static void move_let_go(struct mail *m)
{
	struct parcel *p = container_of(m, struct parcel, mail);

	conn_group_left(p->from);
	free(p);
}

/* This part has counted it all the time, and a stop may have waited for it alone. */
static void move_come_back(struct mail *m)
{
	struct parcel *p = container_of(m, struct parcel, mail);
	struct np_conn *c = p->c;

	conn_join(c, p->from, &p->pack);
	if (conn_life(c) == CONN_OPEN)
		move_tell(c, true);
	if (p->from->forced)
		conn_abort(c, -NP_ECLOSED);
	else if (p->from->retiring)
		conn_retire(c);
	np_conn_unref(c);
	free(p);
}

static bool move_is_refused(const struct conn_group *to)
{
	return to->retiring || (to->is_full && to->is_full(to));
}

static void move_arrive(struct mail *m)
{
	struct parcel *p = container_of(m, struct parcel, mail);
	struct np_conn *c = p->c;

	if (move_is_refused(p->to) || conn_try_join(c, p->to, &p->pack) < 0) {
		move_send(p, p->from, move_come_back);
		return;
	}
	conn_group_joined(p->to);
	if (conn_life(c) == CONN_OPEN)
		move_tell(c, true);
	np_conn_unref(c);
	p->mail.fn = move_let_go;
	poller_post(p->from->poller, &p->mail);
}

/* ------------------------------------------------------------------ off */

/* The last that this thread does to it. */
static void move_out(struct parcel *p)
{
	struct np_conn *c = p->c;
	struct conn_extra *x = conn_extra_of(c);

	if (!x->home)
		x->home = conn_poller(c);
	x->move_to = NULL;
	c->flags &= (uint16_t)~CONN_MOVES;
	conn_pack(c, &p->pack);
	move_send(p, p->to, move_arrive);
}

/*
 * Tells it, and looks at what on_move has made of it. What that asks for is looked at here, in this
 * turn, or, where it is no longer quiet, in the next: then it has not left.
 */
static bool move_leaves(struct np_conn *c)
{
	c->flags |= CONN_LATER;
	move_tell(c, false);
	c->flags &= (uint16_t)~CONN_LATER;
	if ((c->flags & CONN_MOVES) && move_is_quiet(c))
		return true;
	if (conn_life(c) == CONN_OPEN && (c->flags & CONN_MOVES))
		move_tell(c, true);
	conn_later(c);
	return false;
}

bool conn_move_off(struct np_conn *c)
{
	struct parcel *p;

	if (!move_is_quiet(c))
		return false;
	p = calloc(1, sizeof *p);
	if (!p)
		return false; /* it stays, until the next turn that ends with it */
	if (!move_leaves(c)) {
		free(p);
		return false;
	}
	p->c = np_conn_ref(c);
	p->from = c->group;
	p->to = conn_extra_of(c)->move_to;
	move_out(p);
	return true;
}
