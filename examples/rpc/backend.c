/* SPDX-License-Identifier: BSD-2-Clause */
/* backend: of the fibers that find no channel one dials, and the others wait for it. */
#include "backend.h"

#include <errno.h>
#include <netpoll/sync.h>
#include <stdlib.h>

#include "frame.h"

/* Of one poller. */
struct line {
	struct np_channel *channel; /* NULL: none, or it has ended */
	struct np_mutex *dialing;
};

struct backend {
	const char *address;
	int n;
	struct line lines[];
};

int backend_new(const struct np_pollers *p, const char *address, struct backend **ret)
{
	int n = np_pollers_count(p);
	struct backend *b = calloc(1, sizeof *b + (size_t)n * sizeof b->lines[0]);

	if (!b)
		return -ENOMEM;
	b->address = address;
	for (; b->n < n; b->n++)
		if (np_mutex_new(&b->lines[b->n].dialing) < 0) {
			backend_free(&b);
			return -ENOMEM;
		}
	*ret = b;
	return 0;
}

void backend_free(struct backend **b)
{
	for (int i = 0; *b && i < (*b)->n; i++) {
		np_channel_free(&(*b)->lines[i].channel);
		np_mutex_free(&(*b)->lines[i].dialing);
	}
	free(*b);
	*b = NULL;
}

/* Those that are inside np_call() learn of the end there. */
static void backend_forget(struct line *l)
{
	if (l->channel && np_channel_error(l->channel) < 0)
		np_channel_free(&l->channel);
}

static int backend_dial(struct backend *b, struct line *l)
{
	const struct np_channel_opts o = { .sz = sizeof o, .frame = frame_answer };
	int r = np_mutex_lock(l->dialing, 0);

	if (r < 0)
		return r;
	backend_forget(l);
	if (!l->channel)
		r = np_channel_dial("tcp", b->address, &o, &l->channel);
	np_mutex_unlock(l->dialing);
	return r;
}

int backend_call(struct backend *b, const void *body, size_t n, struct np_linkbuf **ret)
{
	struct line *l = &b->lines[np_poller_self()];
	struct np_linkbuf *request;
	uint64_t id;
	int r = 0;

	backend_forget(l);
	if (!l->channel)
		r = backend_dial(b, l);
	if (r < 0)
		return r;
	id = np_channel_id(l->channel);
	r = frame_make(id, body, n, &request);
	if (r < 0)
		return r;
	r = np_call(l->channel, id, &request, 0, ret);
	np_linkbuf_free(&request); /* NULL, unless it was not sent */
	if (r == 0)
		r = np_linkbuf_skip(*ret, FRAME_HEAD + FRAME_ID);
	return r;
}
