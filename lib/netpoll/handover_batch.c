/* SPDX-License-Identifier: BSD-2-Clause */
/* handover_batch: connections out of a poller, and into one. Everything here but the posting runs
 * on that poller. */
#include <errno.h>
#include <stdlib.h>

#include "netpoll/handover.h"

/*
 * A poller may be kept by a handler, or by on_export, for longer than the control thread waits.
 *
 *   owner      leaves it by
 *   pollers    batch_is_filled() -> filled; handover_out_fill() gives up -> abandoned
 *   filled     the control thread has it: handover_out_settle()
 *   abandoned  the poller settles it, as soon as it comes to that
 */
enum handover_owner { OUT_POLLERS, OUT_FILLED, OUT_ABANDONED };

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

static void batch_add(struct handover_out *out, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		out->set[out->n] = i ? 0 : n;
		out->bytes += out->conn[out->n++].n;
	}
}

/* Return: what conn_export() says. */
static int batch_export(struct handover_out *out, struct np_conn *c)
{
	int n = conn_export(c, &out->conn[out->n]);

	if (n > 0)
		batch_add(out, (unsigned)n);
	return n;
}

static void batch_leave(struct handover_out *out, struct np_conn *c, int why)
{
	out->because[conn_export_why(c)]++;
	if (why == -NP_EUNSUPPORTED)
		out->stays++;
	else
		out->busy++;
}

/* No list has those that go to another poller, which may have been asked for its own before. */
static void batch_leave_on_way(struct handover_out *out)
{
	unsigned n = out->part->group.on_way;

	out->because[NP_STAYS_AT_WORK] += n;
	out->busy += n;
}

/* The other one may be in the list, too. */
static void batch_note_asked(struct handover_out *out, struct np_conn *c)
{
	struct np_conn *mate = conn_mate(c);

	out->asked[out->n_asked].c = np_conn_ref(c);
	out->asked[out->n_asked++].mate = mate ? np_conn_ref(mate) : NULL;
}

static void batch_take(struct handover_out *out, struct np_conn *c)
{
	int n;

	if (conn_is_parting(c) && !conn_is_parting_to_move(c))
		return; /* with its mate, for this batch */
	n = batch_export(out, c);
	if (n == -EAGAIN && conn_export_ask(c))
		batch_note_asked(out, c);
	else if (n < 0)
		batch_leave(out, c, n);
}

/* Whether there is room for one more, and the other one of its set. */
static bool batch_has_room(const struct handover_out *out)
{
	unsigned n = out->n + CONN_SET_MAX * out->n_asked;

	return n + CONN_SET_MAX <= out->max && out->bytes < HANDOVER_BATCH_BYTES;
}

/* Each is looked at once, and goes to the end of the list: the next batch begins behind them. */
static void batch_walk(struct handover_out *out)
{
	struct list *conns = &out->part->group.conns, *l;
	unsigned n = out->part->group.n - out->part->group.on_way;

	while (n-- && batch_has_room(out) && (l = list_pop(conns))) {
		list_append(conns, l);
		batch_take(out, container_of(l, struct np_conn, link));
	}
}

static void batch_settle(struct mail *m)
{
	struct handover_out *out = batch_out_of(m);

	for (unsigned i = 0, n; i < out->n; i += n) {
		n = out->set[i];
		if (out->taken[i])
			conn_export_done(&out->conn[i], n);
		else
			conn_export_undo(&out->conn[i], n, out->answered);
	}
	batch_out_free(out);
}

/* What is open its group has a reference to. Return: NULL: it has ended, or moved: not to be
 * touched. */
static struct np_conn *batch_unref(struct np_conn *c)
{
	bool open = c && conn_is_here(c) && conn_life(c) == CONN_OPEN;

	if (c)
		np_conn_unref(c);
	return open ? c : NULL;
}

static void batch_stay_set(struct np_conn *c, struct np_conn *mate)
{
	if (c)
		conn_stay(c);
	if (mate)
		conn_stay(mate);
}

static void batch_take_set(struct handover_out *out, struct np_conn *c, struct np_conn *mate)
{
	int n = c ? batch_export(out, c) : 0;

	if (n > 0)
		return;
	if (c)
		batch_leave(out, c, n);
	batch_stay_set(c, mate);
}

/* Return: whether somebody waits for it still. */
static bool batch_is_awaited(const struct handover_out *out)
{
	return atomic_load(&out->owner) == OUT_POLLERS;
}

/* Who has given up meanwhile gets nothing of it. */
static void batch_is_filled(struct handover_out *out)
{
	int pollers = OUT_POLLERS;

	if (atomic_compare_exchange_strong(&out->owner, &pollers, OUT_FILLED))
		latch_arrive(&out->filled);
	else
		batch_settle(&out->mail);
}

/* Their handlers have returned by now, or they go on here. */
static void batch_take_asked(struct mail *m)
{
	struct handover_out *out = batch_out_of(m);
	bool awaited = batch_is_awaited(out);

	for (unsigned i = 0; i < out->n_asked; i++) {
		struct np_conn *c = batch_unref(out->asked[i].c);
		struct np_conn *mate = batch_unref(out->asked[i].mate);

		if (awaited)
			batch_take_set(out, c, mate);
		else
			batch_stay_set(c, mate);
	}
	batch_is_filled(out);
}

static void batch_fill(struct mail *m)
{
	struct handover_out *out = batch_out_of(m);

	if (!batch_is_awaited(out)) {
		batch_out_free(out);
		return;
	}
	if (out->part->balancer) /* its references would keep the hot ones here */
		balancer_stop(out->part->balancer);
	batch_leave_on_way(out);
	batch_walk(out);
	if (!out->n_asked) {
		batch_is_filled(out);
		return;
	}
	out->mail.fn = batch_take_asked;
	poller_post(out->part->group.poller, &out->mail);
}

struct handover_out *handover_out_fill(struct server_part *part, unsigned max, uint64_t until_ns)
{
	struct handover_out *out = calloc(1, sizeof *out);
	int pollers = OUT_POLLERS;

	if (!out)
		return NULL;
	*out = (struct handover_out){ .mail.fn = batch_fill, .part = part, .max = max };
	latch_init(&out->filled);
	latch_set(&out->filled, 1);
	poller_post(part->group.poller, &out->mail);
	if (server_facts_await_hand_over(part->server, &out->filled, until_ns) < 0 &&
	    atomic_compare_exchange_strong(&out->owner, &pollers, OUT_ABANDONED))
		return NULL;
	while (latch_wait(&out->filled, 0) < 0)
		; /* a stop may disturb it: it is a moment away */
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

	for (unsigned i = 0; i < in->n; i += in->set[i])
		in->result[i] =
			conn_import(&in->part->group, &in->arrival[i], in->set[i], &in->conn[i]);
	latch_arrive(&in->done);
}

static void batch_open(struct mail *m)
{
	struct handover_in *in = container_of(m, struct handover_in, mail);

	for (unsigned i = 0; i < in->n; i += in->set[i])
		if (in->result[i] == 0)
			conn_import_open(&in->conn[i], in->set[i]);
	latch_arrive(&in->done);
}

static void batch_drop(struct mail *m)
{
	struct handover_in *in = container_of(m, struct handover_in, mail);

	for (unsigned i = 0; i < in->n; i += in->set[i])
		if (in->result[i] == 0)
			conn_import_drop(&in->conn[i], in->set[i]);
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
