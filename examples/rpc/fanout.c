/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fanout: a request goes to every backend at once, and what has come by the deadline goes back
 *
 * The answer's body has a frame for each backend, in their order; that of one that did not answer
 * is empty. The deadline is said once: the tasks begin with it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend.h"
#include "frame.h"
#include "rpc.h"

struct fanout {
	const struct rpc_opts *o;
	struct backend *to[RPC_BACKENDS];
};

struct question {
	struct backend *to;
	const char *body;
	size_t n;
	struct np_task *task;
	struct np_linkbuf *answer; /* NULL: none */
};

static int fanout_ask(void *arg)
{
	struct question *q = arg;

	return backend_call(q->to, q->body, q->n, &q->answer);
}

/* A task that could not be made is one that did not answer. */
static void fanout_ask_all(struct question *q, int n, int ms)
{
	np_deadline(ms, NULL);
	for (int i = 0; i < n; i++)
		np_go(NULL, NP_HERE, fanout_ask, &q[i], &q[i].task);
	for (int i = 0; i < n; i++)
		if (q[i].task)
			np_join(&q[i].task, NULL);
	np_deadline_restore(0);
}

static int fanout_write_answer(struct np_conn *c, struct question *q)
{
	size_t n = q->answer ? np_linkbuf_len(q->answer) : 0;
	void *head;
	int r = np_conn_reserve(c, FRAME_HEAD, &head);

	if (r < 0)
		return r;
	frame_put_head(head, n);
	return q->answer ? np_conn_append(c, &q->answer) : 0;
}

/* @id: the number of the call, as it came. */
static int fanout_write(struct np_conn *c, const void *id, struct question *q, int n)
{
	size_t size = FRAME_ID + FRAME_HEAD * (size_t)n;
	void *head;
	int r = np_conn_reserve(c, FRAME_HEAD, &head);

	for (int i = 0; i < n; i++)
		size += q[i].answer ? np_linkbuf_len(q[i].answer) : 0;
	if (r == 0 && size > FRAME_MAX)
		r = -EMSGSIZE;
	if (r == 0) {
		frame_put_head(head, size);
		r = np_conn_write(c, id, FRAME_ID);
	}
	for (int i = 0; i < n && r == 0; i++)
		r = fanout_write_answer(c, &q[i]);
	return r < 0 ? r : np_conn_flush(c);
}

static int fanout_request(struct np_conn *c, void *arg, const void *frame, size_t n)
{
	const char *id = (const char *)frame + FRAME_HEAD;
	struct question q[RPC_BACKENDS] = { 0 };
	const struct fanout *f = arg;
	int r;

	if (n < FRAME_HEAD + FRAME_ID)
		return -EBADMSG;
	for (int i = 0; i < f->o->n_backends; i++) {
		q[i].to = f->to[i];
		q[i].body = id + FRAME_ID;
		q[i].n = n - FRAME_HEAD - FRAME_ID;
	}
	fanout_ask_all(q, f->o->n_backends, f->o->deadline_ms);
	r = fanout_write(c, id, q, f->o->n_backends);
	for (int i = 0; i < f->o->n_backends; i++)
		np_linkbuf_free(&q[i].answer);
	return r;
}

/* The backends' channels are of the pollers that serve: they are made when those are known. */
static int fanout_begin(struct fanout *f, const struct np_pollers *p)
{
	int r = 0;

	for (int i = 0; i < f->o->n_backends && r == 0; i++)
		r = backend_new(p, f->o->backend[i], &f->to[i]);
	return r;
}

int fanout_main(const struct rpc_opts *o, char **argv)
{
	const struct np_handlers h = {
		.sz = sizeof h,
		.on_frame = fanout_request,
		.framing = FRAMING,
	};

	struct fanout f = { .o = o };
	struct np_pollers *pollers;
	int r = rpc_pollers(o, &pollers), code = EXIT_FAILURE;

	if (r == 0)
		r = fanout_begin(&f, pollers);
	if (r < 0)
		fprintf(stderr, "rpc: cannot start: %s\n", np_strerror(r));
	else
		code = rpc_serve(o, pollers, &h, &f, argv);
	for (int i = 0; i < o->n_backends; i++)
		backend_free(&f.to[i]);
	rpc_end(&pollers);
	return code;
}
