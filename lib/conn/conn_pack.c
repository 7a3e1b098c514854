/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_pack: off one poller, and onto another. */
#include "conn/conn_pack.h"

#include <errno.h>

static void pack_io(struct np_conn *c, struct conn_pack *p)
{
	bool warm = c->io && c->io->warm;

	p->busy = false;
	if (!c->io)
		return;
	p->busy = !stream_is_empty(&c->io->stream) || c->io->request || c->io->call_at > 1;
	if (p->busy) {
		p->io = *c->io;
		stream_init(&c->io->stream, c->transport, c->watch.fd);
		c->io->warm = warm;
	}
	conn_io_put(c);
}

void conn_pack(struct np_conn *c, struct conn_pack *p)
{
	timer_disarm(&c->timer);
	watch_close(&c->watch);
	poller_fd_leaves(conn_poller(c), c->watch.fd);
	list_remove(&c->link);
	pack_io(c, p);
}

static int pack_unpack_io(struct np_conn *c, struct conn_pack *p)
{
	bool warm;

	if (!p->busy)
		return 0;
	if (conn_io_attach(c) < 0) {
		if (stream_drop_output(&p->io.stream))
			c->flags |= CONN_CUT;
		stream_fini(&p->io.stream);
		return -ENOMEM;
	}
	warm = c->io->warm;
	*c->io = p->io;
	c->io->warm = warm;
	return 0;
}

void conn_join(struct np_conn *c, struct conn_group *g, struct conn_pack *p)
{
	int r;

	c->group = g;
	if (!(c->flags & CONN_EXTRA))
		c->set = &g->settings;
	list_append(&g->conns, &c->link);
	r = watch_open(&c->watch, g->poller, c->watch.fd, 0, c->watch.fn);
	if (r == 0)
		r = pack_unpack_io(c, p);
	if (r < 0) {
		conn_abort(c, r);
		return;
	}
	conn_arm_clock(c);
	conn_drain(c);
	watch_want(&c->watch, WATCH_GONE);
	conn_pump(c, PUMP_ROOM | PUMP_FLUSH | PUMP_TELL);
}
