/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn_home: where the connections of one poller live, and the I/O state busy ones borrow
 *
 * Connections come out of 16 KiB chunks, aligned to their size so that a connection finds its
 * chunk by masking its own address. A chunk that is empty goes back to the allocator, except one:
 * memory follows the number of connections down again, and a server at the edge of a chunk does
 * not allocate at each connection. I/O states are kept in a short stack for reuse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/conn.h"

#define CHUNK_SIZE 16384u
#define IO_KEEP    64u

struct slot {
	struct slot *next;
};

struct chunk {
	struct list link; /* in home->open while a slot is free */
	struct slot *free;
	unsigned used;
};

#define SLOT_SIZE   ((sizeof(struct np_conn) + 7u) & ~(size_t)7u)
#define CHUNK_SLOTS ((CHUNK_SIZE - sizeof(struct chunk)) / SLOT_SIZE)

struct conn_home {
	struct list open;     /* chunks with a free slot */
	unsigned empty;       /* of them, chunks without a connection */
	struct conn_io *io;   /* kept for reuse */
	unsigned io_kept;
	unsigned io_warm;     /* attached, and staying so */
};

static void home_free(void *arg)
{
	struct conn_home *h = arg;
	struct conn_io *io;
	struct list *l;

	while ((io = h->io)) {
		h->io = io->next_free;
		free(io);
	}
	while ((l = list_pop(&h->open)))
		free(container_of(l, struct chunk, link));
	free(h);
}

static struct conn_home *home_of(struct poller *p)
{
	struct conn_home *h = poller_local(p);

	if (h)
		return h;
	h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	list_init(&h->open);
	poller_set_local(p, h, home_free);
	return h;
}

static struct chunk *chunk_new(struct conn_home *h)
{
	struct chunk *k = aligned_alloc(CHUNK_SIZE, CHUNK_SIZE);
	char *at = (char *)(k + 1);

	if (!k)
		return NULL;
	k->free = NULL;
	k->used = 0;
	for (size_t i = CHUNK_SLOTS; i-- > 0;) {
		struct slot *s = (struct slot *)(at + i * SLOT_SIZE);

		s->next = k->free;
		k->free = s;
	}
	list_append(&h->open, &k->link);
	h->empty++;
	return k;
}

struct np_conn *conn_home_get(struct poller *p)
{
	struct conn_home *h = home_of(p);
	struct chunk *k;
	struct slot *s;

	if (!h)
		return NULL;
	k = list_empty(&h->open) ? chunk_new(h) : container_of(h->open.next, struct chunk, link);
	if (!k)
		return NULL;
	s = k->free;
	k->free = s->next;
	if (k->used++ == 0)
		h->empty--;
	if (!k->free)
		list_remove(&k->link);
	return memset(s, 0, sizeof(struct np_conn));
}

void conn_home_put(struct poller *p, struct np_conn *c)
{
	struct conn_home *h = poller_local(p);
	struct chunk *k = (struct chunk *)((uintptr_t)c & ~(uintptr_t)(CHUNK_SIZE - 1));
	struct slot *s = (struct slot *)c;

	if (!k->free)
		list_append(&h->open, &k->link);
	s->next = k->free;
	k->free = s;
	if (--k->used)
		return;
	if (h->empty) {
		list_remove(&k->link);
		free(k);
	} else {
		h->empty++;
	}
}

#define RX_SPACE_MIN 4096u

int conn_io_attach(struct np_conn *c)
{
	struct conn_home *h = poller_local(conn_poller(c));
	struct conn_io *io = h->io;

	if (io) {
		h->io = io->next_free;
		h->io_kept--;
	} else {
		io = malloc(sizeof *io);
		if (!io)
			return -ENOMEM;
	}
	memset(io, 0, sizeof *io);
	linkbuf_init(&io->in);
	linkbuf_init(&io->out);
	linkbuf_init(&io->txq);
	io->rx_space = RX_SPACE_MIN;
	io->call_at = 1;
	io->warm = h->io_warm < CONN_IO_WARM;
	h->io_warm += io->warm;
	c->io = io;
	return 0;
}

void conn_io_shrink(struct np_conn *c)
{
	struct conn_io *io = c->io;

	if (io->reader || io->writer || (c->flags & (CONN_SERVING | CONN_LATER)) || io->call_at > 1)
		return;
	if (io->held || linkbuf_len(&io->out) || np_linkbuf_pending(&io->out) || conn_unsent(c))
		return;
	conn_io_put(c);
}

void conn_io_put(struct np_conn *c)
{
	struct conn_home *h = poller_local(conn_poller(c));
	struct conn_io *io = c->io;

	if (!io)
		return;
	c->io = NULL;
	h->io_warm -= io->warm;
	linkbuf_fini(&io->in);
	linkbuf_fini(&io->out);
	linkbuf_fini(&io->txq);
	if (h->io_kept >= IO_KEEP) {
		free(io);
		return;
	}
	io->next_free = h->io;
	h->io = io;
	h->io_kept++;
}
