/* SPDX-License-Identifier: BSD-2-Clause */
/* handover_batch: connections out of a poller, and into one. Everything here but the posting runs
 * on that poller. */
#include <errno.h>
#include <stdlib.h>

#include "netpoll/handover.h"

/* A poller may be kept by a handler for longer than the control thread waits for it. */
enum handover_owner { OUT_POSTED, OUT_FILLED, OUT_ABANDONED };

static struct handover_out *batch_out_of(struct mail *m)
{
	return container_of(m, struct handover_out, mail);
}

/* ------------------------------------------------------------------ out */

static void batch_out_free(struct handover_out *out)
{
	latch_fini(&out->filled);
	free(out);
}

static void batch_take(struct handover_out *out, struct np_conn *c)
{
	int r = conn_export(c, &out->conn[out->n]);

	if (r == 0) {
		out->bytes += out->conn[out->n].n;
		out->n++;
	} else if (r == -NP_EUNSUPPORTED) {
		out->stays++;
	} else {
		out->busy++;
	}
}

/* Each is looked at once, and goes to the end of the list: the next batch begins behind them. */
static void batch_walk(struct handover_out *out)
{
	struct list *conns = &out->part->group.conns, *l;
	unsigned n = out->part->group.n;

	while (n-- && out->n < out->max && out->bytes < HANDOVER_BATCH_BYTES &&
	       (l = list_pop(conns))) {
		list_append(conns, l);
		batch_take(out, container_of(l, struct np_conn, link));
	}
}

static void batch_settle(struct mail *m)
{
	struct handover_out *out = batch_out_of(m);

	for (unsigned i = 0; i < out->n; i++)
		if (out->taken[i])
			conn_export_done(&out->conn[i]);
		else
			conn_export_undo(&out->conn[i], out->answered);
	batch_out_free(out);
}

static void batch_fill(struct mail *m)
{
	struct handover_out *out = batch_out_of(m);
	int posted = OUT_POSTED;

	if (!atomic_compare_exchange_strong(&out->owner, &posted, OUT_FILLED)) {
		batch_out_free(out);
		return;
	}
	if (out->part->balancer) /* its references would keep the hot ones here */
		balancer_stop(out->part->balancer);
	batch_walk(out);
	latch_arrive(&out->filled);
}

struct handover_out *handover_out_fill(struct server_part *part, unsigned max, uint64_t until_ns)
{
	struct handover_out *out = calloc(1, sizeof *out);
	int posted = OUT_POSTED;

	if (!out)
		return NULL;
	*out = (struct handover_out){ .mail.fn = batch_fill, .part = part, .max = max };
	latch_init(&out->filled);
	latch_set(&out->filled, 1);
	poller_post(part->group.poller, &out->mail);
	if (latch_wait(&out->filled, until_ns) == 0)
		return out;
	if (atomic_compare_exchange_strong(&out->owner, &posted, OUT_ABANDONED))
		return NULL; /* the mail frees it */
	latch_wait(&out->filled, 0);
	return out;
}

void handover_out_settle(struct handover_out *out)
{
	out->mail.fn = batch_settle;
	poller_post(out->part->group.poller, &out->mail);
}

/* ------------------------------------------------------------------ in */

static void batch_make(struct mail *m)
{
	struct handover_in *in = container_of(m, struct handover_in, mail);

	for (unsigned i = 0; i < in->n; i++)
		in->item[i].result = conn_import(&in->part->group, &in->item[i].fd,
						 in->item[i].bytes, in->item[i].n,
						 &in->item[i].conn);
	latch_arrive(&in->done);
}

static void batch_open(struct mail *m)
{
	struct handover_in *in = container_of(m, struct handover_in, mail);

	for (unsigned i = 0; i < in->n; i++)
		if (in->item[i].result == 0)
			conn_import_open(&in->item[i].conn);
	latch_arrive(&in->done);
}

static void batch_drop(struct mail *m)
{
	struct handover_in *in = container_of(m, struct handover_in, mail);

	for (unsigned i = 0; i < in->n; i++)
		if (in->item[i].result == 0)
			conn_import_drop(&in->item[i].conn);
	latch_arrive(&in->done);
}

static void batch_post_in(struct handover_in *in, void (*fn)(struct mail *))
{
	in->mail.fn = fn;
	latch_set(&in->done, 1);
	poller_post(in->part->group.poller, &in->mail);
	latch_wait(&in->done, 0);
}

void handover_in_make(struct handover_in *in)
{
	batch_post_in(in, batch_make);
}

void handover_in_settle(struct handover_in *in, bool keep)
{
	batch_post_in(in, keep ? batch_open : batch_drop);
}
