/* SPDX-License-Identifier: BSD-2-Clause */
/* conn_home: where the connections of one poller live, and the I/O state that busy ones borrow. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "buffer/block.h"
#include "conn/conn.h"
#include "conn/slab.h"
#include "poll/baton.h"

/*
 * Blocks that nobody needs any more go back a second or two after a burst. So much may stay without
 * a timer that looks after it: an idle poller sleeps.
 */
#define DECAY_MS   1000
#define DECAY_REST (256u * 1024)

struct conn_home {
	struct poller *poller;
	struct timer decay;
	struct slab conns;
	struct slab ios;
	struct pipes pipes;
	unsigned io_warm; /* attached, and staying so */
	size_t filters;   /* what they say they hold */
};

static void home_free(void *arg)
{
	struct conn_home *h = arg;

	timer_disarm(&h->decay);
	slab_fini(&h->conns);
	slab_fini(&h->ios);
	pipes_fini(&h->pipes);
	free(h);
}

static void home_arm_decay(struct conn_home *h)
{
	timer_arm(h->poller, &h->decay, poller_now_ms(h->poller) + DECAY_MS);
}

/* Blocks are a thread's: those of the poller's own wait until it has the loop again. */
static void home_decay(struct timer *t)
{
	if (block_decay() > DECAY_REST || baton_is_spare())
		home_arm_decay(container_of(t, struct conn_home, decay));
}

/* np_linkbuf_*() are no verbs of a poller's, but may come here. */
static void home_grew(void)
{
	NP_GATE_VOID(home_grew());

	struct poller *p = poller_self();
	struct conn_home *h = p ? poller_local(p) : NULL;

	if (h && !timer_armed(&h->decay))
		home_arm_decay(h);
}

static struct conn_home *home_of(struct poller *p)
{
	struct conn_home *h = poller_local(p);

	if (h)
		return h;
	h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->poller = p;
	timer_init(&h->decay, home_decay);
	slab_init(&h->conns, sizeof(struct np_conn));
	slab_init(&h->ios, sizeof(struct conn_io));
	poller_set_local(p, h, home_free);
	return h;
}

struct np_conn *conn_home_get(struct poller *p)
{
	struct conn_home *h = home_of(p);
	struct np_conn *c = h ? slab_get(&h->conns) : NULL;

	if (!c)
		return NULL;
	poller_keep(p); /* who holds a reference may give it back after the poller has ended */
	return memset(c, 0, sizeof *c);
}

void conn_home_put(struct poller *p, struct np_conn *c)
{
	struct conn_home *h = poller_local(p);

	/* Nothing is attached: conn_gone() has seen to it, whichever way the connection ended. */
	assert(conn_life(c) == CONN_GONE && !c->io && !(c->flags & CONN_EXTRA) && !c->inside &&
	       c->watch.fd < 0);
	assert(!watch_is_open(&c->watch) && !timer_armed(&c->timer) && list_empty(&c->link));
	assert(!mailbox_any(&c->sendq));
	slab_put(&h->conns, c);
	poller_unkeep(p);
}

size_t conn_home_bytes(const struct poller *p)
{
	const struct conn_home *h = poller_local(p);

	return h ? h->conns.bytes + h->ios.bytes + h->filters : 0;
}

size_t *conn_home_filters(struct poller *p)
{
	struct conn_home *h = home_of(p);

	return h ? &h->filters : NULL;
}

int conn_io_attach(struct np_conn *c)
{
	struct conn_home *h =
		home_of(conn_poller(c)); /* one that was not born here may be the first */
	struct conn_io *io = h ? slab_get(&h->ios) : NULL;
	struct conn_extra *x = conn_extra_of(c);

	if (!io)
		return -ENOMEM;
	memset(io, 0, h->ios.slot); /* of no constant size: a call is faster than what is inlined */
	stream_init_zeroed(&io->stream, c->transport, c->watch.fd);
	stream_set_room(&io->stream, c->room);
	if (x && x->filter && !x->filter->awaits)
		stream_set_filter(&io->stream, &x->filter->filter);
	io->call_at = 1;
	block_grew = home_grew; /* of this thread, which has no better moment to say it */
	io->warm = h->io_warm < CONN_IO_WARM;
	h->io_warm += io->warm;
	c->io = io;
	c->owned = 0;
	conn_find_handler(c);
	return 0;
}

struct pipes *conn_home_pipes(struct poller *p)
{
	struct conn_home *h = home_of(p);

	return h ? &h->pipes : NULL;
}

static bool home_io_is_idle(const struct conn_io *io)
{
	return io->service == CONN_UNSERVED && !io->request && io->call_at <= 1 &&
	       stream_is_empty(&io->stream);
}

void conn_io_shrink(struct np_conn *c)
{
	if (!c->owned && !c->io->warm && conn_life(c) == CONN_OPEN && !(c->flags & CONN_LATER) &&
	    home_io_is_idle(c->io))
		conn_io_put(c);
}

void conn_io_put(struct np_conn *c)
{
	struct conn_home *h = poller_local(conn_poller(c));
	struct conn_io *io = c->io;

	if (!io)
		return;
	c->io = NULL;
	c->owned = CONN_NO_IO;
	h->io_warm -= io->warm;
	c->room = stream_room(&io->stream);
	stream_fini(&io->stream);
	slab_put(&h->ios, io);
}
