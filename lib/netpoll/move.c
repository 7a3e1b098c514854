/* SPDX-License-Identifier: BSD-2-Clause */
/* move: a server's connection goes to another of its pollers. */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/server_part.h"
#include "netpoll/server_private.h"
#include "poll/baton.h"

static bool move_is_allowed(const struct np_conn *c)
{
	return c->group->handlers->on_move && c->group->at(c->group, conn_poller(c));
}

/* The server whose pollers they are: of a set with a dialed connection, the other one's. */
static struct np_server *move_server(const struct np_conn *c)
{
	const struct np_conn *mate = conn_mate(c);
	struct server_part *part = server_part_of_conn(c);

	if (!part && mate)
		part = server_part_of_conn(mate);
	return part ? part->server : NULL;
}

int np_conn_move(struct np_conn *c, int poller)
{
	NP_GATE(np_conn_move(c, poller));

	const struct np_conn *mate = conn_mate(c);
	struct np_server *s = move_server(c);
	int r = conn_not_open(c);

	if (r < 0)
		return r;
	if (!s || !move_is_allowed(c) || (mate && !move_is_allowed(mate)))
		return -NP_EUNSUPPORTED;
	if (poller < 0 || (unsigned)poller >= s->n_parts)
		return -EINVAL;
	return conn_move(c, s->parts[poller]->group.poller);
}
