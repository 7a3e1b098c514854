/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * batch: the shard that has answered the last message posts the batch back to where it came from
 *
 *   state       waiting                        leaves it by
 *   open        0                              batch_settle()
 *   sent        messages without an answer     message_run(): 0 -> back
 *   back        0                              batch_back() wakes the fiber -> freed by it
 *   abandoned   its fiber could not wait       batch_back() frees it
 */
#include "batch.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "info.h"
#include "merge.h"

#define SLOTS_MAX 1024
#define BYTES_MAX (256u << 10)
#define SELF      (-1)

/* A command in a message. Its arguments are parts of message.bytes. */
struct call {
	const struct command *command;
	uint64_t hash;
	int argc, part; /* the first of its parts */
	int db;
	size_t answer; /* bytes of it */
};

struct message {
	struct batch *batch;
	struct shard *to;
	struct call *calls;
	int n_calls, cap_calls;
	struct part *parts;
	int n_parts, cap_parts;
	char *bytes;
	size_t n_bytes, cap_bytes;
	struct np_linkbuf *answers;
	int error;
};

struct slot {
	int from; /* a shard, or SELF */
	int call; /* which one of its message */
	size_t n; /* SELF: bytes of the answer */
	enum merge merge;
	bool ends;
};

struct batch {
	/* the shard that it came from */
	struct shard *self;
	struct np_event *event;
	struct message **to; /* by shard; NULL: nothing is asked of it */
	struct np_linkbuf *own;
	struct writer w;
	size_t written; /* of w, when the last slot began */
	struct slot *slots;
	int n_slots, cap_slots;
	size_t bytes;
	bool resp3, abandoned;

	/* any thread, atomic */
	_Atomic(int) waiting;
};

/* ------------------------------------------------------------------ memory */

static void *batch_room(void *p, size_t n, size_t size, int *cap)
{
	size_t want = *cap ? 2 * (size_t)*cap : 16;
	void *q;

	if (n <= (size_t)*cap)
		return p;
	want = want < n ? n : want;
	q = realloc(p, want * size);
	if (q)
		*cap = (int)want;
	return q;
}

static void message_free(struct message *m)
{
	free(m->calls);
	free(m->parts);
	free(m->bytes);
	np_linkbuf_free(&m->answers);
	free(m);
}

static void batch_free(struct batch *b)
{
	for (int i = 0; b->to && i < shards.n; i++)
		if (b->to[i])
			message_free(b->to[i]);
	free(b->to);
	free(b->slots);
	np_linkbuf_free(&b->own);
	np_event_free(&b->event);
	free(b);
}

int batch_open(struct shard *self, bool resp3, struct batch **ret)
{
	struct batch *b = calloc(1, sizeof *b);

	if (!b)
		return -ENOMEM;
	b->self = self;
	b->resp3 = resp3;
	b->to = calloc((size_t)shards.n, sizeof(struct message *));
	if (!b->to || np_event_new(&b->event) < 0 || np_linkbuf_new(0, &b->own) < 0) {
		batch_free(b);
		return -ENOMEM;
	}
	writer_open(&b->w, b->own, resp3);
	*ret = b;
	return 0;
}

struct writer *batch_writer(struct batch *b)
{
	return &b->w;
}

bool batch_is_full(const struct batch *b)
{
	return b->n_slots >= SLOTS_MAX || b->bytes + writer_count(&b->w) >= BYTES_MAX;
}

/* ------------------------------------------------------------------ questions */

static int batch_slot(struct batch *b, struct slot slot)
{
	struct slot *s = batch_room(b->slots, (size_t)b->n_slots + 1, sizeof *s, &b->cap_slots);

	if (!s)
		return -ENOMEM;
	b->slots = s;
	b->slots[b->n_slots++] = slot;
	return 0;
}

int batch_local(struct batch *b, enum merge merge)
{
	size_t n = writer_count(&b->w) - b->written;

	b->written += n;
	return batch_slot(b, (struct slot){ .from = SELF, .n = n, .merge = merge });
}

int batch_merged(struct batch *b, enum merge merge)
{
	return batch_slot(b, (struct slot){ .from = SELF, .merge = merge, .ends = true });
}

static int message_bytes(struct message *m, const struct exec *x)
{
	size_t n = m->n_bytes, cap = m->cap_bytes ? m->cap_bytes : 256;
	char *bytes;

	for (int i = 0; i < x->argc; i++)
		n += x->argv[i].n;
	while (cap < n)
		cap *= 2;
	if (cap != m->cap_bytes) {
		bytes = realloc(m->bytes, cap);
		if (!bytes)
			return -ENOMEM;
		m->bytes = bytes;
		m->cap_bytes = cap;
	}
	return n > UINT32_MAX ? -ENOMEM : 0;
}

static int message_rooms(struct message *m, const struct exec *x)
{
	struct call *calls =
		batch_room(m->calls, (size_t)m->n_calls + 1, sizeof *calls, &m->cap_calls);
	struct part *parts;

	if (!calls)
		return -ENOMEM;
	m->calls = calls;
	parts = batch_room(m->parts, (size_t)(m->n_parts + x->argc), sizeof *parts, &m->cap_parts);
	if (!parts)
		return -ENOMEM;
	m->parts = parts;
	return message_bytes(m, x);
}

