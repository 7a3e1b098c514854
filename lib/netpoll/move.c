/* SPDX-License-Identifier: BSD-2-Clause */
/* move: a server's connection goes to another of its pollers. */
#include <errno.h>

#include "conn/conn.h"
#include "netpoll/server_part.h"
#include "netpoll/server_private.h"

int np_conn_move(struct np_conn *c, int poller)
{
	struct server_part *part = server_part_of_conn(c);
	int r = conn_not_open(c);

	if (r < 0)
		return r;
	if (!part || !c->group->handlers->on_move)
		return -NP_EUNSUPPORTED;
	if (poller < 0 || (unsigned)poller >= part->server->n_parts)
		return -EINVAL;
	return conn_move(c, &part->server->parts[poller]->group);
}
