/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_pack: off one poller, and onto another. */
#include "conn/conn_pack.h"

/* Far more than the clocks of two pollers can be apart. */
#define CLOCKS_APART_MS 60000u

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
	conn_filter_count(c, NULL);
}

static int pack_unpack_io(struct np_conn *c, struct conn_pack *p)
{
	bool warm;
	int r;

	if (!p->busy)
		return 0;
	r = conn_io_attach(c);
	if (r < 0)
		return r;
	warm = c->io->warm;
	*c->io = p->io;
	c->io->warm = warm;
	conn_find_handler(c);
	return 0;
}

/* The clock of this poller may be a moment behind that of the one it comes from. */
static void pack_set_clock(struct np_conn *c)
{
	uint32_t now = (uint32_t)poller_now_ms(conn_poller(c));

	if (c->active_ms - now < CLOCKS_APART_MS)
		c->active_ms = now;
	conn_arm_clock(c);
}

int conn_enter(struct np_conn *c, struct conn_group *g, struct conn_pack *p)
{
	int r;

	c->group = g;
	if (!(c->flags & CONN_EXTRA))
		c->set = &g->settings;
	r = watch_open(&c->watch, g->poller, c->watch.fd, 0, conn_event);
	if (r < 0)
		return r;
	r = pack_unpack_io(c, p);
	if (r < 0)
		watch_close(&c->watch);
	else
		conn_filter_count(c, g->poller);
	return r;
}

void conn_go_on(struct np_conn *c)
{
	list_append(&c->group->conns, &c->link);
	pack_set_clock(c);
	conn_drain(c);
	watch_want(&c->watch, WATCH_GONE);
	if (conn_filter_of(c))
		c->watch.ready |= WATCH_IN; /* it may hold input that no edge tells of */
	conn_pump(c, PUMP_ROOM | PUMP_FLUSH | PUMP_TELL);
}

void conn_join(struct np_conn *c, struct conn_group *g, struct conn_pack *p)
{
	int r = conn_enter(c, g, p);

	if (r == 0) {
		conn_go_on(c);
		return;
	}
	if (p->busy) {
		if (stream_drop_output(&p->io.stream))
			c->flags |= CONN_CUT;
		stream_fini(&p->io.stream);
	}
	list_append(&g->conns, &c->link);
	conn_abort(c, r);
}

void conn_end_as_asked(struct np_conn *c, enum conn_life asked)
{
	if (asked == CONN_CLOSING)
		conn_close(c, c->why);
	else if (asked == CONN_ENDED)
		conn_end(c, c->why);
}