static int message_add(struct message *m, const struct exec *x)
{
	int r = message_rooms(m, x);

	if (r < 0)
		return r;
	m->calls[m->n_calls++] =
		(struct call){ x->command, x->hash, x->argc, m->n_parts, x->db, 0 };
	for (int i = 0; i < x->argc; i++) {
		const struct arg *a = &x->argv[i];

		m->parts[m->n_parts++] = (struct part){ (uint32_t)m->n_bytes, (uint32_t)a->n };
		memcpy(m->bytes + m->n_bytes, a->p, a->n);
		m->n_bytes += a->n;
	}
	return 0;
}

int batch_call(struct batch *b, int to, const struct exec *x, enum merge merge)
{
	struct message *m = b->to[to];
	size_t was;
	int r;

	if (!m) {
		m = calloc(1, sizeof *m);
		if (!m)
			return -ENOMEM;
		m->batch = b;
		m->to = shards.at[to];
		b->to[to] = m;
	}
	was = m->n_bytes;
	r = message_add(m, x);
	b->bytes += m->n_bytes - was;
	if (r == 0)
		r = batch_slot(b,
			       (struct slot){ .from = to, .call = m->n_calls - 1, .merge = merge });
	return r;
}

/* ------------------------------------------------------------------ on the other shard */

static void message_call(struct message *m, struct call *c, struct writer *w)
{
	struct arg *argv = shard_argv(m->to, c->argc);
	struct exec x = { .command = c->command,
			  .shard = m->to,
			  .w = w,
			  .argv = argv,
			  .argc = c->argc,
			  .db = c->db,
			  .hash = c->hash };
	size_t was = writer_count(w);

	for (int i = 0; argv && i < c->argc; i++)
		argv[i] = (struct arg){ m->bytes + m->parts[c->part + i].at,
					m->parts[c->part + i].n };
	if (argv)
		command_run(&x);
	else
		exec_no_memory(&x);
	c->answer = writer_count(w) - was;
}

static int message_answer(struct message *m)
{
	struct writer w;
	int r = np_linkbuf_new(0, &m->answers);

	if (r < 0)
		return r;
	writer_open(&w, m->answers, m->batch->resp3);
	shard_begin(m->to);
	for (int i = 0; i < m->n_calls; i++)
		message_call(m, &m->calls[i], &w);
	shard_end(m->to);
	np_linkbuf_flush(m->answers);
	return writer_close(&w);
}

static void batch_back(void *arg)
{
	struct batch *b = arg;

	if (b->abandoned)
		batch_free(b);
	else
		np_event_set(b->event);
}

/* The batch is not touched any more once it has been posted back. */
static void message_run(void *arg)
{
	struct message *m = arg;
	struct batch *b = m->batch;

	m->error = message_answer(m);
	if (atomic_fetch_sub_explicit(&b->waiting, 1, memory_order_acq_rel) == 1)
		np_post(shards.pollers, b->self->index, batch_back, b);
}

/* ------------------------------------------------------------------ answers */

/* Return: whether all that was sent will be answered; *ret_error: why something was not sent. */
static bool batch_send(struct batch *b, int *ret_error)
{
	int unsent = 0;

	for (int i = 0; i < shards.n; i++)
		if (b->to[i])
			atomic_fetch_add_explicit(&b->waiting, 1, memory_order_relaxed);
	/* One more for this side, so that none is the last before all have been sent. */
	atomic_fetch_add_explicit(&b->waiting, 1, memory_order_relaxed);
	for (int i = 0, r; i < shards.n; i++) {
		r = b->to[i] ? np_post(shards.pollers, i, message_run, b->to[i]) : 0;
		if (r < 0) {
			*ret_error = r;
			unsent++;
		}
	}
	return atomic_fetch_sub_explicit(&b->waiting, unsent + 1, memory_order_acq_rel) >
	       unsent + 1;
}

static int batch_write(struct batch *b, struct writer *w)
{
	struct merged merged;
	int r = 0;

	merge_open(&merged, w);
	for (int i = 0; i < b->n_slots && r == 0; i++) {
		struct slot *s = &b->slots[i];
		struct message *m = s->from == SELF ? NULL : b->to[s->from];

		if (m && m->error)
			return m->error;
		r = s->ends ? merge_close(&merged, s->merge) :
			      merge_take(&merged, s->merge, m ? m->answers : b->own,
					 m ? m->calls[s->call].answer : s->n);
	}
	merge_fini(&merged);
	return r;
}

int batch_settle(struct batch **ret_b, struct writer *w)
{
	struct batch *b = *ret_b;
	int r = writer_close(&b->w), error = 0;

	*ret_b = NULL;
	np_linkbuf_flush(b->own);
	if (batch_send(b, &error)) {
		int waited = np_event_wait(b->event, 0);

		if (waited < 0) {
			b->abandoned = true;
			return waited;
		}
	}
	r = r ? r : error;
	r = r ? r : batch_write(b, w);
	batch_free(b);
	return r;
}
