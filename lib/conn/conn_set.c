/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_set: two connections of one poller that stay together: they move as one, or not at all. */
#include <errno.h>

#include "conn/conn.h"
#include "poll/baton.h"

void conn_leave_set(struct np_conn *c)
{
	struct np_conn *mate = conn_mate(c);

	if (!mate)
		return;
	conn_extra_of(mate)->mate = conn_extra_of(c)->mate = NULL;
	mate->flags &= (uint16_t)~CONN_MOVES;
	c->flags &= (uint16_t)~CONN_MOVES;
}

static int set_may_join(struct np_conn *c)
{
	struct conn_extra *x;

	if (conn_life(c) > CONN_OPEN)
		return -NP_ECLOSED;
	if (conn_mate(c))
		return -EBUSY;
	return conn_extra(c, &x);
}

int np_conn_bind(struct np_conn *c, struct np_conn *other)
{
	NP_GATE(np_conn_bind(c, other));

	int r;

	if (conn_is_aside(c) || (other && conn_is_aside(other)))
		return -EBUSY;
	if (!other) {
		conn_leave_set(c);
		return 0;
	}
	if (c == other || !conn_is_here(c) || !conn_is_here(other))
		return -EINVAL;
	if (conn_mate(c) == other)
		return 0;
	r = set_may_join(c);
	if (r == 0)
		r = set_may_join(other);
	if (r < 0)
		return r;
	conn_extra_of(c)->mate = other;
	conn_extra_of(other)->mate = c;
	c->flags &= (uint16_t)~CONN_MOVES;
	other->flags &= (uint16_t)~CONN_MOVES;
	return 0;
}
